"""Plans: everything wrong is said in one sentence before anything is computed."""

from dataclasses import replace
from pathlib import Path

import pytest

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.models.header import BOX, read_header
from Testing.Training.small_runs import tiny_plan
from Training.plan import PLANS, plan_again, plan_of, read_plan
from Training.steps import steps_of

SYNTHESIS = {"shape": [32, 32]}


@pytest.mark.usefixtures("weightless")
@pytest.mark.parametrize("path", sorted(PLANS.glob("*.toml")), ids=lambda p: p.stem)
def test_every_plan_that_comes_along_can_be_read_and_its_networks_built(path: Path) -> None:
    plan = read_plan(path)
    shape = plan.synthesis.shape if plan.synthesis else (plan.data.shape if plan.data else None)
    assert shape
    if plan.options.get("perceptual"):  # asks for a model that need not be in the box
        plan = replace(plan, options={**plan.options, "perceptual": ""})
    assert steps_of(plan, len(shape)).networks


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "names no method"),
        ({"method": "voxelmorph-3"}, "no method voxelmorph-3"),
        ({"method": "none", "synthesis": SYNTHESIS}, "no network"),
        ({"method": "universal"}, "neither"),
        ({"method": "universal", "synthesis": SYNTHESIS, "epochs": 3}, "plan.epochs is not a setting"),
        ({"method": "universal", "synthesis": SYNTHESIS, "schedule": {"step": 3}}, "schedule.step is not a setting"),
        ({"method": "universal", "synthesis": SYNTHESIS, "schedule": {"steps": "many"}}, "schedule.steps cannot be"),
        ({"method": "universal", "synthesis": SYNTHESIS, "schedule": {"steps": 0}}, "at least 1"),
        ({"method": "universal", "synthesis": SYNTHESIS, "schedule": {"precision": "half"}}, "schedule.precision"),
        ({"method": "universal", "synthesis": SYNTHESIS, "optimizer": {"rate": 1.0}}, "optimizer.rate"),
        ({"method": "universal", "synthesis": SYNTHESIS, "seed": -1}, "seed must be"),
        ({"method": "universal", "synthesis": SYNTHESIS, "variant": "x"}, "no variant x"),
        ({"method": "universal", "synthesis": SYNTHESIS, "preset": "x"}, "no preset x"),
        ({"method": "universal", "synthesis": {"shapes": [3]}}, "synthesis.shapes"),
        ({"method": "universal", "synthesis": 4}, "must be a table"),
        ({"method": "voxelmorph-1", "data": {}}, "needs manifest"),
        ({"method": "voxelmorph-1", "data": {"manifest": "a.json", "pairing": "all"}}, "data.pairing"),
        ({"method": "voxelmorph-1", "data": {"manifest": "a.json", "pairing": "atlas"}}, "data.atlas"),
        (
            {"method": "voxelmorph-1", "data": {"manifest": "a.json", "normalization": {"hi": 1}}},
            "data.normalization.hi",
        ),
        ({"method": "universal", "synthesis": {"shape": [32, 32], "families": {"given": 1.0}}}, "label maps of"),
        ({"method": "universal", "synthesis": SYNTHESIS, "schedule": {"batch": "four"}}, "batch cannot be 'four'"),
        ({"method": "universal", "synthesis": SYNTHESIS, "schedule": {"clip": -1}}, "clip must not be negative"),
        ({"method": "universal", "synthesis": SYNTHESIS, "optimizer": {"learning_rate": 0}}, "must be above 0"),
        ({"method": "universal", "synthesis": {"shape": "32 x 32"}}, "a list of whole numbers"),
        ({"method": "universal", "synthesis": {**SYNTHESIS, "modalities": 1.5}}, "modalities cannot be 1.5"),
        ({"method": "universal", "data": {"manifest": "d.json", "shape": [32, 0]}}, "shape needs numbers above 0"),
        ({"method": "universal", "data": {"manifest": "d.json", "longest": True}}, "longest cannot be True"),
    ],
)
def test_a_plan_that_cannot_be_used_is_refused_in_one_sentence(table: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        plan_of(table)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"loss": {"dise": 1.0}}, "loss.dise is not a setting"),
        ({"options": {"share": 1.0}}, "options.share is not a setting"),
        ({"network": {"width": 3}}, "network.width is not a setting"),
    ],
)
def test_settings_that_the_method_does_not_know_are_refused(tables: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        steps_of(tiny_plan(**tables), 2)  # type: ignore[arg-type]


def test_the_papers_values_come_from_the_preset_and_the_plan_changes_some() -> None:
    plan = plan_of({"method": "voxelmorph-2", "preset": "paper", "variant": "mse", "synthesis": SYNTHESIS})
    assert plan.optimizer.learning_rate == 1e-4
    assert plan.loss["similarity"] == "mse"
    assert plan.loss["weight"] == 0.01
    changed = plan_of({"method": "voxelmorph-2", "optimizer": {"learning_rate": 1}, "synthesis": SYNTHESIS})
    assert changed.optimizer.learning_rate == 1.0
    assert changed.optimizer.eps == plan.optimizer.eps


def test_the_hash_tells_plans_apart_but_not_where_they_lie() -> None:
    one, same, other = tiny_plan(folder=Path("a")), tiny_plan(folder=Path("b")), tiny_plan(seed=1)
    assert one.hash() == same.hash()
    assert one.hash() != other.hash()


def test_a_missing_plan_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="universal-smoke"):
        read_plan(tmp_path / "no.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("method = ", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read"):
        read_plan(broken)


@pytest.mark.parametrize("name", ["universal", "deform-gan-1-paper", "flownet-xray", "dual-branch-phantom"])
def test_a_plan_comes_back_from_its_description(name: str) -> None:
    plan = read_plan(name)
    assert plan_again(plan.describe()).hash() == plan.hash()


def test_the_plans_of_earlier_bundles_and_files_are_the_same_plans_still() -> None:
    """By their hashes: of the models in the box as they were trained, and of a TOML file at that time."""
    bundles = sorted(BOX.glob("*.safetensors"))
    assert bundles
    for path in bundles:
        training = read_header(path).training
        assert plan_again(training["plan"]).hash() == training["plan_sha256"], path.name
    given = {
        "method": "dual-branch",
        "variant": "gated",
        "synthesis": {"shape": [32, 32, 32], "families": {"head": 1.0}, "orient": 0.0},
        "optimizer": {"learning_rate": 1e-3},
        "schedule": {"steps": 40, "batch": 1, "validate_every": 20, "validation_pairs": 4, "checkpoint_every": 10},
    }
    given["schedule"] |= {"log_every": 5, "pictures_every": 40}
    assert plan_of(given).hash() == "04726491036f5918abd8a09bea1e06ecbec0b8aa84320f0859e8852c5acfc10c"


def test_settings_that_came_later_do_not_change_the_hash_of_plans_without_them() -> None:
    description = tiny_plan().describe()
    assert "modalities" not in description["synthesis"]
    assert tiny_plan(synthesis={"modalities": 3}).describe()["synthesis"]["modalities"] == 3
    assert tiny_plan(synthesis={"modalities": 3}).hash() != tiny_plan().hash()
