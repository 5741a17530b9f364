"""SAR-Net's step: what a plan may weigh."""

import pytest
import torch

from Testing.Training.small_runs import tiny_plan
from Training.runs.train import source_of
from Training.steps import steps_of
from Training.steps.turns import Context


def test_the_adversary_has_the_weight_that_the_plan_gives_it() -> None:
    found = []
    for options in ({}, {"adversary": 0.25}):
        plan = tiny_plan("sar-net", network={"blocks": 2, "width": 8}, options=options)
        steps = steps_of(plan, 2)
        turn = steps.turns(0.0)[-1]
        torch.manual_seed(0)
        found.append(turn.loss(Context(steps.networks), source_of(plan, torch.device("cpu")).batch([0, 1], 1.0)))
    whole, quarter = found
    for name in whole:
        weight = 0.25 if name.endswith("adversary") else 1.0
        assert float(quarter[name].detach()) == pytest.approx(weight * float(whole[name].detach()), rel=1e-4), name
