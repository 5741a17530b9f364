"""An image that was mirrored by a wrong header is told from one that was not, where the anatomy tells it."""

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib import register
from DeepRegistrationLib.affine.align import align
from DeepRegistrationLib.affine.mirror import measure_mirror
from DeepRegistrationLib.geometry.image import Grid, Image, read_image
from DeepRegistrationLib.quality.report import Report
from DeepRegistrationLib.quality.verdict import MIRROR_CHECK
from Testing.data import real
from Testing.Lib.geometry.geometries import oblique

DIRECTIONS = ("left to right", "front to back", "head to foot")


def body(grid, seed=0, contrast=1.0):
    """Something bright with blobs that are nowhere the mirror image of each other."""
    rng = np.random.default_rng(7)
    index = np.stack(np.meshgrid(*[np.linspace(-1, 1, s) for s in grid.shape], indexing="ij"))
    sides = np.array([1.0, 1.3, 1.6])[: grid.ndim].reshape(-1, *[1] * grid.ndim)  # else it could be turned at will
    picture = 1.0 / (1 + np.exp((np.linalg.norm(index * sides, axis=0) - 0.8) * 25))
    for _ in range(9):
        center = rng.uniform(-0.5, 0.5, grid.ndim).reshape(-1, *[1] * grid.ndim)
        picture += contrast * rng.uniform(-0.6, 0.9) * np.exp(-((index - center) ** 2).sum(0) / rng.uniform(0.01, 0.05))
    noise = np.random.default_rng(seed).normal(size=grid.shape) * 0.01
    return Image((picture + noise).astype(np.float32), grid)


def mirrored(image, axis):
    return Image(np.ascontiguousarray(np.flip(image.array, axis)), image.grid)


GRIDS = {"2-D": Grid.from_shape((70, 90), (1.5, 1.0)), "3-D": oblique((40, 44, 48), (1.2, 1.0, 1.0))}


@pytest.mark.parametrize("name", GRIDS)
def test_an_image_that_is_not_mirrored_raises_no_alarm(name):
    fixed, moving = body(GRIDS[name]), body(GRIDS[name], seed=1)
    found = measure_mirror(fixed, moving, np.eye(fixed.ndim + 1))
    assert 0 < found.gain < 0.95


@pytest.mark.parametrize(
    ("name", "axis"),
    [("2-D", 0), ("2-D", 1), ("3-D", 0), *(pytest.param("3-D", n, marks=pytest.mark.slow) for n in (1, 2))],
)
def test_a_mirrored_image_is_told_with_the_direction_that_the_patient_has(name, axis):
    grid = GRIDS[name]
    fixed, moving = body(grid), mirrored(body(grid, seed=1), axis)
    found = measure_mirror(fixed, moving, align(fixed, moving))
    assert found.gain > MIRROR_CHECK
    if grid.ndim == 3:
        assert found.direction == DIRECTIONS[int(np.abs(grid.directions[:, axis]).argmax())]
    else:
        assert found.direction == ""


def test_other_contrast_is_no_mirror():
    grid = GRIDS["3-D"]
    fixed, moving = body(grid), body(grid, contrast=-1.0)
    assert 0 < measure_mirror(fixed, moving, np.eye(4)).gain < MIRROR_CHECK


def test_what_is_outside_the_mask_is_not_compared():
    grid = GRIDS["2-D"]
    fixed, moving = body(grid), mirrored(body(grid), 1)
    nothing = np.zeros(grid.shape, bool)
    assert measure_mirror(fixed, moving, np.eye(3), fixed_mask=nothing).gain == 0


def test_images_with_nothing_in_common_raise_no_alarm():
    grid = GRIDS["2-D"]
    noise = [Image(np.random.default_rng(s).normal(size=grid.shape).astype(np.float32), grid) for s in (0, 1)]
    assert measure_mirror(*noise, np.eye(3)).gain < MIRROR_CHECK


def test_the_report_says_it_in_words():
    grid = GRIDS["2-D"]
    options = {"refine": "none", "device": "cpu"}
    report = register(body(grid), mirrored(body(grid, seed=1), 1), **options).report
    assert "more alike when the moving one is mirrored: check the orientation" in " ".join(report.judge()[1])
    assert report.judge()[0] != "good"
    assert report.as_dict()["mirror"]["gain"] == report.mirror.gain
    report = register(body(grid), body(grid, seed=1), **options).report
    assert report.judge()[0] == "good"
    # Where the user has brought the images together by a curved transform, nothing is known of the whole.
    assert Report("none", "fast", "given", "cpu", "1.0").mirror.gain == 0


def test_a_half_turn_is_found_and_not_called_mirrored():
    """Prone against supine: the same voxels under a header that is turned."""
    grid = GRIDS["3-D"]
    fixed, moving = body(grid), body(grid, seed=1)
    half = np.diag([-1.0, -1.0, 1.0, 1.0])
    half[:3, 3] = 2 * grid.center - [0, 0, 2 * grid.center[2]]
    turned = Image(moving.array, Grid(grid.shape, half @ grid.matrix))
    result = register(fixed, turned, refine="none", device="cpu")
    points = grid.to_world(np.array([[8, 8, 8], [30, 10, 12], [20, 35, 40], [33, 30, 9]]))
    found = [result.transform.TransformPoint(p) for p in points.tolist()]
    np.testing.assert_allclose(found, points @ half[:3, :3].T + half[:3, 3], atol=1.0)
    assert result.report.judge()[0] == "good"


def radiographs(index):
    files = sorted(real("chest_xray").glob("*.jpg"))
    return [read_image(files[i], "radiograph") for i in (index, index + 1)]


def hearts():
    return [read_image(real("cardiac_mr", f"sa_{phase}.nii.gz")) for phase in ("ED", "ES")]


def gain(fixed, moving):
    return measure_mirror(fixed, moving, align(fixed, moving)).gain


@pytest.mark.parametrize("index", [0, 16, 28])
def test_real_radiographs_are_no_mirror_images(index):
    assert gain(*radiographs(index)) < MIRROR_CHECK


@pytest.mark.parametrize("index", [3, 4])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_real_radiograph_that_is_mirrored_is_told(index, axis):
    fixed, moving = radiographs(index)
    assert gain(fixed, mirrored(moving, axis)) > MIRROR_CHECK


def test_a_real_heart_that_is_mirrored_is_told():
    fixed, moving = hearts()
    assert gain(fixed, moving) < 0.9
    assert gain(fixed, mirrored(moving, 2)) > 1.5


@pytest.mark.slow
def test_brains_are_mirrored_from_left_to_right_without_anybody_knowing():
    """The limit that the tutorial names."""
    images = []
    for name in ("OAS1_0001", "OAS1_0002"):
        image = read_image(real("brain_t1", f"{name}_t1.nii.gz"))
        smooth = sitk.SmoothingRecursiveGaussian(sitk.Cast(image.to_sitk(), sitk.sitkFloat32), 1.5)
        images.append(read_image(sitk.Shrink(smooth, [3, 3, 3])))
    fixed, moving = images
    assert gain(fixed, moving) < MIRROR_CHECK
    for axis in (0, 1):  # front to back, head to foot: a half turn away from left to right, and that is said
        report = register(fixed, mirrored(moving, axis), refine="none", device="cpu").report
        assert "check its orientation, and left from right" in " ".join(report.judge()[1])
    assert gain(fixed, mirrored(moving, 2)) < MIRROR_CHECK
