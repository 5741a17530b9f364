"""The light is green for images that belong together and not for those that do not. Skipped without the real cases."""

import functools

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib import register
from DeepRegistrationLib.geometry.image import Grid, Image, read_image
from DeepRegistrationLib.geometry.transform import resample
from Testing.data import real


def xray(index):
    real("chest_xray")
    return read_image(sorted(real("chest_xray").glob("*.jpg"))[index], "radiograph")


def hippocampus(index):
    return read_image(sorted(real("hippocampus").glob("*_img.nii.gz"))[index], "hippocampus")


def brain(name, spacing=2.5):
    """At ``spacing`` mm, which is as good for a verdict and faster."""
    image = read_image(real("brain_t1", f"{name}_t1.nii.gz"))
    smooth = sitk.SmoothingRecursiveGaussian(sitk.Cast(image.to_sitk(), sitk.sitkFloat32), spacing / 2)
    return resample(read_image(smooth), image.grid.with_spacing(spacing), dtype=np.float32)


def heart():
    return read_image(real("cardiac_mr", "sa_ED.nii.gz"))


def head_ct():
    return read_image(real("ct_mr_slices", "moving_34012.png"))


def slice_of(axis, index, *path):
    """Of a volume, without its header, as 2-D."""
    array = np.take(read_image(real(*path)).array, index, axis).squeeze().astype(np.float32)
    return Image(np.ascontiguousarray(array), Grid.from_shape(array.shape))


def flipped(image, axis):
    return Image(np.ascontiguousarray(np.flip(image.array, axis)), image.grid)


def moved_onto(image, other):
    """The image, its middle on that of another."""
    matrix = image.grid.matrix.copy()
    matrix[:-1, -1] += other.grid.center - image.grid.center
    return Image(image.array, Grid(image.grid.shape, matrix))


def light(fixed, moving):
    return register(fixed, moving, device="cpu").report.judge()


GOOD = {
    "chests of two people": lambda: (xray(0), xray(1)),
    "chests that differ much": lambda: (xray(2), xray(3)),
    "hippocampi of two people": lambda: (hippocampus(1), hippocampus(2)),
    "a heart at two phases": lambda: (heart(), read_image(real("cardiac_mr", "sa_ES.nii.gz"))),
    "brain slices": lambda: tuple(
        read_image(real("brain_slices", f"OASIS-TRT-20-{i}_slice118.nii.gz")) for i in (1, 2)
    ),
    "CT and MR of one head": lambda: (read_image(real("ct_mr_slices", "fixed_34012.png")), head_ct()),
}
WRONG = {
    "a chest upside down": lambda: (xray(0), flipped(xray(1), 0)),
    "a chest and a head": lambda: (xray(2), moved_onto(head_ct(), xray(2))),
    "a hippocampus upside down": lambda: (hippocampus(0), flipped(hippocampus(1), 0)),
    "a hippocampus and a heart": lambda: (hippocampus(0), moved_onto(heart(), hippocampus(0))),
    "a heart and a head": lambda: (
        slice_of(0, 5, "cardiac_acdc", "acdc007", "ED.nii.gz"),
        slice_of(2, 60, "brain_t1", "OAS1_0001_t1.nii.gz"),
    ),
    "CT and MR, one upside down": lambda: (GOOD["CT and MR of one head"]()[0], flipped(head_ct(), 0)),
}


@functools.cache
def report_of(name):
    return register(*GOOD[name](), device="cpu").report


def some_slow(names, *slow):
    """Two or three of a kind are enough in a hurry; the larger images are the dear ones."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in slow else name for name in names]


@pytest.mark.parametrize("name", some_slow(GOOD, "a heart at two phases", "chests of two people"))
def test_the_light_is_green_for(name):
    assert report_of(name).judge()[0] == "good"


@pytest.mark.parametrize("name", some_slow(GOOD, "a heart at two phases", "chests of two people"))
def test_points_are_found_nearer_than_with_the_affine_alone(name):
    report = report_of(name)
    assert 0 < report.points_error_mm < report.affine_points_error_mm


@pytest.mark.parametrize(
    "name", some_slow(WRONG, "a chest and a head", "a hippocampus and a heart", "CT and MR, one upside down")
)
def test_the_light_is_not_green_for(name):
    verdict, reasons = light(*WRONG[name]())
    assert verdict != "good"
    assert any("check" in reason or "look" in reason for reason in reasons)  # it says what to do


@pytest.mark.slow
def test_the_light_is_not_green_for_a_brain_and_little_more_than_half_of_one():
    half = brain("OAS1_0002")
    array = np.round(half.array)  # zero around, too: what is cut is no padding, which would be seen
    array[:, int(0.55 * array.shape[1]) :] = 0
    verdict, reasons = light(brain("OAS1_0001"), Image(array, half.grid))
    assert verdict == "check"
    assert any("meets nothing in the moving image" in reason for reason in reasons)


@pytest.mark.slow
def test_the_light_is_green_for_brains_of_two_people():
    assert light(brain("OAS1_0001"), brain("OAS1_0002"))[0] == "good"


@pytest.mark.slow
@pytest.mark.parametrize("axis", [0, 1])
def test_the_light_is_not_green_for_a_brain_in_a_wrong_orientation(axis):
    assert light(brain("OAS1_0001"), flipped(brain("OAS1_0002"), axis))[0] != "good"


@pytest.mark.slow
def test_the_light_is_not_green_for_a_brain_and_a_heart():
    assert light(brain("OAS1_0001"), moved_onto(heart(), brain("OAS1_0001")))[0] != "good"
