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


def is_saved(thing, path, endings):
    """Whether it is, or else is refused and nothing is left there."""
    if not is_refused(path.name, endings):
        thing.save(path)
        return True
    with pytest.raises(InputError, match="small letters"):
        thing.save(path)
    assert not list(path.parent.iterdir())
    return False


@pytest.mark.parametrize("letters", LETTERS)
@pytest.mark.parametrize("ending", image_endings(flat=True))
def test_an_image_in_letters_of_any_size(tmp_path, ending, letters):
    image = Image(np.arange(72, dtype=np.uint8).reshape(8, 9), Grid.from_shape((8, 9)))
    path = tmp_path / f"A{letters(ending)}"
    if is_saved(image, path, image_endings(flat=True)):
        assert read_image(path).array.shape == (8, 9)
    else:
        assert letters is not str.lower


@pytest.mark.parametrize("letters", LETTERS)
@pytest.mark.parametrize("ending", transform_endings(linear=True))
def test_a_transform_in_letters_of_any_size(tmp_path, ending, letters):
    transform = Transform(sitk.TranslationTransform(3, (1.0, 2.0, 3.0)), Grid.from_shape((5, 6, 7)))
    path = tmp_path / f"A{letters(ending)}"
    if is_saved(transform, path, transform_endings(linear=True)):
        assert read_transform(path).TransformPoint((3.0, 2.0, 1.0)) == pytest.approx((4, 4, 4))
    else:
        assert letters is not str.lower
