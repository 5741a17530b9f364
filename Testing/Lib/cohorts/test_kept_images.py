import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.cohorts.finished import files_behind, signature
from DeepRegistrationLib.cohorts.kept_images import KeptImages
from DeepRegistrationLib.errors import InputError


def written(path, value, side=4):
    sitk.WriteImage(sitk.GetImageFromArray(np.full((side,) * 3, value, np.float32)), str(path))
    return str(path), "fixed image", signature(files_behind(path))


def test_an_image_is_read_once_until_its_file_changes(tmp_path):
    kept = KeptImages()
    asked = written(tmp_path / "a.nrrd", 1.0)
    first = kept.of(*asked)
    assert kept.of(*asked) is first
    other = kept.of(*written(tmp_path / "a.nrrd", 2.0))
    assert first.array.max() == 1
    assert other.array.max() == 2
    assert kept.of(asked[0], "moving image", asked[2]).name == "moving image"
    with pytest.raises(ValueError, match="read-only"):
        other.array[0] = 3


def test_no_more_is_kept_than_allowed_and_what_was_asked_for_last_stays(tmp_path):
    kept = KeptImages(most=2 * 4 * 4**3)
    asked = [written(tmp_path / f"{k}.nrrd", k) for k in range(3)]
    images = [kept.of(*a) for a in asked[:2]]
    assert kept.of(*asked[0]) is images[0]
    kept.of(*asked[2])
    assert kept.of(*asked[0]) is images[0]
    assert kept.of(*asked[1]) is not images[1]
    large = written(tmp_path / "large.nrrd", 1, side=8)
    assert kept.of(*large) is not kept.of(*large)


def test_a_file_that_is_gone_is_said(tmp_path):
    with pytest.raises(InputError, match=r"fixed image .* does not exist"):
        KeptImages().of(str(tmp_path / "none.nrrd"), "fixed image", [])
