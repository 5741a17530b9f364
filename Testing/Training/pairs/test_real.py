"""Manifests and real pairs: what is read, how it is split and paired, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.models.header import Normalization
from Testing.data import real
from Testing.Training.small_runs import write_data
from Training.pairs.make_manifest import make_manifest
from Training.pairs.manifest import read_manifest
from Training.pairs.real import Cases, RealSource
from Training.plan import DataPlan
from Training.synthesis.plan import DeformPlan


def source(folder: Path, count: int = 5, modalities: int = 1, **settings: object) -> RealSource:
    manifest = write_data(folder, count, modalities=modalities)
    return RealSource(DataPlan("", **settings), read_manifest(manifest), 0)  # type: ignore[arg-type]


def test_patients_are_held_out_whole_and_always_the_same_ones(tmp_path: Path) -> None:
    manifest = write_data(tmp_path / "a", 5, modalities=2)
    split = read_manifest(manifest, 0.4, seed=3)
    trained = {case.patient for case in split.training}
    held = {case.patient for case in split.validation}
    assert len(trained) == 3
    assert len(held) == 2
    assert not trained & held
    assert len(split.training) == 6
    assert split == read_manifest(manifest, 0.4, seed=3)


def test_an_item_is_the_same_pair_whenever_it_is_asked_for(tmp_path: Path) -> None:
    pairs = source(tmp_path / "a")
    one = pairs.batch([7, 8])
    pairs.batch([1, 2, 3])
    again = source(tmp_path / "b").batch([7])
    assert torch.equal(one.fixed[:1], again.fixed)
    assert torch.equal(one.moving[:1], again.moving)
    assert one.names[0].split(" <- ")[0] != one.names[0].split(" <- ")[1]
    assert one.fixed.shape == (2, 1, 32, 40)
    assert one.fixed_labels is not None
    assert one.fixed_labels.dtype == torch.int16


def test_an_atlas_is_always_the_fixed_image(tmp_path: Path) -> None:
    pairs = source(tmp_path / "a", pairing="atlas", atlas="imagesTr/Toy_0001_0000.nii.gz")
    for item in range(6):
        fixed, moving = pairs.batch([item]).names[0].split(" <- ")
        assert "Toy_0001" in fixed
        assert "Toy_0001" not in moving
    with pytest.raises(InputError, match="atlas"):
        source(tmp_path / "b", pairing="atlas", atlas="other.nii.gz")


def test_two_images_of_one_patient_are_paired(tmp_path: Path) -> None:
    pairs = source(tmp_path / "a", modalities=2, pairing="intra")
    for item in range(6):
        fixed, moving = pairs.batch([item]).names[0].split(" <- ")
        assert fixed != moving
        assert fixed[:19] == moving[:19]
    with pytest.raises(InputError, match="two images"):
        source(tmp_path / "b", pairing="intra")


def test_an_aligned_pair_may_be_deformed_with_the_true_field(tmp_path: Path) -> None:
    deform = DeformPlan(fixed=False, spacing=(0.5,), sd=(1.0,), largest=4.0, rotation=0, scale=0, translation=0)
    pairs = source(tmp_path / "a", deform=deform)
    batch = pairs.batch([0])
    assert batch.displacement is not None
    assert batch.weight is not None
    from DeepRegistrationLib.fields import warp

    back = warp(batch.moving, batch.displacement)
    inside = batch.weight > 0
    before, after = ((x - batch.fixed).abs()[inside].mean() for x in (batch.moving, back))
    assert float(after) < 0.5 * float(before)


def test_images_come_onto_the_grid_and_into_the_range_that_the_plan_says(tmp_path: Path) -> None:
    made = Image(np.linspace(0, 500, 20 * 30, dtype=np.float32).reshape(20, 30), Grid.from_shape((20, 30), 2.0))
    made.save(tmp_path / "a.nii.gz")
    Image((made.array > 250).astype(np.uint8), made.grid).save(tmp_path / "l.nii.gz")
    entry = {"image": "a.nii.gz", "label": "l.nii.gz"}
    (tmp_path / "m.json").write_text(json.dumps({"training": [entry]}), encoding="utf-8")
    case = read_manifest(tmp_path / "m.json", 0.0).training[0]
    plan = DataPlan("", shape=(32, 32), spacing=(2.0, 2.0), normalization=Normalization("range", 0, 500, (-1.0, 1.0)))
    prepared = Cases(plan).get(case)
    assert prepared.image.shape == (1, 1, 32, 32)
    assert prepared.labels is not None
    inner = prepared.image[0, 0, 6:26, 1:31]
    assert torch.allclose(inner, torch.from_numpy(made.array) / 250 - 1, atol=1e-4)
    assert float(prepared.image[0, 0, 0, 0]) == -1.0
    assert torch.equal(prepared.labels[0, 0, 6:26, 1:31] > 0, torch.from_numpy(made.array > 250))


def test_memory_for_prepared_images_is_limited(tmp_path: Path) -> None:
    manifest = read_manifest(write_data(tmp_path / "a", 5), 0.0)
    one = 32 * 40 * (4 + 2)
    cases = Cases(DataPlan("", cache_gb=2.5 * one / (1 << 30)))
    first = cases.get(manifest.training[0])
    assert cases.get(manifest.training[0]) is first
    for case in manifest.training:
        cases.get(case)
    assert cases.held <= 2.5 * one
    assert cases.get(manifest.training[0]) is not first


def test_masks_of_another_gray_become_labels(tmp_path: Path) -> None:
    grid = Grid.from_shape((20, 20))
    Image(np.random.default_rng(0).integers(0, 255, (20, 20)).astype(np.uint8), grid).save(tmp_path / "x.png")
    mask = np.zeros((20, 20), np.uint8)
    mask[5:10] = 250
    Image(mask, grid).save(tmp_path / "m.png")
    (tmp_path / "d.json").write_text(json.dumps({"training": [{"image": "x.png", "label": "m.png"}]}), encoding="utf-8")
    case = read_manifest(tmp_path / "d.json", 0.0).training[0]
    prepared = Cases(DataPlan("", mask_threshold=127)).get(case)
    assert prepared.labels is not None
    assert set(prepared.labels.unique().tolist()) == {0, 1}


def refused(folder: Path, table: object, message: str) -> None:
    path = folder / "m.json"
    path.write_text(table if isinstance(table, str) else json.dumps(table), encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        read_manifest(path)
    assert "\n" not in str(caught.value)


def test_a_manifest_that_cannot_be_used_is_refused_in_one_sentence(tmp_path: Path) -> None:
    Image(np.ones((8, 8), np.float32), Grid.from_shape((8, 8))).save(tmp_path / "flat.nii.gz")
    Image(np.ones((8, 8, 8), np.float32), Grid.from_shape((8, 8, 8))).save(tmp_path / "deep.nii.gz")
    Image(np.ones((8, 8, 8), np.uint8), Grid.from_shape((8, 8, 8), 2.0)).save(tmp_path / "coarse.nii.gz")
    (tmp_path / "broken.nii.gz").write_bytes(b"nothing")
    refused(tmp_path, "{", "not JSON")
    refused(tmp_path, {"images": []}, '"training"')
    refused(tmp_path, {"training": [{"file": "a"}]}, 'no "image"')
    refused(tmp_path, {"training": ["missing.nii.gz"]}, "does not exist")
    refused(tmp_path, {"training": ["broken.nii.gz", "deep.nii.gz"]}, "could not be read")
    refused(tmp_path, {"training": ["flat.nii.gz", "deep.nii.gz"]}, "2-D or all 3-D")
    refused(tmp_path, {"training": [{"image": "deep.nii.gz", "label": "coarse.nii.gz"}]}, "does not lie on its image")
    same = {"image": "deep.nii.gz", "patient": "p"}
    refused(tmp_path, {"training": [same], "validation": [{**same}]}, "patient p in training and in validation")
    with pytest.raises(InputError, match="does not exist"):
        read_manifest(tmp_path / "none.json")


def test_images_of_several_sizes_need_a_common_grid(tmp_path: Path) -> None:
    for k, n in enumerate((16, 20, 24)):
        Image(np.random.default_rng(k).random((n, n)).astype(np.float32), Grid.from_shape((n, n))).save(
            tmp_path / f"{k}.nii"
        )
    (tmp_path / "m.json").write_text(json.dumps({"training": ["0.nii", "1.nii", "2.nii"]}), encoding="utf-8")
    with pytest.raises(InputError, match="differ in size"):
        RealSource(DataPlan(""), read_manifest(tmp_path / "m.json", 0.0), 0)
    pairs = RealSource(DataPlan("", shape=(16, 16)), read_manifest(tmp_path / "m.json", 0.0), 0)
    assert pairs.batch([0, 1, 2]).fixed.shape == (3, 1, 16, 16)


def test_real_hippocampi_make_pairs(tmp_path: Path) -> None:
    folder = real("hippocampus")
    images = sorted(folder.glob("*_img.nii.gz"))[:4]
    entries = [{"image": str(p), "label": str(p).replace("_img", "_lab")} for p in images]
    (tmp_path / "m.json").write_text(json.dumps({"training": entries}), encoding="utf-8")
    plan = DataPlan("", shape=(48, 64, 48), spacing=(1.0, 1.0, 1.0), validation=0.25)
    pairs = RealSource(plan, read_manifest(tmp_path / "m.json", 0.25), 0)
    batch = pairs.batch([0])
    assert batch.fixed.shape == (1, 1, 48, 64, 48)
    assert batch.fixed_labels is not None
    assert set(batch.fixed_labels.unique().tolist()) == {0, 1, 2}
    assert 0.9 < float(batch.fixed.max()) <= 1.0


def test_a_manifest_is_made_for_a_folder_of_images(tmp_path: Path) -> None:
    write_data(tmp_path / "a", 3)
    images = tmp_path / "a" / "imagesTr"
    for label in (tmp_path / "a" / "labelsTr").iterdir():
        label.rename(images / label.name.replace(".nii.gz", "_seg.nii.gz"))
    count = make_manifest(images, tmp_path / "m.json", "*.nii.gz", "*_seg.nii.gz")
    assert count == 3
    split = read_manifest(tmp_path / "m.json", 0.34)
    assert len(split.training) == 2
    assert all(case.label is not None for case in split.training)
    with pytest.raises(InputError, match="no label map"):
        make_manifest(images, tmp_path / "m.json", "*.nii.gz", "*_lab.nii.gz")
    with pytest.raises(InputError, match="no image"):
        make_manifest(images, tmp_path / "m.json", "*.mha")
