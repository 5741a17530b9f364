"""Displacements as the challenge's evaluation reads them, by a reading of our own: nibabel and scipy alone."""

from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from scipy.ndimage import map_coordinates

from DeepRegistrationLib.cohorts.learn2reg import save_displacement, submission_name
from DeepRegistrationLib.geometry.image import read_image


def test_the_evaluation_warps_the_moving_image_as_the_transform_does(tmp_path):
    rng = np.random.default_rng(0)
    turn = sitk.Euler3DTransform([9, -8, 7], 0.3, -0.2, 0.5)
    images = []
    for name, spacing, origin in (("fixed", (1.1, 0.9, 1.4), (-3, 2, 5)), ("moving", (1.3, 1.0, 0.8), (-5, 3, 4))):
        voxels = rng.normal(size=(12, 14, 16)).astype(np.float32)
        image = sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(voxels), 1.5)
        image.SetSpacing(spacing)
        image.SetOrigin(origin)
        image.SetDirection(turn.GetMatrix())
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
        images.append(image)
    grid = sitk.Image([6, 6, 6], sitk.sitkVectorFloat64, 3)
    grid.SetSpacing((4.0, 4.0, 4.0))
    grid.SetOrigin((-12, -6, -4))
    field = sitk.GetImageFromArray(rng.normal(0, 0.6, (6, 6, 6, 3)), isVector=True)
    field.CopyInformation(grid)
    transform = sitk.DisplacementFieldTransform(field)
    fixed, moving = (read_image(tmp_path / f"{name}.nii.gz") for name in ("fixed", "moving"))
    save_displacement(transform, fixed, moving, tmp_path / "disp.nii.gz")

    disp = nib.load(tmp_path / "disp.nii.gz").get_fdata()
    other = nib.load(tmp_path / "moving.nii.gz").get_fdata()
    assert disp.shape == (*nib.load(tmp_path / "fixed.nii.gz").shape, 3)
    identity = np.stack(np.meshgrid(*(np.arange(n) for n in disp.shape[:3]), indexing="ij"))
    places = identity + disp.transpose(3, 0, 1, 2)
    warped = map_coordinates(other, places, order=1)
    expected = sitk.GetArrayFromImage(sitk.Resample(images[1], images[0], transform)).transpose()
    inside = np.all((places >= 0) & (places <= np.array(other.shape)[:, None, None, None] - 1), axis=0)
    assert inside.mean() > 0.2
    np.testing.assert_allclose(warped[inside], expected[inside], atol=1e-4)


def test_names_of_a_submission():
    assert submission_name(Path("OASIS_0001_0000.nii.gz"), Path("OASIS_0002_0000.nii.gz")) == "disp_0001_0002.nii.gz"
    assert submission_name(Path("a_0003.nii"), Path("b_0004.nii")) == "disp_0003_0004.nii.gz"
    assert submission_name(Path("a.nii"), Path("b_0004.nii")) is None
