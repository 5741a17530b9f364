"""A run knows its data: another image, another split and pairs the wrong way round are noticed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import Grid, Image, read_image
from DeepRegistrationLib.networks.voxelmorph import VoxelMorph
from Training.pairs.manifest import read_manifest
from Training.pairs.real import RealSource
from Training.plan import TrainingPlan, plan_again, plan_of
from Training.runs.export import export
from Training.runs.loop import train
from Training.runs.train import source_of
from Training.runs.validation import validate

from ..small_runs import write_data

CPU = torch.device("cpu")


def plan_on(manifest: Path, **data: object) -> TrainingPlan:
    return plan_of(
        {
            "method": "voxelmorph-1",
            "data": {"manifest": str(manifest), "shape": [32, 48], "validation": 0.4, **data},
            "schedule": {"steps": 1, "batch": 1, "validate_every": 1, "validation_pairs": 4, "checkpoint_every": 1},
        }
    )


def run(plan: TrainingPlan, folder: Path) -> None:
    train(plan, source_of(plan, CPU), folder, CPU, tensorboard=False, quiet=True)


def test_a_run_is_not_resumed_on_other_data(tmp_path: Path) -> None:
    manifest = write_data(tmp_path / "data")
    plan = plan_on(manifest)
    run(plan, tmp_path / "run")
    run(plan, tmp_path / "run")  # the same data: it goes on
    moved = tmp_path / "moved"
    (tmp_path / "data").rename(moved)  # in another folder they are still the same
    plan = plan_on(moved / "dataset.json")
    run(plan, tmp_path / "run")
    header = export(plan, tmp_path / "run", tmp_path / "out.safetensors")
    assert header.training["data_sha256"] == source_of(plan, CPU).fingerprint()
    path = moved / "imagesTr" / "Toy_0002_0000.nii.gz"
    image = read_image(path)
    image.array[5, 5] += 1
    image.save(path)
    with pytest.raises(InputError, match="on other data"):
        run(plan, tmp_path / "run")


@pytest.mark.parametrize("change", ["patient", "label", "held out"])
def test_the_fingerprint_sees_splits_and_labels(change: str, tmp_path: Path) -> None:
    manifest = write_data(tmp_path / "data", 4)
    before = read_manifest(manifest, 0.0).fingerprint()
    table = json.loads(manifest.read_text(encoding="utf-8"))
    if change == "patient":
        table["training"][0]["patient"] = "another"
    elif change == "label":
        table["training"][0]["label"] = table["training"][1]["label"]
    else:
        table["validation"] = [table["training"].pop()]
    manifest.write_text(json.dumps(table), encoding="utf-8")
    assert read_manifest(manifest, 0.0).fingerprint() != before


def without_label(manifest: Path, number: int) -> None:
    table = json.loads(manifest.read_text(encoding="utf-8"))
    entry = table["training"][number]
    (manifest.parent / entry.pop("label")).unlink()
    manifest.write_text(json.dumps(table), encoding="utf-8")


def test_pairs_are_validated_where_only_some_have_labels(tmp_path: Path) -> None:
    manifest = write_data(tmp_path / "data", 5)
    without_label(manifest, 1)
    table = json.loads(manifest.read_text(encoding="utf-8"))
    table["validation"], table["training"] = table["training"][:3], table["training"][3:]
    manifest.write_text(json.dumps(table), encoding="utf-8")
    pairs = source_of(plan_on(manifest), CPU).validation(3)
    bare = [pair.moving_labels is None or pair.fixed_labels is None for pair in pairs]
    assert sum(bare) == 2
    scores = validate(VoxelMorph(2, 1), pairs, CPU, "float32")
    labeled = [pair for pair, none in zip(pairs, bare, strict=True) if not none]
    assert scores["dice"] == validate(VoxelMorph(2, 1), labeled, CPU, "float32")["dice"]
    run(plan_on(manifest), tmp_path / "run")


def test_a_method_that_needs_labels_is_refused_where_one_image_has_none(tmp_path: Path) -> None:
    manifest = write_data(tmp_path / "data", 4, shape=(64, 64))
    without_label(manifest, 3)
    plan = replace(plan_on(manifest), seed=0)
    table = {"method": "flownet-roi", "variant": "pn-mask", "network": {"width": 0.02}, "schedule": {"steps": 1}}
    plan = plan_of({**table, "data": {"manifest": str(manifest), "validation": 0.0}})
    with pytest.raises(InputError, match=r"Toy_0003_0000\.nii\.gz has none"):
        run(plan, tmp_path / "run")


def two_kinds(folder: Path) -> Path:
    """CT (Hounsfield) and MR of two patients."""
    entries = []
    random = np.random.default_rng(0)
    folder.mkdir()
    for patient in range(2):
        for kind, values in (
            ("0000", random.uniform(0, 1500, (32, 48))),
            ("0001", random.uniform(-900, 900, (32, 48))),
        ):
            name = f"Two_{patient:04d}_{kind}.nii.gz"
            Image(values.astype(np.float32), Grid.from_shape((32, 48))).save(folder / name)
            entries.append({"image": name})
    (folder / "m.json").write_text(json.dumps({"training": entries}), encoding="utf-8")
    return folder / "m.json"


def test_pairs_are_drawn_one_way_and_each_kind_has_its_own_intensities(tmp_path: Path) -> None:
    manifest = two_kinds(tmp_path / "data")
    window = {"kind": "range", "low": -100.0, "high": 300.0}
    one_way = {"fixed_images": "*_0000.nii.gz", "moving_images": "*_0001.nii.gz", "moving_normalization": window}
    plan = plan_on(manifest, pairing="intra", validation=0.0, **one_way)
    source = source_of(plan, CPU)
    both_ways = source_of(plan_on(manifest, pairing="intra", validation=0.0), CPU)
    names = {name for batch in map(source.batch, ([k] for k in range(12))) for name in batch.names}
    assert names == {f"Two_000{k}_0000.nii.gz <- Two_000{k}_0001.nii.gz" for k in (0, 1)}
    assert len({both_ways.batch([k]).names[0] for k in range(40)}) == 4
    batch = source.batch([0])
    ct = read_image(tmp_path / "data" / batch.names[0].split(" <- ")[1]).array
    expected = np.clip((ct + 100) / 400, 0, 1)
    assert np.abs(batch.moving[0, 0].numpy() - expected).max() < 1e-5
    assert float(batch.fixed.max()) == 1.0
    run(plan, tmp_path / "run")
    header = export(plan, tmp_path / "run", tmp_path / "out.safetensors")
    assert header.moving_normalization is not None
    assert header.moving_normalization.low == -100.0
    assert plan_again(json.loads(json.dumps(plan.describe()))).hash() == plan.hash()


def test_settings_of_two_kinds_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    manifest = two_kinds(tmp_path / "data")
    window = {"kind": "range", "low": -100.0, "high": 300.0}
    with pytest.raises(InputError, match="two kinds"):
        source_of(plan_on(manifest, pairing="intra", moving_normalization=window), CPU)
    with pytest.raises(InputError, match="go together"):
        plan_on(manifest, pairing="intra", fixed_images="*")
    with pytest.raises(InputError, match="intra"):
        plan_on(manifest, fixed_images="*_0000*", moving_images="*_0001*")
    with pytest.raises(InputError, match="low below high"):
        plan_on(manifest, normalization={"low": 5.0, "high": 2.0})
    with pytest.raises(InputError, match=r"two images like x\* and y\*"):
        source_of(plan_on(manifest, pairing="intra", fixed_images="x*", moving_images="y*"), CPU)


def test_a_translator_is_not_trained_both_ways(tmp_path: Path) -> None:
    manifest = two_kinds(tmp_path / "data")
    table = {"method": "deform-gan", "schedule": {"steps": 1, "batch": 1}}
    plan = plan_of({**table, "data": {"manifest": str(manifest), "pairing": "intra", "validation": 0.0}})
    source = source_of(plan, CPU)
    assert isinstance(source, RealSource)
    with pytest.raises(InputError, match="one way"):
        run(plan, tmp_path / "run")
