"""Fine-tuning on one pair, for every method: it helps, it stops, and it leaves no trace in the network."""

import pytest
import torch

from DeepRegistrationLib.errors import Cancelled, RegistrationFailed
from DeepRegistrationLib.fields import warp
from DeepRegistrationLib.models.bundle import weights_hash
from DeepRegistrationLib.models.fine_tuning import FineTuneSettings, fine_tune
from DeepRegistrationLib.networks import NETWORKS as ALL_NETWORKS
from DeepRegistrationLib.networks import (
    DeformGAN,
    DIRNet,
    DualBranch,
    FlowNetROI,
    MonoBranch,
    SARNet,
    UniversalNetwork,
    VoxelMorph,
)
from DeepRegistrationLib.progress import CancelToken, Reporter
from DeepRegistrationLib.similarity.measures import mse


def pair(ndim=2, size=32):
    torch.manual_seed(0)
    axes = torch.meshgrid(*[torch.linspace(-1, 1, size)] * ndim, indexing="ij")
    radius = torch.stack(axes).square().sum(0)
    fixed = torch.exp(-4 * radius)[None, None]
    return fixed, fixed.roll(2, 2)


def cost(fixed, moving):
    return lambda prediction: mse(warp(moving, prediction.displacement), fixed)


NETWORKS = (
    lambda: VoxelMorph(2, 1),
    lambda: DualBranch(2),
    lambda: MonoBranch(2),
    lambda: DeformGAN(2),
    lambda: SARNet(2, blocks=2, width=8),
    lambda: DIRNet(2),
    lambda: FlowNetROI(2, roi=True, width=0.0625),
    lambda: UniversalNetwork(2),
)


def test_every_network_is_among_those_tested():
    assert {type(make()) for make in NETWORKS} == set(ALL_NETWORKS)


@pytest.mark.parametrize("make", NETWORKS)
def test_every_method_can_be_fitted_to_a_pair_and_is_afterwards_as_it_was(make):
    torch.manual_seed(1)
    fixed, moving = pair()
    network = make()
    before, mode = weights_hash(network), network.training
    first = fine_tune(network, fixed, moving, cost(fixed, moving))
    second = fine_tune(network, fixed, moving, cost(fixed, moving))
    assert weights_hash(network) == before
    assert network.training is mode
    assert all(p.requires_grad and p.grad is None for p in network.parameters())
    assert first.costs == second.costs
    assert torch.equal(first.prediction.displacement, second.prediction.displacement)
    assert 11 <= len(first.costs) <= 31
    assert min(first.costs) < first.costs[0]
    assert not first.prediction.displacement.requires_grad
    torch.testing.assert_close(cost(fixed, moving)(first.prediction).item(), min(first.costs))


def test_batch_statistics_do_not_move_even_in_a_network_that_was_training():
    fixed, moving = pair()
    network = SARNet(2, blocks=1, width=4).train()
    before = weights_hash(network)
    fine_tune(network, fixed, moving, cost(fixed, moving), FineTuneSettings(2, 3))
    assert weights_hash(network) == before
    assert network.training


def test_a_step_that_overshoots_is_taken_back():
    fixed, moving = pair()
    torch.manual_seed(1)
    fitted = fine_tune(VoxelMorph(2, 1), fixed, moving, cost(fixed, moving), FineTuneSettings(learning_rate=100.0))
    assert min(fitted.costs) < 0.9 * fitted.costs[0]


def test_it_stops_when_the_cost_has_settled():
    fixed, _ = pair()
    network = SARNet(2, blocks=1, width=4)
    still = fine_tune(network, fixed, fixed, lambda p: p.displacement.mean() * 0 + 1)
    assert len(still.costs) == 11
    falling = (0.9**step for step in range(100))
    moving_on = fine_tune(network, fixed, fixed, lambda p: p.displacement.mean() * 0 + next(falling))
    assert len(moving_on.costs) == 31


def test_a_cancelled_fit_leaves_no_trace_either():
    fixed, moving = pair()
    network, token = SARNet(2, blocks=1, width=4), CancelToken()
    before = weights_hash(network)

    def loss(prediction):
        token.cancel()
        return cost(fixed, moving)(prediction)

    with pytest.raises(Cancelled):
        fine_tune(network, fixed, moving, loss, reporter=Reporter(cancel=token))
    assert weights_hash(network) == before
    assert all(p.requires_grad for p in network.parameters())


def test_a_cost_that_is_not_a_number_is_one_sentence():
    fixed, moving = pair()
    with pytest.raises(RegistrationFailed, match="not a number"):
        fine_tune(SARNet(2, blocks=1, width=4), fixed, moving, lambda p: p.displacement.mean() * float("nan"))
