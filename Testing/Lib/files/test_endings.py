"""A name is refused before the work if nothing can be written there, and is written if it is not refused."""

import re

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.files.endings import check_ending, image_endings, transform_endings
from DeepRegistrationLib.geometry.image import Grid, Image, read_image
from DeepRegistrationLib.geometry.transform import Transform, read_transform

LETTERS = (str.lower, str.upper, str.title)


def is_refused(name, endings):
    try:
        check_ending(name, endings, "It")
    except InputError as error:
        lower = re.search(r"in small letters only; name it (.+)\.$", str(error)).group(1)
        assert lower.lower() == name.lower()
        check_ending(lower, endings, "It")
        return True
    return False


@pytest.mark.parametrize("letters", LETTERS)
@pytest.mark.parametrize("ending", image_endings(flat=True))
def test_an_image_in_letters_of_any_size(tmp_path, ending, letters):
    path = tmp_path / f"A{letters(ending)}"
    image = Image(np.arange(72, dtype=np.uint8).reshape(8, 9), Grid.from_shape((8, 9)))
    if is_refused(path.name, image_endings(flat=True)):
        assert letters is not str.lower
        with pytest.raises(InputError, match="small letters"):
            image.save(path)
        assert not list(tmp_path.iterdir())
        return
    image.save(path)
    assert read_image(path).array.shape == (8, 9)


@pytest.mark.parametrize("letters", LETTERS)
@pytest.mark.parametrize("ending", transform_endings(linear=True))
def test_a_transform_in_letters_of_any_size(tmp_path, ending, letters):
    path = tmp_path / f"A{letters(ending)}"
    transform = Transform(sitk.TranslationTransform(3, (1.0, 2.0, 3.0)), Grid.from_shape((5, 6, 7)))
    if is_refused(path.name, transform_endings(linear=True)):
        assert letters is not str.lower
        with pytest.raises(InputError, match="small letters"):
            transform.save(path)
        assert not list(tmp_path.iterdir())
        return
    transform.save(path)
    assert read_transform(path).TransformPoint((3.0, 2.0, 1.0)) == pytest.approx((4, 4, 4))
