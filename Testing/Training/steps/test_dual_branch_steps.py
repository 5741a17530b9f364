"""The dual branch's step: the paper's loss alone, and what a plan may teach by the known answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.models.bundle import load_model
from DeepRegistrationLib.models.header import BOX
from DeepRegistrationLib.networks import Prediction
from Training.pairs.batch import Batch
from Training.plan import read_plan
from Training.runs.run import Run
from Training.runs.train import source_of
from Training.steps import steps_of
from Training.steps.dual_branch import known_error, taught
from Training.steps.turns import REGISTRATION, Context, Terms

from ..small_runs import tiny_plan, write_data

CPU = torch.device("cpu")
PAPER = {"image", "smoothness", "gradient", "gradient smoothness"}
TAUGHT = {"common", "gradient common", "known", "gradient known"}


def run_of(variant: str = "gated", **options: float) -> Run:
    plan = tiny_plan("dual-branch", 10, 2, variant=variant, options=options)
    return Run(plan, source_of(plan, CPU), CPU)


def terms_of(run: Run, progress: float, batch: Batch | None = None) -> Terms:
    torch.manual_seed(0)
    (turn,) = run.steps.turns(progress)
    return turn.loss(Context({REGISTRATION: run.registration}, progress), batch or run.fetch(0))


def test_without_options_the_loss_is_the_papers_alone_and_asks_for_images_alone() -> None:
    run = run_of()
    assert not run.steps.needs
    assert set(terms_of(run, 0.0)) == PAPER
    bare = replace(run.fetch(0), fixed_labels=None, moving_labels=None, displacement=None, weight=None)
    for name, value in terms_of(run, 0.0, bare).items():
        assert float(value.detach()) == float(terms_of(run, 0.0)[name].detach()), name


def test_the_known_answer_teaches_all_along_and_the_papers_loss_joins_it() -> None:
    run = run_of(common=1.0, known=0.1, paper_from=0.5)
    assert run.steps.needs == {"labels", "displacement"}
    assert set(terms_of(run, 0.4)) == TAUGHT | {"smoothness", "gradient smoothness"}
    assert set(terms_of(run, 0.5)) == TAUGHT | PAPER
    assert set(terms_of(run_of("vm", common=1.0), 0.0)) == {"common", "image", "smoothness"}


def test_the_gradient_branch_learns_first_and_alone() -> None:
    run = run_of(common=1.0, known=0.1, gradient_first=0.5)
    before = {name: value.clone() for name, value in run.registration.state_dict().items()}
    for step in range(6):
        run.update(run.fetch(step))
        changed = {n.split(".")[0] for n, v in run.registration.state_dict().items() if not torch.equal(v, before[n])}
        assert changed == ({"gradient_branch"} if step < 5 else {"gradient_branch", "image_branch", "fusion"})


def test_the_right_field_is_the_one_that_the_known_answer_asks_for() -> None:
    batch = run_of().fetch(0)
    assert batch.displacement is not None
    options = {"common": 1.0, "known": 1.0}

    def cost(u: torch.Tensor) -> dict[str, float]:
        torch.manual_seed(0)
        return {name: float(value) for name, value in taught(Prediction(u), batch, options).items()}

    right, still = cost(batch.displacement), cost(torch.zeros_like(batch.displacement))
    beyond = cost(2 * batch.displacement)
    for name in ("common", "known"):
        assert right[name] < min(still[name], beyond[name]), name
    assert float(known_error(batch.displacement, batch)) < 0.02  # the root's own least


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"common": -1.0}, "options.common is a weight from 0 on"),
        ({"common": 1.0, "paper_from": 1.5}, "options.paper_from is a share of the run"),
        ({"gradient_first": 0.5}, "Until options.gradient_first nothing would be compared"),
        ({"seen": 1.0}, "options.seen is not a setting here"),
    ],
)
def test_what_a_plan_cannot_ask_for_is_said(options: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        steps_of(tiny_plan("dual-branch", options=options), 2)
    assert "\n" not in str(caught.value)


def test_one_branch_and_images_without_an_answer_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leave out gradient_first"):
        run_of("vm", common=1.0, gradient_first=0.5)
    data: dict[str, Any] = {"manifest": str(write_data(tmp_path / "toy")), "shape": [32, 32]}
    plan = tiny_plan("dual-branch", data=data, options={"known": 1.0})
    real = replace(plan, synthesis=None)
    with pytest.raises(InputError, match="learns from known fields"):
        Run(real, source_of(real, CPU), CPU)


def test_both_branches_may_begin_as_the_voxelmorph_in_the_box() -> None:
    plan = read_plan("box-dual-branch-gated-3d", {"synthesis": {"shape": [16, 16, 16]}})
    run = Run(plan, source_of(plan, CPU), CPU)
    fresh = {name: value.clone() for name, value in run.registration.state_dict().items()}
    run.start_from(BOX / "voxelmorph-2.safetensors")
    given = load_model(BOX / "voxelmorph-2.safetensors").network.state_dict()
    weights = run.registration.state_dict()
    for branch in ("image_branch", "gradient_branch"):
        for part in ("encoder.0", "decoder.2"):
            torch.testing.assert_close(
                weights[f"{branch}.{part}.convolution.weight"], given[f"unet.{part}.convolution.weight"].float()
            )
        torch.testing.assert_close(weights[f"{branch}.flow.weight"], given["unet.flow.weight"].float())
        wider = f"{branch}.last_up.convolution.weight"  # of another width: stays as drawn
        assert torch.equal(weights[wider], fresh[wider])
    assert run.before[0]["steps"] > 0
