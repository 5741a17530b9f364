"""Evaluation: the papers' figures on held-out pairs, for bundles and runs, of images and of generated pairs."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from DeepRegistrationLib import fields
from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.models.bundle import save_bundle
from DeepRegistrationLib.models.methods import fresh_model
from Testing.Training.small_runs import tiny_plan, write_data
from Training.__main__ import main
from Training.evaluation.evaluate import Wanted, evaluate, held_out_pairs, named_apart, subject_of
from Training.evaluation.figures import measure
from Training.pairs.batch import Batch
from Training.pairs.synthetic import SyntheticSource
from Training.plan import plan_of
from Training.runs.export import export
from Training.runs.train import start

CPU = torch.device("cpu")


def shifted_pair() -> tuple[Batch, torch.Tensor]:
    """A bright disk, moved by (3, 0) voxels, and the field that undoes it."""
    grid = fields.identity((32, 40))
    disk = ((grid[:, :1] - 15).square() + (grid[:, 1:] - 20).square() < 60).float()
    moved = torch.roll(disk, 3, 2)
    u = torch.zeros(1, 2, 32, 40)
    u[:, 0] = 3
    points = np.array([[15.0, 20.0], [10.0, 12.0]])
    pair = Batch(
        disk, moved, disk.to(torch.int16), moved.to(torch.int16), u, spacing=(2.0, 1.0),
        fixed_points=points, moving_points=points + np.array([3.0, 0.0]),
    )  # fmt: skip
    return pair, u


def test_the_true_field_makes_every_figure_perfect() -> None:
    pair, u = shifted_pair()
    figures = measure(u, pair)
    assert figures["dice"][0] < 0.9
    assert figures["dice"][1] == figures["jaccard"][1] == 1
    for name in ("hd95", "asd", "mad", "landmarks", "end_point", "rmse"):
        assert figures[name][0] > 0
        assert figures[name][1] == pytest.approx(0, abs=1e-5), name
    assert figures["landmarks"][0] == pytest.approx(6)  # 3 voxels of 2 mm
    assert figures["end_point"][0] == pytest.approx(3)
    assert figures["folds"] == (0, 0)
    assert figures["sdlogj"][1] == pytest.approx(0, abs=1e-5)


def test_what_is_not_known_is_left_out() -> None:
    pair, u = shifted_pair()
    assert set(measure(u, Batch(pair.fixed, pair.moving))) == {"folds", "sdlogj"}


def read(folder: Path) -> list[dict[str, str]]:
    with (folder / "pairs.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_bundle_and_a_run_are_evaluated_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = write_data(tmp_path / "data", 6)
    table = {"manifest": str(manifest), "validation": 0.5, "shape": [32, 48]}
    schedule = {"steps": 1, "batch": 1, "validate_every": 1, "log_every": 1}
    plan = plan_of({"method": "voxelmorph-1", "data": table, "schedule": schedule})
    start(plan, tmp_path / "run", "cpu", tensorboard=False, quiet=True)
    export(plan, tmp_path / "run", tmp_path / "toy.safetensors")
    models = [str(tmp_path / "run"), str(tmp_path / "toy.safetensors")]
    assert main(["evaluate", *models, "--data", str(manifest), "--output", str(tmp_path / "out")]) == 0
    rows = read(tmp_path / "out")
    assert [row["model"] for row in rows] == ["run"] * 3 + ["toy"] * 3
    for one, two in zip(rows[:3], rows[3:], strict=True):  # the bundle is the run, but for half precision
        assert one["pair"] == two["pair"]
        assert float(one["dice"]) == pytest.approx(float(two["dice"]), abs=0.02)
        assert 0 < float(one["dice_before"]) < 1
    summary = (tmp_path / "out" / "summary.md").read_text(encoding="utf-8")
    assert summary.count("\n") == 4
    assert "Dice" in summary
    assert "HD95 (mm)" in summary
    assert (tmp_path / "out" / "boxes.png").stat().st_size > 2000
    assert summary.strip() in capsys.readouterr().out
    # Without --data, a run knows its own held-out images.
    own = held_out_pairs(subject_of(tmp_path / "run"), Wanted(), CPU)
    assert [pair.names[0].split("/")[-1] for pair in own] == [row["pair"].split(" <- ")[1] for row in rows[:3]]
    assert own[0].spacing == (1.5, 1.25)  # 40 voxels of 1.5 mm on 48


def test_generated_pairs_have_the_true_field_and_no_manifest(tmp_path: Path) -> None:
    plan = tiny_plan("voxelmorph-1", steps=1)
    start(plan, tmp_path / "run", "cpu", tensorboard=False, quiet=True)
    rows = evaluate([subject_of(tmp_path / "run")], Wanted(pairs=3), CPU)
    assert len(rows) == 3
    assert all(row.figures["end_point"][0] > 0 for row in rows)
    trained_on = SyntheticSource(plan.synthesis, plan.seed, CPU).batch([0])  # type: ignore[arg-type]
    assert trained_on.names[0] not in {row.pair for row in rows}


def test_networks_that_take_any_size_get_the_moving_image_on_the_fixed_grid(tmp_path: Path) -> None:
    manifest = write_data(tmp_path / "data", 3)
    model = fresh_model(*_universal())
    save_bundle(tmp_path / "any.safetensors", model.network, model.header)
    pairs = held_out_pairs(subject_of(tmp_path / "any.safetensors"), Wanted(manifest=manifest), CPU)
    assert len(pairs) == 3  # no plan: all patients
    assert all(pair.fixed.shape == pair.moving.shape for pair in pairs)


def _universal() -> tuple:  # type: ignore[type-arg]
    from DeepRegistrationLib.models.methods import find_method

    return find_method("universal"), 2


def test_landmarks_of_the_manifest_are_measured_in_mm(tmp_path: Path) -> None:
    manifest = write_data(tmp_path / "data", 2)
    table = json.loads(manifest.read_text(encoding="utf-8"))
    for number, entry in enumerate(table["training"]):
        (tmp_path / "data" / f"{number}.csv").write_text(f"x,y\n{15 + 3 * number},12\n30,24\n", encoding="utf-8")
        entry["landmarks"] = f"{number}.csv"
    manifest.write_text(json.dumps(table), encoding="utf-8")
    model = fresh_model(*_universal())
    save_bundle(tmp_path / "any.safetensors", model.network, model.header)
    subject = subject_of(tmp_path / "any.safetensors")
    pairs = held_out_pairs(subject, Wanted(manifest=manifest), CPU)
    u = torch.zeros(1, 2, *pairs[0].fixed.shape[2:])
    assert measure(u, pairs[0])["landmarks"][0] == pytest.approx(1.5)


def test_what_cannot_be_evaluated_is_said_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = fresh_model(*_universal())
    bundle = tmp_path / "any.safetensors"
    save_bundle(bundle, model.network, model.header)
    deep = write_data(tmp_path / "deep", 2, (16, 16, 16))
    out = ["--output", str(tmp_path / "out")]
    for arguments, message in (
        ([str(bundle), *out], "give --data or --plan"),
        ([str(bundle), *out, "--data", str(tmp_path / "no.json")], "does not exist"),
        ([str(bundle), *out, "--data", str(deep)], "choose another model"),
        ([str(tmp_path), *out], "holds no run"),
        ([str(tmp_path / "no.safetensors"), *out], "no.safetensors"),
    ):
        assert main(["evaluate", *arguments]) == 2
        said = capsys.readouterr().err.strip()
        assert message in said
        assert "\n" not in said


def test_two_networks_of_one_name_are_told_apart(tmp_path: Path) -> None:
    model = fresh_model(*_universal())
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        save_bundle(tmp_path / folder / "m.safetensors", model.network, model.header)
    subjects = [subject_of(tmp_path / folder / "m.safetensors") for folder in ("a", "b")]
    assert [s.name for s in named_apart(subjects)] == ["m (1)", "m (2)"]
    with pytest.raises(InputError):
        evaluate(subjects, Wanted(), CPU)
