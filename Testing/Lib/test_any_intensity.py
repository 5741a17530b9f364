"""The whole road on images whose padding, background or size of intensities is unusual: the verdict is the plain one.

At 6 mm and without the affine stage, as that must neither know nor change the intensities; with it in the slow suite.
"""

import functools

import numpy as np
import pytest

from DeepRegistrationLib import register
from DeepRegistrationLib.geometry.image import Image
from DeepRegistrationLib.geometry.transform import Transform, resample
from DeepRegistrationLib.phantom.demo_pair import head_phantom
from Testing.Lib.test_pipeline import bump

SHAPE = (30, 38, 32)
ROUND = sum(axis**2 for axis in np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")[1:]) < 1
BOX = np.zeros(SHAPE, bool)
BOX[2:-2, 3:-3, 2:-2] = True


@functools.cache
def pair():
    """A head, a deformed one, both with noise."""
    head = head_phantom(SHAPE, 6.0)[1]
    moved = resample(head, head.grid, Transform.from_field(-bump(SHAPE, 1.5), head.grid))
    noise = np.random.default_rng(0).normal(0, 5, (2, *SHAPE))
    return tuple(Image((x.array + n).astype(np.float64), head.grid) for x, n in zip((head, moved), noise, strict=True))


def ct(array):
    return (array * 1.5 - 1000).round().clip(-1024, 3000)


def padded(where):
    return lambda array: np.where(where, ct(array), -3024.0)


CASES = {
    "CT": (ct, ct),
    "CT, both padded around": (padded(ROUND), padded(ROUND)),
    "CT, fixed padded around": (padded(ROUND), ct),
    "CT, moving padded as a box": (ct, padded(BOX)),
    "+5000": (lambda x: x + 5000,) * 2,
    "+32768": (lambda x: x + 32768,) * 2,
    "1e-12": (lambda x: x * 1e-15,) * 2,
    "1e300": (lambda x: x * 1e297,) * 2,
}
QUICK = ("CT, both padded around",)


@functools.cache
def found(name, affine):
    """Where the content goes, mm, and the report."""
    images = pair()
    changes = CASES.get(name, (lambda x: x,) * 2)
    fixed, moving = (Image(change(x.array), x.grid) for change, x in zip(changes, images, strict=True))
    result = register(fixed, moving, affine=affine, device="cpu")
    where = np.argwhere((images[0].array > 200) & ROUND & BOX)[::23].astype(float)
    return result.transform.map_points(images[0].grid.to_world(where)), result.report


def check(name, affine):
    (places, report), (plain, _) = found(name, affine), found("plain", affine)
    assert report.judge()[0] == "good", report.judge()
    assert np.linalg.norm(places - plain, axis=1).mean() < 0.3 * 6
    assert report.doubt_percent < 10


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in CASES])
def test_the_verdict_is_that_of_the_plain_pair(name):
    check(name, "none")


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_verdict_is_that_of_the_plain_pair_with_the_affine_stage(name):
    check(name, "auto")


def test_a_coarse_copy_of_an_image_is_good():
    image = pair()[0]
    copy = resample(image, image.grid.with_spacing(np.full(3, 15.0)))
    assert register(image, copy, affine="none", device="cpu").report.judge()[0] == "good"
