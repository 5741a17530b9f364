"""Figures by which a registration is judged, beside MONAI's, brute force, and cases whose answer is known."""

import math

import numpy as np
import pytest
import torch
from monai.metrics import compute_average_surface_distance, compute_dice, compute_hausdorff_distance

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.fields import invert, smooth
from DeepRegistrationLib.geometry.image import Grid
from DeepRegistrationLib.quality import metrics
from DeepRegistrationLib.quality.measurements import measure_field
from DeepRegistrationLib.quality.report import Report
from DeepRegistrationLib.quality.surfaces import boundary, surface_distances


def ball(shape, center, radius):
    grid = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    return sum((g - c) ** 2 for g, c in zip(grid, center, strict=True)) <= radius**2


def two_maps(ndim):
    shape = (40, 36) if ndim == 2 else (22, 26, 24)
    maps = []
    for move in (0, 2):
        labels = np.zeros(shape, dtype=np.uint8)
        labels[ball(shape, [n / 2 + move for n in shape], 6)] = 1
        labels[ball(shape, [n / 4 for n in shape], 4 + move / 2)] = 5
        maps.append(labels)
    return maps


def one_hot(labels, values):
    return torch.from_numpy(np.stack([labels == v for v in values])[None].astype(np.float32))


SPACINGS = {2: (0.7, 1.9), 3: (2.5, 0.8, 1.2)}


@pytest.mark.parametrize("ndim", [2, 3])
def test_dice_and_jaccard_equal_monai_and_each_other(ndim):
    a, b = two_maps(ndim)
    ours = metrics.dice(a, b)
    theirs = compute_dice(one_hot(b, [1, 5]), one_hot(a, [1, 5]))[0]
    assert list(ours) == [1, 5]
    np.testing.assert_allclose(list(ours.values()), theirs.numpy(), rtol=1e-6)
    for label, value in metrics.jaccard(a, b).items():
        assert value == pytest.approx(ours[label] / (2 - ours[label]))
    assert metrics.mean(ours) == pytest.approx(theirs.mean().item())


def test_dice_takes_tensors_floats_and_chosen_labels():
    a, b = two_maps(3)
    tensors = [torch.from_numpy(x.astype(np.float32))[None, None] for x in (a, b)]
    assert metrics.dice(*tensors, labels=[5]) == {5: metrics.dice(a, b)[5]}


def test_a_lost_label_scores_zero_and_an_absent_one_nothing():
    a, b = two_maps(2)
    lost = np.where(b == 5, 0, b)
    scores = metrics.dice(a, lost, labels=[1, 5, 9])
    assert scores[5] == 0
    assert math.isnan(scores[9])
    assert metrics.mean(scores) == pytest.approx((scores[1] + 0) / 2)
    assert math.isnan(metrics.label_surfaces(a, lost)[5].hausdorff95)
    assert math.isnan(metrics.mean({}))


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("anisotropic", [False, True])
def test_surface_distances_equal_monai(ndim, anisotropic):
    a, b = two_maps(ndim)
    spacing = SPACINGS[ndim] if anisotropic else 1.0
    fixed, warped = one_hot(a, [1, 5]), one_hot(b, [1, 5])
    common = {"include_background": True, "spacing": spacing if anisotropic else None}
    hd95 = compute_hausdorff_distance(warped, fixed, percentile=95, **common)[0]
    asd = compute_average_surface_distance(warped, fixed, symmetric=True, **common)[0]
    one_way = [
        compute_average_surface_distance(x, y, symmetric=False, **common)[0]
        for x, y in ((warped, fixed), (fixed, warped))
    ]
    found = metrics.label_surfaces(a, b, spacing).values()
    np.testing.assert_allclose([s.hausdorff95 for s in found], hd95.numpy(), rtol=1e-5)
    np.testing.assert_allclose([s.average for s in found], asd.numpy(), rtol=1e-5)
    np.testing.assert_allclose([s.mean_absolute for s in found], sum(one_way).numpy() / 2, rtol=1e-5)


@pytest.mark.parametrize("shape", [(13, 11), (7, 9, 8), (1, 12, 10)])
def test_surface_distances_equal_brute_force_on_ragged_masks(shape):
    rng = np.random.default_rng(2)
    a, b = rng.random(shape) < 0.4, rng.random(shape) < 0.6
    spacing = np.array([1.7, 0.6, 1.1][: len(shape)])

    def edge_points(mask):
        padded = np.pad(mask, 1)
        points = []
        for p in np.argwhere(padded):
            around = [p + s * e for e in np.eye(len(shape), dtype=int) for s in (-1, 1)]
            if not all(padded[tuple(q)] for q in around):
                points.append((p - 1) * spacing)
        return np.array(points)

    one, other = edge_points(a), edge_points(b)
    table = np.linalg.norm(one[:, None] - other[None], axis=2)
    ours = surface_distances(a, b, spacing)
    assert len(one) == boundary(a).sum()
    np.testing.assert_allclose(ours.to_warped, table.min(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.to_fixed, table.min(0), rtol=1e-5, atol=1e-6)


def test_equal_maps_have_no_distance_and_a_shift_has_its_length_in_mm():
    a = np.zeros((30, 40), dtype=np.uint8)
    a[10:20, 10:20] = 1
    assert metrics.label_surfaces(a, a)[1].hausdorff95 == 0
    moved = np.roll(a, 12, axis=1)
    # Farther away than it is wide: the outer edge looks at the near one.
    assert metrics.label_surfaces(a, moved, (1.0, 0.5))[1].hausdorff95 == pytest.approx(6.0)


def test_landmark_errors_are_lengths_in_mm():
    a = np.array([[0, 0, 0], [1, 2, 3.0]])
    assert metrics.landmark_errors(a, a + np.array([3, 0, 4])).tolist() == [5, 5]
    assert metrics.landmark_errors(a, a + np.array([1, 0, 0]), spacing=(2.5, 1, 1)).tolist() == [2.5, 2.5]
    with pytest.raises(InputError, match="pairs"):
        metrics.landmark_errors(a, a[:1])


def test_rmse_is_in_percent_of_the_reference_range():
    a = np.zeros((4, 5))
    a[0, 0] = 200
    assert metrics.rmse_percent(a, a + 10) == pytest.approx(5)
    assert metrics.rmse_percent(a, a + 10, data_range=100) == pytest.approx(10)
    mask = np.zeros((4, 5))
    mask[1:] = 1
    b = a.copy()
    b[0] += 50
    assert metrics.rmse_percent(a, b, mask) == 0
    with pytest.raises(InputError, match="one value"):
        metrics.rmse_percent(a * 0, a)


def scaling(shape, factor):
    """The field of p -> factor * p: determinant factor ** ndim everywhere."""
    grid = torch.stack(torch.meshgrid(*[torch.arange(n, dtype=torch.float32) for n in shape], indexing="ij"))
    return ((factor - 1) * grid)[None]


@pytest.mark.parametrize("shape", [(16, 18), (12, 13, 14)])
def test_a_mirrored_field_folds_everywhere_and_a_scaled_one_nowhere(shape):
    scaled, mirrored = scaling(shape, 0.5), scaling(shape, 1.0)
    mirrored[:, 0] = scaling(shape, -1.0)[:, 0]
    assert metrics.folding_percent(scaled) == 0
    assert metrics.folding_percent(mirrored) == 100
    assert metrics.log_jacobian_sd(scaled) == pytest.approx(0, abs=1e-6)


def test_folds_are_counted_inside_the_mask_only():
    u = torch.zeros(1, 2, 10, 20)
    # -2 voxels a voxel along the second axis from column 10 on.
    u[:, 1, :, 10:] = -2 * torch.arange(10.0)
    mask = np.zeros((10, 20))
    mask[:, :8] = 1
    assert metrics.folding_percent(u) > 40
    assert metrics.folding_percent(u, mask) == 0
    assert metrics.folding_percent(u.numpy()[0], torch.from_numpy(mask)) == 0
    assert math.isnan(metrics.folding_percent(u, mask * 0))
    with pytest.raises(InputError, match="grid"):
        metrics.folding_percent(u, mask[:, :5])
    with pytest.raises(InputError, match="field"):
        metrics.folding_percent(torch.zeros(1, 3, 10, 20))


def test_the_learn2reg_figure_is_blind_to_folds_where_ours_is_not():
    generator = torch.Generator().manual_seed(0)
    u = 4 * smooth(torch.randn(1, 3, 20, 20, 20, generator=generator), 1.0)
    assert metrics.folding_percent(u) > 1
    inner = u.numpy()[0].astype(np.float64)
    jacobian = np.stack([np.stack(np.gradient(inner[c])) for c in range(3)]) + np.eye(3).reshape(3, 3, 1, 1, 1)
    det = np.linalg.det(jacobian.transpose(2, 3, 4, 0, 1))
    assert metrics.log_jacobian_sd(u) == pytest.approx(np.log(det.clip(1e-9)).std(), rel=1e-4)
    assert metrics.folds_and_spread(u) == (metrics.folding_percent(u), metrics.log_jacobian_sd(u))
    expected = np.log((det[2:-2, 2:-2, 2:-2] + 3).clip(1e-9, 1e9)).std()
    assert metrics.learn2reg_sdlogj(u) == pytest.approx(expected, rel=1e-4)
    assert metrics.learn2reg_sdlogj(u) < metrics.log_jacobian_sd(u) / 3


def test_the_inverse_error_is_in_mm_and_small_for_a_good_inverse():
    def measured(u, inverse, spacing):
        report, grid = Report("", "fast", "none", "cpu", ""), Grid.from_shape(tuple(u.shape[2:]), spacing)
        measure_field(report, u, inverse, grid, torch.ones(1, 1, *grid.shape, dtype=torch.bool))
        return report.inverse_error_mm

    u = smooth(torch.randn(1, 3, 20, 22, 24, generator=torch.Generator().manual_seed(1)), 3.0) * 5
    assert measured(u, invert(u), (1, 1, 2)) < 0.02
    # No inverse at all leaves the displacement itself.
    shift = torch.zeros(1, 2, 8, 9)
    shift[:, 1] = 1.0
    assert measured(shift, shift * 0, (1.0, 2.5)) == pytest.approx(2.5)


def test_maps_that_are_no_label_maps_are_refused():
    a, b = two_maps(2)
    with pytest.raises(InputError, match="nearest"):
        metrics.dice(a + 0.5, b)
    with pytest.raises(InputError, match="one 2-D or 3-D grid"):
        metrics.dice(a, b[:-1])
    with pytest.raises(InputError, match="between 0"):
        metrics.dice(a.astype(np.int32) - 1, b)
    with pytest.raises(InputError, match="spacing"):
        metrics.label_surfaces(a, b, spacing=(1, 2, 3))
