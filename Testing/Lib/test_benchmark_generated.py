"""The generated kinds that no setting was chosen on: that their truth is right, and the same for the same seed."""

from argparse import ArgumentParser
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch

from benchmarks.robustness import generated
from benchmarks.robustness.cases import Case
from benchmarks.robustness.generated import KINDS, SEEDS
from benchmarks.robustness.generated.aorta import aorta
from benchmarks.robustness.generated.fundus import fundus
from benchmarks.robustness.generated.knee import _Bend, _Knee
from benchmarks.robustness.generated.motion import Chain, Flow, elastic, lattice, pose
from benchmarks.robustness.generated.oct import optical
from benchmarks.robustness.generated.pelvis import _Pelvis
from benchmarks.robustness.generated.shapes import axes_of, centered, ellipsoid, tube
from benchmarks.robustness.generated.thorax import Breath, Thorax
from benchmarks.robustness.measure import _wanted, add_robustness, affine_of
from benchmarks.robustness.page import write
from benchmarks.robustness.unseen import harmed
from DeepRegistrationLib import fields
from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import Grid, Image


def there_and_back(motion, points):
    """mm that each point moves, and that it misses after the way back."""
    there = motion.forward(points)
    return (there - points).norm(dim=0), (motion.backward(there) - points).norm(dim=0)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_motion_and_its_inverse_cancel(ndim):
    random = np.random.default_rng(0)
    grid = centered((24, 28, 32)[:ndim], 5.0)
    motion = Chain(Flow(grid, elastic(grid, random, 12.0, 20.0)), pose(random, ndim, 5.0, 4.0))
    moved, missed = there_and_back(motion, lattice(centered((16, 18, 20)[:ndim], 4.0)))
    assert float(moved.max()) > 6
    assert float(missed.max()) < 0.15
    assert float(missed.mean()) < 0.02


def test_bladder_and_rectum_change_and_bones_stay():
    random = np.random.default_rng(1)
    pelvis = _Pelvis(random)
    points = lattice(centered((24, 32, 32), 7.0))
    moved, missed = there_and_back(pelvis.flow(random), points)
    bones = np.min([bone.distance(points.numpy()) for bone, _ in pelvis.bones], 0)
    assert float(moved[pelvis.bladder.distance(points.numpy()) < 3].max()) > 5
    assert float(moved[bones < 0].max()) < 0.3
    assert float(missed.max()) < 0.4


def test_lungs_slide_along_ribs_that_stay():
    thorax = Thorax(np.random.default_rng(2))
    breath = Breath(thorax, 30.0)
    points = lattice(centered((40, 30, 40), 6.0))
    moved, missed = there_and_back(breath, points)
    inside = thorax.cavity().distance(points.numpy())
    assert float(moved[inside > 1].max()) == 0
    assert 25 < float(moved[inside < -1].max()) < 34
    deep = inside < -1
    there = breath.forward(points).numpy()
    assert np.all(thorax.cavity().distance(there)[deep] < 0.1)  # what slides stays in the cavity
    assert float(missed[deep].max()) < 0.05


def test_a_knee_bends_as_rigid_bones():
    one = _Knee(np.random.default_rng(3))
    bend = _Bend(one, np.radians(20.0))
    points = lattice(centered((40, 36, 4), 4.0))
    moved, missed = there_and_back(bend, points)
    assert float(missed.max()) < 0.1
    _, y, z = points.numpy()
    shaft, femur = (np.abs(y - 4) < 10) & (z < -30), (np.abs(y) < 10) & (z > 40)
    assert float(moved[femur].max()) == 0
    low = points[:, shaft]
    there = bend.forward(points)[:, shaft]
    np.testing.assert_allclose(torch.pdist(low.T[::9]), torch.pdist(there.T[::9]), atol=0.01)
    assert float(moved[shaft].min()) > 8


def test_distances_are_in_mm():
    axes = axes_of(centered((41, 41, 41), 1.0))
    inside = ellipsoid((1, 2, 3), (10, 10, 10)).distance(axes) < 0
    assert inside.sum() == pytest.approx(4 / 3 * np.pi * 10**3, rel=0.02)
    pipe = tube([(-10, 0, 0), (10, 0, 0)], 4.0).distance(axes)
    assert pipe[20, 20 + 9, 20] == pytest.approx(5.0)
    assert pipe[20, 20, 20 + 16] == pytest.approx(2.0)


def likeness(made, share):
    """Correlation of the fixed image and the moving one where ``share`` of the truth says, over the body."""
    points = np.moveaxis(lattice(made.fixed.grid).numpy(), 0, -1) + share * made.truth
    index = np.moveaxis(made.moving.grid.to_index(points), -1, 0).astype(np.float32)
    moving = torch.from_numpy(made.moving.array)[None, None]
    warped = fields.sample(moving, torch.from_numpy(index)[None])[0, 0].numpy()
    return np.corrcoef(made.fixed.array[made.body], warped[made.body])[0, 1]


@pytest.mark.parametrize(
    ("kind", "least"),
    [(optical, 0.3), (fundus, 0.6), (partial(aorta, coarser=2.0), 0.8)],
    ids=["OCT", "retina", "aorta"],
)
def test_moved_by_the_truth_a_kind_fits_and_not_otherwise(kind, least):
    made = kind(7)
    assert made.fixed.array.dtype == made.moving.array.dtype == np.float32
    assert made.truth.shape == (*made.fixed.grid.shape, made.fixed.ndim)
    assert 0.02 < made.body.mean() < 0.9
    assert likeness(made, 1.0) > least
    assert likeness(made, 1.0) > likeness(made, 0.7) + 0.05


def test_a_seed_is_the_same_pair_and_another_is_another():
    one, same, other = (optical(seed, (120, 150)) for seed in (7, 7, 8))
    np.testing.assert_array_equal(one.moving.array, same.moving.array)
    np.testing.assert_array_equal(one.truth, same.truth)
    assert not np.array_equal(one.fixed.array, other.fixed.array)


def wanted(*arguments):
    parser = ArgumentParser()
    add_robustness(parser.add_subparsers())
    return [key.split(" | ") for key, _ in _wanted(parser.parse_args(["robustness", *arguments]))]


def test_these_kinds_are_measured_as_they_are_only_and_no_draw_of_old_changes(tmp_path):
    found = Counter((kind, change) for kind, _, change in wanted(str(tmp_path)) if kind in KINDS)
    assert found == {(kind, "as it is 0"): len(SEEDS) for kind in KINDS}
    assert not any(kind in KINDS for kind, *_ in wanted(str(tmp_path), "--cases", "20"))
    assert {kind for kind, *_ in wanted(str(tmp_path), "--cases", "2", "--kinds", "generated OCT")} == {"generated OCT"}


def test_without_a_data_folder_the_generated_kinds_are_measured_and_a_wrong_one_is_a_sentence(tmp_path):
    assert {kind for kind, *_ in wanted()} == {"generated head", *KINDS}
    with pytest.raises(InputError, match="There is no folder"):
        wanted(str(tmp_path / "nowhere"))


def test_the_affine_stage_runs_where_a_pose_is_to_be_found(monkeypatch):
    image = Image(np.zeros((8, 8), np.float32), Grid.from_shape((8, 8)))
    still = {"truth": np.zeros((8, 8, 2)), "body": np.ones((8, 8), bool)}
    monkeypatch.setattr("DeepRegistrationLib.affine.align.align", lambda *_: "aligned")
    assert affine_of(Case("any", "one", "as it is", image, image, **still, posed=True)) == "aligned"
    np.testing.assert_array_equal(affine_of(Case("any", "one", "as it is", image, image, **still)), np.eye(3))
    assert all(kind.startswith("generated ") for kind in generated.KINDS)


def record(case, kind, method, affine, after, **more):
    scores = {"before": {"mm": 9.0}, "affine": {"mm": affine}, "after": {"mm": after}, "voxel_mm": 0.005}
    return {"case": case, "kind": kind, "name": case, "change": "as it is", "method": method, **scores, **more}


def test_the_page_shows_them_apart(tmp_path):
    records = [
        record("1000", "generated head", "ours, fast", 4.0, 1.0, verdict="good", chosen="lncc"),
        record("2000", "generated OCT", "ours, fast", 0.020, 0.010, verdict="check", chosen="lncc"),
        record("2000", "generated OCT", "greedy, NCC", 0.020, 0.024),
    ]
    assert not harmed(records[1])
    assert harmed(records[2])  # by more than half a pixel, though by less than 0.3 mm
    write(records, tmp_path, "one core")
    page = (tmp_path / "robustness.md").read_text(encoding="utf-8")
    assert "| OCT | 2000 | 9 | 0.02 | 0.01 (0.50) | 0.024 (1.20) ! | check |" in page
    assert page.count("generated OCT") == 0
    assert "Machine: one core. 1 cases." in page
    assert "| all | mm | ours, fast | 1 | 4.000 | 1.000 |" in page
