"""The subjects of a template, looked at before anything is computed: one that does not fit must not cost a round."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from ..cohorts.lists import Subject
from ..errors import InputError
from ..files.image_files import existing_file
from ..geometry.image import Image, read_image
from ..geometry.single_slice import flatten
from ..inputs.checks import read_mask, read_pair
from ..inputs.guides import labels_inside
from ..inputs.label_maps import read_label_map


def check_subjects(subjects: Sequence[Subject], start: Subject, note: Callable[[str], None] | None = None) -> None:
    """See that every image, mask and label map can be used, with those of ``start``, and that nobody is there twice.

    Args:
        note: called with a sentence about subjects whose images are copies, which may be meant.

    Raises:
        InputError: with the first that cannot.
    """
    first = read_image(start.image, f"image of {start.name}")
    files: dict[tuple[int, int], Subject] = {}
    contents: dict[str, Subject] = {}
    for subject in subjects:
        image = read_image(subject.image, f"image of {subject.name}")
        read_pair(image, image)  # that it shows something
        if image.ndim != first.ndim:
            raise InputError(
                f"The {image.name} is {image.ndim}-D and the {first.name} {first.ndim}-D; a template is made of images "
                "of one dimension, so leave out those of the other."
            )
        flatten(first, image)  # all slices or all volumes
        stat = existing_file(subject.image, image.name).stat()
        twin = files.setdefault((stat.st_dev, stat.st_ino), subject)
        if twin is not subject:
            raise InputError(
                f"The images of {twin.name} and {subject.name} are one file ({subject.image}), which would weigh "
                "double in the template; leave one of the two out."
            )
        twin = contents.setdefault(_content(image), subject)
        if twin is not subject and note is not None:
            note(
                f"The images of {twin.name} and {subject.name} have the same voxels; if that is one subject, leave one "
                "of the two out, as it weighs double in the template."
            )
        _check_maps(subject, image)


def _content(image: Image) -> str:
    found = hashlib.sha256(f"{image.array.dtype} {image.array.shape}".encode())
    found.update(np.ascontiguousarray(image.array).data)
    return found.hexdigest()


def _check_maps(subject: Subject, image: Image) -> None:
    read_mask(subject.mask, image, f"mask of {subject.name}")
    if subject.labels is None:
        return
    labels = read_label_map(subject.labels, f"label map of {subject.name}")
    if labels.ndim != image.ndim:
        raise InputError(
            f"The {labels.name} is {labels.ndim}-D and the {image.name} {image.ndim}-D; use a label map of that image."
        )
    labels_inside(labels, image.grid, subject.name)
