"""TG-132's figures against computations that share nothing with ours: loops over voxels, maps with known answers."""

import itertools
import math

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.geometry.transform import affine_to_sitk
from DeepRegistrationLib.quality import tg132
from DeepRegistrationLib.quality.record import Record
from DeepRegistrationLib.quality.report_page import page_html
from Testing.Lib.geometry.geometries import oblique

GRID = oblique((12, 14, 16), (1.5, 1.0, 2.0), (20, -10, 30))


def by_name(figures):
    return {figure.name: figure for figure in figures}


def blob(center, radius):
    index = np.indices(GRID.shape)
    return sum(((index[a] - center[a]) * GRID.spacing[a]) ** 2 for a in range(3)) <= radius**2


def surface(mask):
    """(n, 3) mm of the voxels with a face neighbor outside."""
    found = []
    for voxel in np.argwhere(mask):
        for axis, step in itertools.product(range(3), (-1, 1)):
            other = voxel.copy()
            other[axis] += step
            if not (0 <= other[axis] < mask.shape[axis]) or not mask[tuple(other)]:
                found.append(voxel * GRID.spacing)
                break
    return np.array(found)


def nearest(one, other):
    return np.array([min(math.dist(a, b) for b in other) for a in one])


def test_structures_are_as_counted_voxel_by_voxel():
    a, b = blob((5, 6, 7), 5), blob((6, 7, 7), 4.5)
    fixed, moving = (Image(mask.astype(np.uint8) * 3, GRID) for mask in (a, b))
    figures, each = tg132.measure(sitk.Transform(3, sitk.sitkIdentity), tg132.Known(structures=[(fixed, moving)]))
    there, back = nearest(surface(a), surface(b)), nearest(surface(b), surface(a))
    expected = {
        "dice": 2 * (a & b).sum() / (a.sum() + b.sum()),
        "mean_distance_to_agreement_mm": (there.mean() + back.mean()) / 2,
        "hausdorff95_mm": max(np.percentile(there, 95), np.percentile(back, 95)),
    }
    size = np.prod(GRID.spacing) / 1000
    expected |= {"moving_volume_ml": b.sum() * size, "moved_volume_ml": b.sum() * size, "volume_change_percent": 0}
    assert set(each) == {"3"}
    assert each["3"] == pytest.approx(expected, abs=1e-5)
    found = by_name(figures)
    assert found["Dice, worst structure"].value == pytest.approx(expected["dice"])
    assert found["Mean distance to agreement, worst structure"].value == pytest.approx(
        expected["mean_distance_to_agreement_mm"], abs=1e-5
    )
    assert found["Hausdorff distance (95 %), worst structure"].within is None


def test_a_structures_volume_is_told_as_it_lies_and_as_it_is_moved():
    """Fixed and moving on grids of their own; the moved one is 1.25 times as large along each axis."""
    moving = Image(blob((5, 7, 7), 4.5).astype(np.uint8), GRID)
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3) / 1.25
    matrix[:3, 3] = GRID.to_world(np.array((5, 7, 7))) * (1 - 1 / 1.25)
    fine = GRID.with_spacing(0.5)
    fixed = Image(np.zeros(fine.shape, np.uint8), fine)
    each = tg132.measure(affine_to_sitk(matrix), tg132.Known(structures=[(fixed, moving)]))[1]["1"]
    assert each["moving_volume_ml"] == pytest.approx(blob((5, 7, 7), 4.5).sum() * np.prod(GRID.spacing) / 1000)
    assert each["moved_volume_ml"] == pytest.approx(1.25**3 * each["moving_volume_ml"], rel=0.03)
    assert each["volume_change_percent"] == pytest.approx(95.3, abs=5)
    assert set(tg132.HEADS) == set(each)


def test_how_a_volume_changes_is_not_told_where_the_fixed_image_cuts_it_off():
    """A structure of which the fixed image has a half, one all inside that touches its edge, and one beyond it."""
    labels = np.zeros(GRID.shape, np.uint8)
    labels[2:4, 6:10, 2:6] = 1
    labels[2:4, 2:8, 8:10] = 2
    labels[7:9, 10:12, 2:4] = 3
    fixed = Grid((GRID.shape[0], 8, GRID.shape[2]), GRID.matrix)
    known = tg132.Known(structures=[(Image(np.zeros(fixed.shape, np.uint8), fixed), Image(labels, GRID))])
    figures, each = tg132.measure(affine_to_sitk(np.eye(4)), known)
    voxel = np.prod(GRID.spacing) / 1000
    assert [each[k]["moved_volume_ml"] for k in "123"] == pytest.approx([16 * voxel, 24 * voxel, 0])
    assert [each[k]["volume_change_percent"] for k in "123"] == pytest.approx([math.nan, 0, math.nan], nan_ok=True)
    page = page_html("t", "good", [], None, "", Record(figures=figures, structures=each))
    assert ">nan<" not in page


def test_landmarks_are_measured_where_the_transform_puts_them():
    matrix = np.eye(4)
    matrix[:3, 3] = (3, -4, 12)
    fixed = np.array([[1.0, 2, 3], [5, 5, 5], [0, 0, 0]])
    moving = fixed + np.array([3.0, -4, 12]) + np.array([[0, 0, 0], [0, 0.5, 0], [1.5, 2, 0]])
    known = tg132.Known(fixed=GRID, points=(fixed, moving))
    found = by_name(tg132.measure(affine_to_sitk(matrix), known)[0])
    mean, largest = (found[f"Target registration error, {word}"] for word in ("mean", "largest"))
    assert (mean.value, largest.value) == pytest.approx((1.0, 2.5))
    assert (mean.within, largest.within) == (True, False)  # voxels of up to 2 mm
    assert "here 2 mm" in mean.tolerance


def test_volume_change_is_that_of_the_whole_map_in_space():
    """A squeeze along one axis of the patient, and a field whose volume change is counted by loops over voxels."""
    found = by_name(tg132.field_figures(affine_to_sitk(np.diag([0.5, 1.5, -1.2, 1.0])), GRID))
    assert found["Jacobian determinant, smallest"].value == pytest.approx(-0.9, abs=1e-4)
    assert found["Jacobian determinant below 0"].value == 100
    assert found["Jacobian determinant, smallest"].within is False

    rng = np.random.default_rng(5)
    field = sitk.GetImageFromArray(rng.normal(0, 1.2, (*GRID.shape, 3)), isVector=True)
    field.CopyInformation(GRID.to_sitk(np.zeros(GRID.shape, np.uint8)))
    vectors = sitk.GetArrayFromImage(field)
    moved = GRID.to_world(np.moveaxis(np.indices(GRID.shape), 0, -1)) + vectors
    expected = []
    for voxel in np.ndindex(*GRID.shape):
        steps = []
        for axis in range(3):  # central differences, one-sided at the border
            low, high = list(voxel), list(voxel)
            low[axis], high[axis] = max(0, voxel[axis] - 1), min(GRID.shape[axis] - 1, voxel[axis] + 1)
            steps.append((moved[tuple(high)] - moved[tuple(low)]) / (high[axis] - low[axis]))
        expected.append(np.linalg.det(np.array(steps).T) / np.linalg.det(GRID.matrix[:3, :3]))
    found = by_name(tg132.field_figures(sitk.DisplacementFieldTransform(field), GRID))
    assert found["Jacobian determinant, smallest"].value == pytest.approx(min(expected), abs=1e-3)
    assert found["Jacobian determinant, largest"].value == pytest.approx(max(expected), abs=1e-3)
    share = 100 * np.mean([[e < 0, e > 2] for e in expected], axis=0)
    assert found["Jacobian determinant below 0"].value == pytest.approx(share[0], abs=0.1)
    assert found["Jacobian determinant above 2"].value == pytest.approx(share[1], abs=0.1)
    assert share[0] > 1
    assert share[1] > 1


def test_there_and_back_is_followed_inside_the_moving_image_only():
    shift, back = np.eye(4), np.eye(4)
    shift[:3, 3], back[:3, 3] = (2, 0, 0), (-2, 0.3, 0.4)
    transform, inverse = affine_to_sitk(shift), affine_to_sitk(back)
    found = by_name(tg132.consistency_figures(transform, inverse, GRID, GRID, 2.0))
    assert [f.value for f in found.values()] == pytest.approx([0.5, 0.5], abs=1e-5)
    away = affine_to_sitk(np.block([[np.eye(3), np.full((3, 1), 1e4)], [np.zeros((1, 3)), np.ones((1, 1))]]))
    assert all(math.isnan(f.value) for f in tg132.consistency_figures(away, inverse, GRID, GRID, 2.0))
    assert all(f.within is None for f in tg132.consistency_figures(transform, None, GRID, GRID, 2.0))


@pytest.mark.parametrize(("spacing", "limit"), [((1.0, 1.0, 1.2), 1.2), ((6.0, 1.0, 1.0), 3.0), ((2.5, 0.5, 0.5), 2.5)])
def test_the_tolerance_is_the_largest_voxel_side_up_to_what_the_report_has_in_mind(spacing, limit):
    assert tg132.voxel_limit(GRID, oblique((4, 4, 4), spacing)) == pytest.approx(max(limit, 2.0))


def test_what_was_not_measured_is_neither_within_nor_outside():
    figures, each = tg132.measure(sitk.Transform(3, sitk.sitkIdentity), tg132.Known())
    assert each == {}
    assert len(figures) == 6
    assert {tg132.in_words(f) for f in figures} == {"not measured"}


def test_points_of_another_dimension_are_one_sentence():
    with pytest.raises(InputError):
        tg132.measure(sitk.Transform(3, sitk.sitkIdentity), tg132.Known(points=(np.zeros((2, 2)), np.zeros((2, 2)))))
