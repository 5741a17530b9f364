"""SAR-Net's step: what a plan may weigh."""

from pathlib import Path

import pytest
import torch

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.models.bundle import load_model
from Testing.Training.small_runs import tiny_plan
from Training.runs import checkpoint
from Training.runs.export import export
from Training.runs.loop import train
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


def test_an_older_checkpoint_with_its_unused_masks_is_not_gone_on_from_and_can_be_exported(tmp_path: Path) -> None:
    plan, cpu = tiny_plan("sar-net", 1, 2, network={"blocks": 2, "width": 8}), torch.device("cpu")
    state = train(plan, source_of(plan, cpu), tmp_path, cpu, tensorboard=False, quiet=True).state()
    state["networks"]["registration"]["mask_weights"] = torch.zeros(2, 2, 8)
    checkpoint.write_checkpoint(tmp_path / checkpoint.NAME, state)
    with pytest.raises(InputError, match=r"older version of its network \(it holds mask_weights\)") as caught:
        train(plan, source_of(plan, cpu), tmp_path, cpu, tensorboard=False, quiet=True)
    assert "\n" not in str(caught.value)
    export(plan, tmp_path, tmp_path / "old.safetensors", last=True)
    kept = load_model(tmp_path / "old.safetensors").network.state_dict()
    assert "mask_weights" not in kept
    torch.testing.assert_close(
        kept["enter.weight"], state["networks"]["registration"]["enter.weight"], rtol=1e-3, atol=1e-4
    )
