import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from DeepRegistrationLib.errors import InputError, NotWritten
from DeepRegistrationLib.files.writing import remove_unfinished, together, whole, write_text
from DeepRegistrationLib.geometry.image import Grid, Image, read_image
from DeepRegistrationLib.geometry.points import Points, write_points
from DeepRegistrationLib.geometry.transform import Transform, map_points, read_transform
from DeepRegistrationLib.models.safetensors import read_weights, write_weights
from DeepRegistrationLib.quality.report import Report, save_report
from Testing.Lib.files.full_disk import files_up_to, needs_limit, small_disk

GRID = Grid.from_shape((16, 18, 20), (1.5, 1.2, 1.0))
KINDS = {
    **dict.fromkeys(("i.nii", "i.nii.gz", "i.nrrd", "i.nhdr", "i.mha", "i.mhd", "i.hdr"), "image"),
    **dict.fromkeys(("t.h5", "t.tfm", "t.nrrd", "t.nii.gz", "t.nii", "t.mha"), "transform"),
    **dict.fromkeys(("p.png", "p.tif"), "picture"),
    "p.csv": "points",
    "b.safetensors": "weights",
    "report": "report",
}


def noise(shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def write(kind, path):
    """Something of that kind that has more than 20 000 bytes, also when compressed."""
    image = Image(noise(GRID.shape), GRID)
    if kind == "image":
        image.save(path)
    elif kind == "picture":
        Image((noise((200, 200)) * 30 + 100).astype(np.uint8), Grid.from_shape((200, 200))).save(path)
    elif kind == "transform":
        Transform.from_field(torch.from_numpy(noise((1, 3, *GRID.shape))) * 0.1, GRID, np.diag([1.1, 1, 1, 1])).save(
            path
        )
    elif kind == "points":
        write_points(Points(noise((2000, 3))), path)
    elif kind == "weights":
        write_weights(path, {"w": torch.from_numpy(noise((10_000,)))}, {})
    else:
        save_report(Report("none", "fast", "auto", "cpu", "0"), path, image, image, image)


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@needs_limit
@pytest.mark.parametrize(("name", "kind"), KINDS.items(), ids=list(KINDS))
def test_a_full_disk_is_an_error_and_harms_no_earlier_file(tmp_path, name, kind):
    write(kind, tmp_path / name)
    before = contents(tmp_path)
    assert before
    with files_up_to(8_000), pytest.raises(NotWritten, match="make room") as caught:
        write(kind, tmp_path / name)
    assert not caught.value.full  # another file may be small enough
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["i.nii.gz", "t.h5", "t.tfm", "t.nii.gz", "p.csv", "report"])
def test_a_file_system_that_fills_up_is_an_error_and_harms_no_earlier_file(tmp_path, name):
    with small_disk(tmp_path / "disk", 150) as disk:
        good = disk / "report/report.html" if name == "report" else disk / name
        good.parent.mkdir(exist_ok=True)
        good.write_bytes(b"an earlier good result")
        (disk / "other").write_bytes(bytes(130_000))
        with pytest.raises(NotWritten, match="make room") as caught:
            write(KINDS[name], disk / name)
        assert caught.value.full
        assert contents(disk) == {good.relative_to(disk): b"an earlier good result", Path("other"): bytes(130_000)}


@pytest.mark.parametrize("name", ["i.nii", "i.nii.gz", "i.nhdr", "i.mhd", "i.hdr", "p.png", "t.h5", "t.tfm"])
def test_what_was_written_is_there_whole_and_alone(tmp_path, name):
    write(KINDS[name], tmp_path / name)
    if name.startswith("t"):
        points = GRID.to_world(np.array([[4.0, 5, 6], [10, 3, 8]]))
        moved = map_points(read_transform(tmp_path / name), points)
        assert 0.05 < np.abs(moved - points).max() < 5
    else:
        assert read_image(tmp_path / name).array.std() > 0.5
    assert not [p for p in tmp_path.iterdir() if p.is_dir()]


def test_several_files_appear_together_or_not_at_all(tmp_path):
    write_text(tmp_path / "a", "old a")
    with pytest.raises(InputError), together():  # noqa: PT012 - what came before the error matters
        write_text(tmp_path / "a", "new a")
        assert (tmp_path / "a").read_text(encoding="utf-8") == "old a"
        write_text(tmp_path / "nowhere" / "b", "new b")
    assert contents(tmp_path) == {Path("a"): b"old a"}
    with together():
        write_text(tmp_path / "a", "new a")
        with together():
            write_text(tmp_path / "b", "new b")
        assert not (tmp_path / "b").exists()
    assert contents(tmp_path) == {Path("a"): b"new a", Path("b"): b"new b"}
    assert len(list(tmp_path.iterdir())) == 2


def test_a_link_stays_a_link_and_rights_stay_as_they_are(tmp_path):
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    write_text(real, "old")
    real.chmod(0o640)
    link.symlink_to(real)
    write_text(link, "new")
    assert link.is_symlink()
    assert real.read_text(encoding="utf-8") == "new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    write_text(tmp_path / "fresh", "")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "fresh").stat().st_mode) == 0o666 & ~mask


def test_an_ended_process_leaves_nothing_half_written(tmp_path):
    with whole(tmp_path / "x") as partial:
        partial.write_text("half", encoding="utf-8")
        assert len(list(tmp_path.iterdir())) == 1
        remove_unfinished()
        assert not list(tmp_path.iterdir())
        partial.parent.mkdir()
        partial.write_text("", encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nowhere/x", "create it first"),
        ("file/x", "create it first"),
        ("folder", "it is a folder"),
        ("pipe", "no ordinary file"),
        ("circle", "choose another name"),
        ("n" * 300, "choose another name"),
        ("a\0b", "NUL"),
    ],
)
def test_what_no_file_can_be_is_one_sentence(tmp_path, name, sentence):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("", encoding="utf-8")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=sentence) as caught:
        write_text(tmp_path / name, "text")
    assert len(str(caught.value)) < 700
    assert sorted(tmp_path.iterdir()) == before


def test_an_error_of_the_disk_while_python_writes_is_one_sentence(tmp_path):
    with pytest.raises(NotWritten, match="No space left") as caught, whole(tmp_path / "x"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.full
    assert not list(tmp_path.iterdir())


def test_weights_are_written_as_before(tmp_path):
    write("weights", tmp_path / "b.safetensors")
    assert read_weights(tmp_path / "b.safetensors")[0]["w"].shape == (10_000,)


def test_a_transform_that_came_back_different_would_be_noticed():
    from DeepRegistrationLib.files.itk_files import _same_transform

    def field(value):
        image = sitk.GetImageFromArray(np.full((3, 4, 5, 3), value), isVector=True)
        return sitk.DisplacementFieldTransform(image)

    affine, other = sitk.AffineTransform(3), sitk.AffineTransform(3)
    other.SetTranslation((0, 0, 1e-3))
    assert _same_transform(sitk.CompositeTransform([affine, field(1.0)]), sitk.CompositeTransform([affine, field(1.0)]))
    for a, b in ((affine, other), (field(1.0), field(1.001)), (affine, field(0.0)), (affine, sitk.Euler3DTransform())):
        assert not _same_transform(a, b)
        assert not _same_transform(sitk.CompositeTransform([affine, a]), sitk.CompositeTransform([affine, b]))
    assert not _same_transform(sitk.CompositeTransform([affine, affine]), affine)
