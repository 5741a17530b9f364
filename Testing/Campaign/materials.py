"""The inputs of the campaign, all generated: a folder of good ones, and beside each what is wrong or odd about it.

Nothing here makes another program crash: each file was read by SimpleITK once; what did more than raise is left out.
"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.geometry.transform import Transform
from Testing.Lib.test_pipeline import bump, pair

SHAPE, FLAT = (12, 13, 14), (24, 26)
PLAN = """method = "voxelmorph-1"
seed = 1
[synthesis]
shape = [32, 32]
families = { shapes = 1.0 }
[schedule]
steps = 1
batch = 1
validate_every = 0
"""


def make_good(folder: Path) -> None:
    """Small images in 3-D and 2-D, masks, labels, points, transforms, lists; the bundle and run come from Training."""
    folder.mkdir(parents=True)
    for name, shape in (("", SHAPE), ("2d", FLAT)):
        grid = Grid.from_shape(shape, 1.5)
        for side, image in zip(("fixed", "moving"), pair(grid, 1.0), strict=True):
            image.save(folder / f"{side}{name}.nii.gz")
            block = np.zeros(shape, np.uint8)
            block[tuple(slice(3, 9) for _ in shape)] = 1
            Image(block, grid).save(folder / f"{side}_mask{name}.nii.gz")
            block[tuple(slice(5, 8) for _ in shape)] = 2
            Image(block, grid).save(folder / f"{side}_labels{name}.nii.gz")
    grid = Grid.from_shape(SHAPE, 1.5)
    Transform.from_field(bump(SHAPE, 0.7), grid).save(folder / "warp.h5")
    Transform.from_field(bump(SHAPE, 0.7), grid).save(folder / "warp.nii.gz")
    affine = sitk.AffineTransform(3)
    affine.SetTranslation((1.0, 0.5, 0.0))
    sitk.WriteTransform(affine, str(folder / "affine.tfm"))
    rows = ["a,5,6,7", "b,9,8,7", "c,4,9,10"]
    for side in ("fixed", "moving"):
        (folder / f"{side}.csv").write_text("\n".join(["label,x,y,z", *rows]), encoding="utf-8")
    markups = {
        "markups": [
            {
                "type": "Fiducial",
                "coordinateSystem": "LPS",
                "controlPoints": [{"label": "a", "position": [5, 6, 7]}, {"label": "b", "position": [9, 8, 7]}],
            }
        ]
    }
    (folder / "points.mrk.json").write_text(json.dumps(markups), encoding="utf-8")
    (folder / "points.fcsv").write_text(
        "# Markups fiducial file version = 4.11\n# CoordinateSystem = LPS\n"
        "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
        "1,5,6,7,0,0,0,1,1,1,0,a,,\n2,9,8,7,0,0,0,1,1,1,0,b,,\n",
        encoding="utf-8",
    )
    (folder / "pairs.csv").write_text("name,fixed,moving\none,fixed.nii.gz,moving.nii.gz\n", encoding="utf-8")
    entries = [{"name": "one", "fixed": "fixed.nii.gz", "moving": "moving.nii.gz"}]
    (folder / "pairs.json").write_text(json.dumps(entries), encoding="utf-8")
    (folder / "plan.toml").write_text(PLAN, encoding="utf-8")


def odd_images(folder: Path, shape: tuple[int, ...] = SHAPE) -> tuple[dict[str, Path], dict[str, Path]]:
    """Those that must be refused as an image, and those that may be fine."""
    folder.mkdir(parents=True)
    good = pair(Grid.from_shape(shape, 1.5), 1.0)[0]
    grid, n = good.grid, len(shape)

    def changed(name: str, array: np.ndarray, at: Grid = grid) -> Path:
        path = folder / name
        sitk.WriteImage(at.to_sitk(array), str(path))
        return path

    holes = good.array.copy()
    holes[:2] = np.nan
    plain = changed("plain.nii", good.array)
    data = plain.read_bytes()
    bad = {
        "nan": changed("nan.nii", np.full(shape, np.nan, np.float32)),
        "constant": changed("constant.nii.gz", np.full(shape, 7, np.float32)),
        "tiny": changed("tiny.nii.gz", good.array[tuple(slice(3) for _ in shape)], Grid.from_shape((3,) * n)),
        "one voxel": changed("one.nii.gz", np.ones((1,) * n, np.float32), Grid.from_shape((1,) * n)),
        "empty": _bytes(folder / "empty.nii.gz", b""),
        "text": _bytes(folder / "text.nii", b"hello, this is no image\n"),
        "text named nrrd": _bytes(folder / "text.nrrd", b"hello\n"),
        "text named mgz": _bytes(folder / "text.mgz", b"hello\n"),
        "text without a name": _bytes(folder / "text", b"hello\n"),
        "cut nii": _bytes(folder / "cut.nii", data[: len(data) * 2 // 3]),
        "header alone": _bytes(folder / "header.nii", data[:352]),
        "half a header": _bytes(folder / "half.nii", data[:100]),
        "beyond memory": _bytes(folder / "huge.nii", _with(data, 40, "<8h", n, *[30000] * n, *[1] * (7 - n))),
        "negative size": _bytes(folder / "negative.nii", _with(data, 42, "<h", -5)),
        "foreign hdf5": _bytes(folder / "foreign.h5", b"\x89HDF\r\n\x1a\n" + bytes(200)),
        "negative mgh": _bytes(folder / "negative.mgh", struct.pack(">7i", 1, -4, 4, 4, 1, 3, 0) + bytes(500)),
        "huge mgh": _bytes(folder / "huge.mgh", struct.pack(">7i", 1, *[40000] * 3, 1, 3, 0) + bytes(500)),
        "nowhere": folder / "nowhere.nii.gz",
        "in a file": plain / "image.nii",
        "empty folder": folder / "nothing in it",
        "name too long": folder / ("n" * 300 + ".nii"),
        "NUL": folder / "a\0b.nii",
        "transform": folder.parent / "good" / "affine.tfm",
        "list": folder.parent / "good" / "pairs.csv",
        "pipe": folder / "pipe.nii",
        "circle": folder / "circle.nii",
        "dangling": folder / "dangling.nii",
        "device": Path(os.devnull),
        "vectors": folder / "vectors.nii.gz",
    }
    bad["empty folder"].mkdir()
    os.mkfifo(bad["pipe"])
    bad["circle"].symlink_to(bad["circle"])
    bad["dangling"].symlink_to(folder / "gone.nii")
    sitk.WriteImage(grid.to_sitk(np.zeros((*shape, n), np.float32), vector=True), str(bad["vectors"]))
    odd = {
        "holes of NaN": changed("holes.nii.gz", holes),
        "binary": changed("binary.nii.gz", (good.array > 400).astype(np.uint8)),
        "1e300": changed("large.nrrd", good.array.astype(np.float64) * 1e297),
        "1e-12": changed("small.nii.gz", good.array * 1e-15),
        "offset": changed("offset.nii.gz", good.array + 32768),
        "sheared by hand": _bytes(folder / "pixdim.nii", _with(data, 80, "<f", 2.5)),
        "no size": _bytes(folder / "zero.nii", _with(data, 80, "<f", 0.0)),
        "NaN size": _bytes(folder / "nansize.nii", _with(data, 80, "<f", float("nan"))),
        "far away": changed("far.nii.gz", good.array, Grid(shape, _moved(grid.matrix, 5000.0))),
        "a micron": changed("micron.nii.gz", good.array, Grid.from_shape(shape, 1e-3)),
        "strange name": changed("ü n,d;'e(1).nii.gz", good.array),
        "name in Latin-1": _bytes(folder / os.fsdecode(b"m\xe4n.nii"), data),
        "name of three lines": _bytes(folder / "a\nb\nc.nii", data),
        "packed twice": _bytes(folder / "twice.nii.gz", data),
        "thick": changed("thick.nii.gz", good.array, Grid.from_shape(shape, (30.0, *[1.5] * (n - 1)))),
    }
    return bad, odd


def odd_points(folder: Path) -> dict[str, Path]:
    """Lists of points that cannot be those of two images of ``SHAPE``."""
    folder.mkdir(parents=True)
    deep = "[" * 100_000
    texts = {
        "empty.csv": "",
        "header.csv": "label,x,y,z\n",
        "unknown.csv": "label,east,north,up\na,1,2,3\n",
        "letters.csv": "x,y,z\n1,2,three\n",
        "nan.csv": "x,y,z\n5,6,nan\n9,8,7\n4,9,10\n",
        "infinite.csv": "x,y,z\n5,6,inf\n9,8,7\n4,9,10\n",
        "large.csv": "x,y,z\n5,6,1e300\n9,8,7\n4,9,10\n",
        "far.csv": "label,x,y,z\na,50000,6,7\nb,9,8,7\nc,4,9,10\n",
        "short.csv": "x,y,z\n5,6\n9,8,7\n",
        "flat.csv": "x,y\n5,6\n9,8\n4,9\n",
        "more.csv": "x,y,z\n" + "5,6,7\n" * 9,
        "long.csv": "label,x,y,z\n" + "n" * 200_000 + ",5,6\n",
        "flags.csv": "defined,selected,visible\n1,1,0\n",
        "nul.csv": "x,y,z\n5,6,\0\n",
        "deep.mrk.json": deep,
        "number.mrk.json": "5",
        "list.mrk.json": "[]",
        "none.mrk.json": '{"markups": []}',
        "plane.mrk.json": '{"markups": [{"type": "Plane", "controlPoints": [{"position": [1, 2, 3]}]}]}',
        "words.mrk.json": '{"markups": [{"controlPoints": [{"position": ["a", "b", "c"]}]}]}',
        "points.mrk.json": '{"markups": [{"controlPoints": 7}]}',
        "voxels.mrk.json": '{"markups": [{"coordinateSystem": "IJK", "controlPoints": [{"position": [1, 2, 3]}]}]}',
        "voxels.fcsv": "# Markups fiducial file version = 4.11\n# CoordinateSystem = 2\n1,5,6,7,0,0,0,1,1,1,0,a,,\n",
        "empty.fcsv": "# Markups fiducial file version = 4.11\n",
    }
    found = {name: folder / name for name in texts}
    for name, text in texts.items():
        found[name].write_text(text, encoding="utf-8")
    found["pipe.csv"] = folder / "pipe.csv"
    os.mkfifo(found["pipe.csv"])
    found["utf16.csv"] = _bytes(folder / "utf16.csv", b"\xff\xfe" + b"\x00\xd8" * 50)
    found["binary.csv"] = _bytes(folder / "binary.csv", bytes(range(256)) * 20)
    found["nowhere.csv"] = folder / "nowhere.csv"
    found["folder.csv"] = folder / "folder.csv"
    found["folder.csv"].mkdir()
    return found


def odd_transforms(folder: Path) -> dict[str, Path]:
    """Files that are no transform of a volume, or none with an inverse."""
    folder.mkdir(parents=True)
    good = folder.parent / "good"
    text = (good / "affine.tfm").read_text(encoding="utf-8")
    start = text.index("Parameters:")
    numbers = text[start : text.index("\n", start)]

    def affine(values: str) -> str:
        return text.replace(numbers, f"Parameters: {values}")

    texts = {
        "empty.tfm": "",
        "text.tfm": "hello\n",
        "singular.tfm": affine("0 0 0 0 0 0 0 0 0 1 1 1"),
        "flat.tfm": affine("1 0 0 0 1 0 0 0 0 1 1 1"),
        "nan.tfm": affine("nan 0 0 0 1 0 0 0 1 1 1 1"),
        "few.tfm": affine("1 0 0"),
        "unknown.tfm": text.replace("AffineTransform", "NoSuchTransform"),
        "several.tfm": text + text[text.index("Transform:") :],
        "elastix.txt": '(Transform "EulerTransform")\n(NumberOfParameters 6)\n',
        "other.xfm": "MNI Transform File\nTransform_Type = Linear;\n",
    }
    found = {name: folder / name for name in texts}
    for name, words in texts.items():
        found[name].write_text(words, encoding="utf-8")
    field = np.zeros((*SHAPE, 3), np.float64)
    field[3] = np.nan
    grid = Grid.from_shape(SHAPE, 1.5)
    for name, array in (("nan.nrrd", field), ("kilometers.nrrd", np.full_like(field, 1e8))):
        found[name] = folder / name
        sitk.WriteImage(grid.to_sitk(array, vector=True), str(found[name]))
    found["flat.h5"] = folder / "flat.h5"
    sitk.WriteTransform(sitk.TranslationTransform(2, (1.0, 1.0)), str(found["flat.h5"]))
    found["pipe.h5"] = folder / "pipe.h5"
    os.mkfifo(found["pipe.h5"])
    found["cut.h5"] = _bytes(folder / "cut.h5", (good / "warp.h5").read_bytes()[:3000])
    found["image.nii.gz"] = good / "fixed.nii.gz"
    found["points.csv"] = good / "fixed.csv"
    found["nowhere.h5"] = folder / "nowhere.h5"
    found["folder.h5"] = folder / "folder.h5"
    found["folder.h5"].mkdir()
    return found


def odd_lists(folder: Path) -> dict[str, Path]:
    """Lists that ``batch`` cannot take."""
    folder.mkdir(parents=True)
    one, good = "../good/fixed.nii.gz,../good/moving.nii.gz", '"fixed": "a.nii", "moving": "b.nii"'
    texts = {
        "empty.csv": "",
        "header.csv": "fixed,moving\n",
        "columns.csv": f"target,source\n{one}\n",
        "one.csv": "fixed\na.nii\n",
        "unknown.csv": f"fixed,moving,fixed-maks\n{one},x.nii\n",
        "twice.csv": f"name,fixed,moving\na,{one}\nA,{one}\n",
        "name.csv": f"name,fixed,moving\n../x,{one}\n",
        "own.csv": f"name,fixed,moving\nreports.csv,{one}\n",
        "device.csv": f"name,fixed,moving\nCON,{one}\n",
        "long.csv": f"name,fixed,moving\n{'n' * 300},{one}\n",
        "half.csv": f"fixed,moving,fixed_labels\n{one},x.nii\n",
        "number.json": "5",
        "deep.json": "[" * 100_000,
        "words.json": '["a", "b"]',
        "lists.json": '[{"fixed": ["a"], "moving": {}}]',
        "none.json": "{}",
        "key.json": f'[{{{good}, "fixed_maks": "m.nii"}}]',
        "nul.json": '[{"fixed": "a\\u0000", "moving": "b.nii"}]',
        "broken.json": "[{",
    }
    found = {name: folder / name for name in texts}
    for name, text in texts.items():
        found[name].write_text(text, encoding="utf-8")
    found["pipe.csv"] = folder / "pipe.csv"
    os.mkfifo(found["pipe.csv"])
    found["book.csv"] = _bytes(folder / "book.csv", b"PK\x03\x04" + bytes(100))
    found["nowhere.csv"] = folder / "nowhere.csv"
    found["empty folder"] = folder / "nothing in it"
    found["empty folder"].mkdir()
    return found


def make_run(folder: Path) -> None:
    """A training run of one step, its bundle, and a manifest of images."""
    from Testing.Training.small_runs import write_data
    from Training.__main__ import main

    plan, run = folder / "plan.toml", folder / "run"
    assert main(["train", str(plan), "--output", str(run), "--device", "cpu", "--quiet"]) == 0
    assert main(["export", str(plan), str(run), str(folder / "model.safetensors"), "--last"]) == 0
    write_data(folder / "data", 4)
    torch.manual_seed(0)


def _bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _with(data: bytes, at: int, layout: str, *values: float) -> bytes:
    changed = bytearray(data)
    struct.pack_into(layout, changed, at, *values)
    return bytes(changed)


def _moved(matrix: np.ndarray, by: float) -> np.ndarray:
    moved = matrix.copy()
    moved[:-1, -1] += by
    return moved
