"""The mark that says "linear" is in every transform file that is written, and changes nothing that matters."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.files.linear_mark import is_marked, mark
from DeepRegistrationLib.geometry.transform import Transform, parts_of
from Testing.Lib.fields.test_fields import smooth_field
from Testing.Lib.geometry.geometries import GRIDS

RNG = np.random.default_rng(4)


def test_the_mark_changes_nothing_that_matters():
    array = RNG.normal(size=(5, 6, 7, 3)).astype(np.float32)
    array[0, 0, 0] = (1234.5678, -1e-3, 0.0)
    marked = array.copy()
    mark(marked)
    assert np.allclose(marked, array, rtol=3e-6, atol=1e-29)
    assert (marked != array).any(-1).sum() <= 8
    assert is_marked(marked)
    assert is_marked(marked.astype(np.float64) * [-1, -1, 1])
    assert not is_marked(array)
    again = marked.copy()
    mark(again)
    assert np.array_equal(again, marked)


@pytest.mark.parametrize("shape", [(5, 6, 2), (1, 6, 7, 3)])
def test_other_fields_stay_as_they_are(shape):
    array = RNG.normal(size=shape).astype(np.float32)
    same = array.copy()
    mark(same)
    assert np.array_equal(same, array)
    assert not is_marked(same)


@pytest.mark.parametrize("ending", [".h5", ".tfm", ".nrrd", ".nii.gz", ".mha"])
@pytest.mark.parametrize("has_affine", [False, True])
def test_every_written_field_has_it_and_maps_as_before(tmp_path, ending, has_affine):
    grid = next(grid for grid in GRIDS.values() if grid.ndim == 3)
    matrix = np.eye(4)
    matrix[:3, 3] = (3, -2, 1)
    transform = Transform.from_field(smooth_field(grid.shape, 2.0), grid, matrix if has_affine else None)
    before = transform.displacement()
    path = tmp_path / f"t{ending}"
    transform.save(path)
    if ending in (".h5", ".tfm"):
        read = sitk.ReadTransform(str(path))
        fields = [p.GetDisplacementField() for p in parts_of(read) if isinstance(p, sitk.DisplacementFieldTransform)]
    else:
        fields = [sitk.ReadImage(str(path), sitk.sitkVectorFloat64)]
        read = sitk.DisplacementFieldTransform(sitk.Image(fields[0]))
    assert [is_marked(sitk.GetArrayFromImage(field)) for field in fields] == [True]
    points = [grid.to_world(RNG.random(3) * (np.array(grid.shape) - 1)[None])[0] for _ in range(50)]
    for point in points:
        if ending in (".h5", ".tfm"):
            assert np.allclose(read.TransformPoint(point.tolist()), transform.TransformPoint(point.tolist()), atol=1e-5)
    assert np.array_equal(before, transform.displacement())  # what is in memory is not touched
