"""How far a run is: never less than was said before, whatever is done again."""

import numpy as np

from DeepRegistrationLib import register
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.progress import Reporter


def test_no_part_takes_the_whole_back():
    said = []
    reporter = Reporter(lambda stage, fraction, message: said.append((stage, fraction, message)))
    first, again = reporter.stage("refine", 0.2, 0.8), reporter.stage("refine", 0.3, 0.3)
    first(0.5, "level 1")
    again(1.0, "once more")
    again.stage("network", 0.0, 1.0)(0.5, "looks")
    first(1.0, "level 2")
    assert [fraction for _, fraction, _ in said] == [0.5, 0.5, 0.5, 0.8]
    assert [message for *_, message in said] == ["level 1", "once more", "looks", "level 2"]
    fresh = []
    Reporter(lambda _stage, fraction, _message: fresh.append(fraction))(0.1)
    assert fresh == [0.1]


def test_a_registration_that_asks_a_rival_goes_on_forward():
    """A 2-D pair went from 0.79 back to 0.28 when the network was asked."""
    random = np.random.default_rng(0)
    grid = Grid.from_shape((64, 64))
    blocks = np.kron(random.random((8, 8)), np.ones((8, 8))).astype(np.float32)
    moved = np.roll(blocks, (3, -2), (0, 1))
    said = []
    register(
        Image(blocks, grid),
        Image(moved, grid),
        affine="none",
        device="cpu",
        progress=lambda _stage, fraction, message: said.append((fraction, message)),
    )
    assert any("the network universal-2d looks" in message for _, message in said)
    fractions = [fraction for fraction, _ in said]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
