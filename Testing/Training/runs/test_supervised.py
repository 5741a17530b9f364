"""Fields as targets: from files in the manifest, and made by the refinement engine."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.fields import warp
from DeepRegistrationLib.geometry.image import Grid, Image
from Testing.Training.small_runs import write_data
from Training.__main__ import main
from Training.pairs.manifest import read_manifest
from Training.pairs.real import RealSource
from Training.plan import DataPlan, plan_of
from Training.runs.train import start

SHAPE = (30, 44)
GRID = Grid.from_shape(SHAPE, 1.5)


def blob(center: tuple[float, float]) -> Image:
    y, x = np.meshgrid(np.arange(SHAPE[0]), np.arange(SHAPE[1]), indexing="ij")
    r = ((y - center[0]) / 6) ** 2 + ((x - center[1]) / 9) ** 2
    return Image(np.exp(-r).astype(np.float32), GRID)


def shifted_data(folder: Path) -> Path:
    """Two blobs, the moving one 2 voxels further along axis 0 and 3 along axis 1, and that shift as a transform."""
    blob((13, 20)).save(folder / "f.nii.gz")
    blob((15, 23)).save(folder / "m.nii.gz")
    shift = sitk.TranslationTransform(2, (3 * 1.5, 2 * 1.5))  # x, y in mm
    sitk.WriteTransform(shift, str(folder / "t.tfm"))
    pair = {"fixed": "f.nii.gz", "moving": "m.nii.gz", "displacement": "t.tfm"}
    manifest = folder / "m.json"
    manifest.write_text(
        json.dumps({"training": ["f.nii.gz", "m.nii.gz"], "training_paired_images": [pair]}), encoding="utf-8"
    )
    return manifest


@pytest.mark.parametrize("shape", [None, (15, 22), (48, 64)])
def test_a_transform_in_mm_becomes_voxels_of_the_networks_grid(tmp_path: Path, shape: tuple[int, int] | None) -> None:
    manifest = read_manifest(shifted_data(tmp_path), 0.0)
    batch = RealSource(DataPlan("", shape=shape), manifest, 0).batch([0])
    assert batch.displacement is not None
    size = batch.fixed.shape[2:]
    expected = [2 * size[0] / SHAPE[0], 3 * size[1] / SHAPE[1]]
    assert batch.displacement.mean(dim=(0, 2, 3)).tolist() == pytest.approx(expected, abs=1e-3)
    before, after = ((x - batch.fixed).abs().mean() for x in (batch.moving, warp(batch.moving, batch.displacement)))
    assert float(after) < 0.2 * float(before)


def test_a_pair_without_a_field_among_others_is_refused(tmp_path: Path) -> None:
    manifest = shifted_data(tmp_path)
    table = json.loads(manifest.read_text(encoding="utf-8"))
    table["training_paired_images"].append({"fixed": "m.nii.gz", "moving": "f.nii.gz"})
    manifest.write_text(json.dumps(table), encoding="utf-8")
    with pytest.raises(InputError, match="has no displacement field"):
        RealSource(DataPlan(""), read_manifest(manifest, 0.0), 0)
    table["training_paired_images"][1]["displacement"] = "none.tfm"
    manifest.write_text(json.dumps(table), encoding="utf-8")
    with pytest.raises(InputError, match="does not exist"):
        read_manifest(manifest, 0.0)


def test_the_engines_fields_are_made_once_and_learned_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = write_data(tmp_path / "data", 3)
    target, folder = tmp_path / "with_fields.json", tmp_path / "fields"
    command = ["fields", str(manifest), str(target), "--output", str(folder), "--pairs", "2", "--device", "cpu"]
    assert main(command) == 0
    files = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(files) == 2
    assert main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == files
    table = {
        "method": "flownet-roi",
        "variant": "supervised",
        "network": {"width": 0.05},
        "data": {"manifest": str(target), "validation": 0.0, "shape": [64, 64]},
        "schedule": {"steps": 1, "batch": 1, "validate_every": 0},
    }
    run = start(plan_of(table), tmp_path / "run", "cpu", tensorboard=False, quiet=True)
    assert run.progress.step == 1
    table["data"]["manifest"] = str(manifest)  # type: ignore[index]
    with pytest.raises(InputError, match="learns from known fields"):
        start(plan_of(table), tmp_path / "other", "cpu", tensorboard=False, quiet=True)
