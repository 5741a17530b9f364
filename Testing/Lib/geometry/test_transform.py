import numpy as np
import pytest
import SimpleITK as sitk
import torch

from DeepRegistrationLib import fields
from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.geometry.image import Image
from DeepRegistrationLib.geometry.transform import (
    Transform,
    linear_part,
    lps_to_voxels,
    map_points,
    map_points_inverse,
    read_transform,
    resample,
    voxels_to_lps,
)
from Testing.Lib.fields.test_fields import smooth_field
from Testing.Lib.geometry.geometries import GRIDS

RNG = np.random.default_rng(1)


def affine(ndim):
    """A sizeable affine map in LPS mm."""
    matrix = np.eye(ndim + 1)
    matrix[:ndim, :ndim] += RNG.normal(size=(ndim, ndim)) * 0.08
    matrix[:ndim, ndim] = RNG.normal(size=ndim) * 10
    return matrix


def expected(u, grid, matrix, index):
    """The map written out: interpolate the voxel field, go to mm, apply the affine."""
    column = torch.as_tensor(index.T, dtype=torch.float64).reshape(1, grid.ndim, -1, *[1] * (grid.ndim - 1))
    moved = index + fields.sample(u, column).reshape(grid.ndim, -1).T.numpy()
    return grid.to_world(moved) @ matrix[:-1, :-1].T + matrix[:-1, -1]


@pytest.fixture(params=GRIDS.values(), ids=GRIDS)
def case(request):
    grid = request.param
    u, matrix = smooth_field(grid.shape) + 0.2, affine(grid.ndim)
    index = RNG.uniform(0, 1, (1000, grid.ndim)) * (np.asarray(grid.shape) - 1)
    return grid, u, matrix, index


def test_a_thousand_points_go_where_field_and_affine_send_them(case):
    grid, u, matrix, index = case
    transform = Transform.from_field(u, grid, matrix)
    np.testing.assert_allclose(transform.map_points(grid.to_world(index)), expected(u, grid, matrix, index), atol=1e-4)


@pytest.mark.parametrize("suffix", [".h5", ".tfm", ".nrrd", ".nii.gz", ".mha"])
def test_every_file_reads_back_as_the_same_map(tmp_path, case, suffix):
    grid, u, matrix, index = case
    path = tmp_path / f"transform{suffix}"
    Transform.from_field(u, grid, matrix).save(path)
    loaded = read_transform(path)
    np.testing.assert_allclose(map_points(loaded, grid.to_world(index)), expected(u, grid, matrix, index), atol=1e-4)


def test_the_inverse_takes_points_back(case):
    grid, u, matrix, index = case
    w = fields.invert(u)
    points = grid.to_world(index)
    there = Transform.from_field(u, grid, matrix).map_points(points)
    back = Transform.inverse_of(w, grid, matrix, grid).map_points(there)
    inside = ((index > 3) & (index < np.asarray(grid.shape) - 4)).all(1)
    assert np.linalg.norm(back - points, axis=1)[inside].mean() < 0.05
    numerical = map_points_inverse(Transform.from_field(u, grid, matrix), there[:50])
    np.testing.assert_allclose(numerical, points[:50], atol=2e-3)


def test_without_an_affine_the_file_is_a_plain_displacement_field(tmp_path):
    grid = GRIDS["axis-aligned"]
    Transform.from_field(smooth_field(grid.shape), grid).save(tmp_path / "t.h5")
    sitk.DisplacementFieldTransform(sitk.ReadTransform(str(tmp_path / "t.h5")))


def test_far_outside_only_the_affine_is_left():
    grid, matrix = GRIDS["oblique anisotropic flipped"], affine(3)
    transform = Transform.from_field(torch.full((1, 3, *grid.shape), 2.0), grid, matrix)
    far = np.array([[500.0, -400.0, 300.0]])
    np.testing.assert_allclose(transform.map_points(far), far @ matrix[:3, :3].T + matrix[:3, 3])


def test_the_border_fades_without_a_fold():
    grid = GRIDS["oblique anisotropic flipped"]
    transform = Transform.from_field(torch.full((1, 3, *grid.shape), 4.0), grid)
    u = lps_to_voxels(transform.displacement(), transform.domain)
    assert fields.jacobian_determinant(u).min() > 0
    assert u[:, :, 0].abs().max() < 1e-9


def test_voxels_and_millimeters_convert_both_ways(case):
    grid, u, _, _ = case
    torch.testing.assert_close(lps_to_voxels(voxels_to_lps(u, grid), grid), u.float(), atol=1e-5, rtol=0)


def test_a_warped_image_is_simpleitks_own(case):
    grid, u, matrix, _ = case
    image = Image(RNG.normal(size=grid.shape).astype(np.float32), grid)
    transform = Transform.from_field(u, grid, matrix)
    ours = resample(image, grid, transform, fill=0)
    theirs = sitk.Resample(image.to_sitk(), image.to_sitk(), transform)
    np.testing.assert_array_equal(ours.array, sitk.GetArrayFromImage(theirs))


def test_air_surrounds_a_ct():
    grid = GRIDS["axis-aligned"]
    ct = Image(np.full(grid.shape, -1000, np.int16), grid)
    ct.array[5:9, 5:9, 5:9] = 60
    assert resample(ct, grid.padded(3)).array.min() == resample(ct, grid.padded(3)).array[0, 0, 0] == -1000


def test_the_linear_part_of_a_linear_transform_is_its_matrix():
    matrix = affine(3)
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(matrix[:3, 3].tolist())
    np.testing.assert_allclose(linear_part(transform), matrix, atol=1e-9)
    assert linear_part(Transform.from_field(smooth_field((8, 8, 8)), GRIDS["axis-aligned"].resized((8, 8, 8)))) is None


@pytest.mark.parametrize(
    ("name", "sentence"), [("missing.h5", "does not exist"), ("bad.h5", "could not be read"), ("bad.nrrd", "could not")]
)
def test_a_bad_transform_file_is_one_sentence(tmp_path, name, sentence):
    if name.startswith("bad"):
        (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(InputError, match=sentence):
        read_transform(tmp_path / name)


def test_an_image_is_not_taken_for_a_field(tmp_path):
    Image(np.zeros((5, 5, 5), np.float32), GRIDS["axis-aligned"].resized((5, 5, 5))).save(tmp_path / "image.nrrd")
    with pytest.raises(InputError, match="not a displacement field"):
        read_transform(tmp_path / "image.nrrd")


def test_an_unknown_extension_is_refused(tmp_path):
    grid = GRIDS["axis-aligned"]
    with pytest.raises(InputError, match="use a name ending in"):
        Transform.from_field(torch.zeros(1, 3, *grid.shape), grid).save(tmp_path / "t.xyz")
