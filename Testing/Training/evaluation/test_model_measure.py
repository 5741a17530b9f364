"""Models are measured in parts, within the minutes given, and the same command goes on."""

import json
import sys

import numpy as np
import pytest

from benchmarks.networks import box, checks, models
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.models.bundle import load_model, save_bundle
from DeepRegistrationLib.models.methods import find_method, fresh_model


def fresh(folder, method):
    model = fresh_model(find_method(method), 3)
    save_bundle(folder / "new.safetensors", model.network, model.header)
    return folder / "new.safetensors"


@pytest.fixture
def bundle(tmp_path):
    """A network with fresh weights that works on the grid itself: small images are quick."""
    return fresh(tmp_path, "voxelmorph-2")


@pytest.fixture
def universal(tmp_path):
    return fresh(tmp_path, "universal")


@pytest.fixture
def data(tmp_path):
    """A data folder with three small labeled images for one of the groups."""
    folder = tmp_path / "data" / "hippocampus"
    folder.mkdir(parents=True)
    grid = Grid.from_shape((12, 14, 16))
    random = np.random.default_rng(0)
    for number in range(3):
        labels = np.zeros(grid.shape, np.uint8)
        labels[3 : 8 + number, 3:10, 3 + number : 11] = 1
        noise = random.normal(0, 3, grid.shape)
        Image((labels * 100 + 20 + noise).astype(np.float32), grid).save(
            folder / f"hippocampus_{number:03d}_img.nii.gz"
        )
        Image(labels, grid).save(folder / f"hippocampus_{number:03d}_lab.nii.gz")
    return folder.parent


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["models", "measure", *map(str, arguments), "--threads", "1"])
    assert models.main() == 0


def found_in(results):
    (path,) = [p for p in results.glob("*.json") if p.name.startswith("new-")]
    return json.loads(path.read_text(encoding="utf-8"))


def test_real_pairs_are_measured_with_and_without_the_network(monkeypatch, tmp_path, bundle, data, capsys):
    results = tmp_path / "results"
    options = (bundle, "--results", results, "--data", data, "--parts", "real", "--most", 1)
    run(monkeypatch, *options, "--minutes", 0)
    assert "the same command goes on" in capsys.readouterr().out
    run(monkeypatch, *options, "--only", "brain")
    assert not [key for key in found_in(results) if "|" in key]
    run(monkeypatch, *options, "--only", "hippocampus")
    measured = {key.split("|")[2]: value for key, value in found_in(results).items() if "|" in key}
    assert list(measured) == ["before", "network alone", "no start + fast", "network + fast"]
    assert all(0 < scores["dice"] <= 1 for scores in measured.values())


@pytest.mark.slow
def test_large_motions_are_measured_case_by_case_and_only_once(monkeypatch, tmp_path, universal, capsys):
    monkeypatch.setattr(checks, "SHAPE", (20, 24, 20))
    monkeypatch.setattr(checks, "SPACING", 9.0)
    options = (universal, "--results", tmp_path / "results", "--data", tmp_path / "none", "--parts", "checks")
    run(monkeypatch, *options, "--motions", 1)
    assert "case 0" in capsys.readouterr().out
    run(monkeypatch, *options, "--motions", 1)
    assert "case" not in capsys.readouterr().out
    (case,) = [value for key, value in found_in(tmp_path / "results").items() if key.startswith("case")]
    assert case["kind"] == next(iter(checks.MOTIONS))
    assert case["before"] > 1
    assert {"no start", "network start"} <= set(case)


def test_contrast_and_inverse_of_the_network_alone_are_measured_on_a_brain_pair(tmp_path, bundle):
    folder = tmp_path / "brain_t1"
    folder.mkdir()
    grid = Grid.from_shape((20, 22, 24))
    for number, name in enumerate(("OAS1_0001", "OAS1_0002")):
        labels = np.zeros(grid.shape, np.int16)
        labels[4:16, 4:17, 4 : 17 + number] = 1
        labels[7:12, 8 : 12 + number, 8:14] = 2
        Image((labels * 90).astype(np.float32), grid).save(folder / f"{name}_t1.nii.gz")
        Image(labels, grid).save(folder / f"{name}_labels.nii.gz")
    found = checks.contrast(load_model(bundle), tmp_path, twice=True)
    # Fresh weights predict hardly any motion: little changes, and that is nearly its own inverse.
    assert [found[name] for name in ("as it is", "inverted", "remapped")] == pytest.approx(
        [found["before"]] * 3, abs=0.1
    )
    assert found["inverse voxels"] < 0.2
    assert "applied twice" in found


def test_only_models_that_beat_the_identity_beyond_chance_go_into_the_box(monkeypatch, tmp_path, capsys):
    made = tmp_path / "runs" / "models"
    made.mkdir(parents=True)
    (tmp_path / "box").mkdir()
    for name in ("sar-net", "voxelmorph-2"):
        (made / f"{name}.safetensors").write_bytes(b"x" * 100)
    monkeypatch.setattr(box, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(box, "BOX", tmp_path / "box")
    monkeypatch.setattr(box, "_gain", lambda path, pairs: (0.5, 0.1) if path.stem == "sar-net" else (0.15, 0.1))
    monkeypatch.setattr(sys, "argv", ["box", "ship"])
    assert box.main() == 0
    assert [path.name for path in (tmp_path / "box").iterdir()] == ["sar-net.safetensors"]
    assert "voxelmorph-2: NOT shipped" in capsys.readouterr().out
    monkeypatch.setattr(box, "TOTAL", 90)
    (tmp_path / "box" / "sar-net.safetensors").unlink()
    assert box.main() == 0
    assert not list((tmp_path / "box").iterdir())
