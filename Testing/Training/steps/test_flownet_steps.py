"""FlowNet's steps as printed: the overlap of the masks that the network finds, and the ROI network's own rate."""

from __future__ import annotations

from dataclasses import replace

import torch

from Training.runs.run import Run
from Training.runs.train import source_of
from Training.steps.turns import REGISTRATION, Context

from ..small_runs import tiny_plan

CPU = torch.device("cpu")


def run_of(variant: str, preset: str, **options: float) -> Run:
    plan = tiny_plan(
        "flownet-roi", 10, 1, variant=variant, preset=preset, network={"width": 0.02}, options=options,
        synthesis={"shape": [64, 64]},
    )  # fmt: skip
    return Run(plan, source_of(plan, CPU), CPU)


def test_the_overlap_term_is_of_the_masks_that_the_network_finds() -> None:
    run = run_of("pmn-mask", "modern", roi_share=0.0)
    (turn,) = run.steps.turns(0.5)
    batch = run.fetch(0)
    assert batch.fixed_labels is not None
    other = replace(batch, fixed_labels=torch.zeros_like(batch.fixed_labels))
    terms = [turn.loss(Context({REGISTRATION: run.registration}), one) for one in (batch, other)]
    assert torch.equal(terms[0]["overlap"], terms[1]["overlap"])  # label maps do not enter it
    assert not torch.equal(terms[0]["region"], terms[1]["region"])
    run.registration.zero_grad()
    terms[0]["overlap"].backward()
    assert any(p.grad is not None for n, p in run.registration.named_parameters() if n.startswith("hnn."))


def test_the_supervised_baseline_slows_the_roi_network_after_four_of_ten_epochs() -> None:
    run = run_of("supervised-mask", "paper-supervised")
    assert run.plan.optimizer.learning_rate == 1e-4
    assert run.plan.optimizer.epochs == 10
    (optimizer,) = run.optimizers.values()
    rates = []
    for step in range(6):
        run.update(run.fetch(step))
        rates.append([group["lr"] for group in optimizer.param_groups])
    assert rates[3] == [1e-4, 1e-4]
    assert rates[4] == [1e-4, 1e-4 * 1e-3]
    held = {n: p.detach().clone() for n, p in run.registration.named_parameters()}
    run.update(run.fetch(6))
    moved = {n: float((p - held[n]).abs().max()) for n, p in run.registration.named_parameters()}
    assert max(v for n, v in moved.items() if n.startswith("hnn.")) < 2e-6
    assert max(v for n, v in moved.items() if not n.startswith("hnn.")) > 2e-5
