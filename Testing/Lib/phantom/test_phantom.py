"""The generated head pair: what it promises about its true transform."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from DeepRegistrationLib import fields
from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.phantom.demo_pair import DemoPair, demo_pair, head_phantom
from DeepRegistrationLib.phantom.head import BRAIN_LABELS, LABELS


@pytest.fixture(scope="module")
def pair() -> DemoPair:
    return demo_pair(seed=3, shape=(96, 120, 96), spacing=2.0)


def test_the_moving_labels_carried_by_the_true_transform_fit_the_fixed_labels(pair: DemoPair) -> None:
    field = pair.fixed.grid.to_sitk(pair.true_displacement.astype(np.float64), vector=True)
    transform = sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
    reference = pair.fixed_labels.to_sitk()
    warped = sitk.GetArrayFromImage(
        sitk.Resample(pair.moving_labels.to_sitk(), reference, transform, sitk.sitkNearestNeighbor, 0)
    )
    fixed = pair.fixed_labels.array

    def dice(ids: tuple[int, ...]) -> float:
        a, b = np.isin(fixed, ids), np.isin(warped, ids)
        return 2 * (a & b).sum() / (a.sum() + b.sum())

    # In slices of 4 mm thin structures cannot agree better than their voxels.
    assert dice(tuple(LABELS)) > 0.98
    assert dice(BRAIN_LABELS) > 0.88
    assert dice((4, 43)) > 0.8
    assert dice((10, 49)) > 0.85


def test_landmarks_are_moved_by_the_true_transform(pair: DemoPair) -> None:
    index = torch.from_numpy(pair.fixed.grid.to_index(pair.fixed_points).T.astype(np.float32))
    field = torch.from_numpy(np.moveaxis(pair.true_displacement, -1, 0))
    moved = pair.fixed_points + fields.sample(field[None], index[None, :, :, None, None])[0, :, :, 0, 0].numpy().T
    assert np.abs(moved - pair.moving_points).max() < 0.1
    assert np.linalg.norm(pair.fixed_points - pair.moving_points, axis=1).mean() > 3


def test_the_true_transform_is_large_smooth_and_has_no_folds(pair: DemoPair) -> None:
    step = pair.fixed.grid.spacing
    mm = np.moveaxis(pair.true_displacement, -1, 0)[::-1].copy()  # the grid is axis-aligned: array order is z, y, x
    u = torch.from_numpy(mm / step[:, None, None, None].astype(np.float32))[None]
    determinant = fields.jacobian_determinant(u)
    assert determinant.min() > 0.2
    assert determinant.max() < 4
    assert np.linalg.norm(pair.true_displacement, axis=-1).max() > 10


def test_both_images_show_every_structure_in_another_contrast(pair: DemoPair) -> None:
    assert set(np.unique(pair.fixed_labels.array)) == {0, *LABELS}
    assert set(np.unique(pair.moving_labels.array)) <= {0, *LABELS}
    t1 = [pair.fixed.array[np.isin(pair.fixed_labels.array, ids)].mean() for ids in ((4, 43), (3, 42), (2, 41))]
    t2 = [pair.moving.array[np.isin(pair.moving_labels.array, ids)].mean() for ids in ((4, 43), (3, 42), (2, 41))]
    assert t1 == sorted(t1)
    assert t2 == sorted(t2, reverse=True)


def test_the_same_seed_gives_the_same_pair_and_another_seed_another() -> None:
    one, again, other = (demo_pair(seed, (16, 20, 16), 12.0) for seed in (0, 0, 1))
    assert np.array_equal(one.moving.array, again.moving.array)
    assert np.array_equal(one.true_displacement, again.true_displacement)
    assert not np.array_equal(one.fixed_labels.array, other.fixed_labels.array)


def test_a_head_alone_can_be_painted_in_both_contrasts() -> None:
    labels, t1, t2 = head_phantom((32, 40, 32), 6.0)
    assert labels.array.dtype == np.uint8
    assert labels.grid.same_as(t1.grid)
    assert t1.array.shape == t2.array.shape == (32, 40, 32)


def test_a_plane_is_refused_in_one_sentence() -> None:
    with pytest.raises(InputError, match="3-D shape"):
        head_phantom((32, 40), 6.0)  # type: ignore[arg-type]
