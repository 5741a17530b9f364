"""The small picture: a PNG that others read, with the planes where they belong."""

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.geometry.image import Grid, Image
from DeepRegistrationLib.quality.thumbnail import TILE, png, thumbnail_png


def test_pixels_are_read_back(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    (tmp_path / "x.png").write_bytes(png(pixels))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "x.png"))), pixels)


@pytest.mark.parametrize("shape", [(30, 20, 10), (40, 25), (1, 30, 20)])
def test_before_after_and_checkerboard_in_every_plane(tmp_path, shape):
    grid = Grid(shape, np.eye(len(shape) + 1))
    fixed = np.zeros(shape, np.float32)
    fixed[tuple(slice(s // 4, s - s // 4) for s in shape)] = 1.0
    empty = Image(np.zeros(shape, np.float32), grid, "moving image")
    path = tmp_path / "x.png"
    path.write_bytes(thumbnail_png(Image(fixed, grid, "fixed image"), empty, Image(fixed, grid, "warped")))
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    planes = 3 if min(shape) > 1 and len(shape) == 3 else 1
    assert found.shape == (3 * TILE, planes * TILE, 3)
    middle = found[TILE // 2 :: TILE, TILE // 2]
    np.testing.assert_array_equal(middle[0], [255, 0, 255])  # before: the fixed image alone
    np.testing.assert_array_equal(middle[1], [255, 255, 255])  # after: both
    assert found[2 * TILE :].std() > 0
