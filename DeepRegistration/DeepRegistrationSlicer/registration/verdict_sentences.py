"""The library's sentences about a result, in the user's language.

The library speaks English, and its sentences are kept in reports with their numbers. Here each form stands once,
so that it can be translated; a sentence is recognized by its form, and its numbers go into the translated one.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ..texts import tr

_NAME = re.compile(r"\\\{(\w+)\\\}")


def forms(_: Callable[[str], str]) -> tuple[str, ...]:
    """Every form of a sentence of ``quality/verdict.py``, with {names} where numbers and words come."""
    return (*_of_likeness(_), *_of_shape(_))


def _of_likeness(_: Callable[[str], str]) -> tuple[str, ...]:
    return (
        _("The field folds in {share} % of the image: more smoothness is needed."),
        _("The field folds in {share} % of the image."),
        _("The images are less alike after the registration than before."),
        _("Forward and back do not cancel: {length} remain on average."),
        _(
            "How alike the images are could not be measured, as too little of both is seen together: check the masks, "
            "and where the images lie."
        ),
        _(
            "A part that should stay rigid bends by {length}: parts come too close to each other to move apart; join "
            "them under one label, or check them."
        ),
        _(
            "The structures of the label maps overlap by a Dice of only {dice} with the result: check that equal "
            "numbers mean equal structures."
        ),
        _(
            "What the refinement found was not confirmed; the field is what the universal network proposes: look "
            "closely at both images."
        ),
        _("No deformation that was tried explained the images better than the affine alignment, which is the answer."),
        _("The field is smooth and invertible, and the images are more alike than before."),
        _("The images are more alike than before."),
        _(
            "The field is smooth and invertible, the images are more alike than before, and nothing speaks against the "
            "result in {share} % of the anatomy."
        ),
        _("The images are more alike than before, and nothing speaks against the result in {share} % of the anatomy."),
        _(
            "The alignment as a whole alone fits better: with it points lie {whole} off, not {length}; use it (no "
            "refinement), or try another similarity."
        ),
        _("Points of the anatomy lie about {length} from where they belong: compare the images closely."),
        _(
            "Hardly a point is found again in {share} % of the anatomy, around {place}, though most are elsewhere: "
            "that part was moved or bent too far, or is not in both images; look there."
        ),
        _(
            "Hardly a point is found again in {share} % of the anatomy, though most are elsewhere: that part was moved "
            "or bent too far, or is not in both images; look there."
        ),
        _(
            "As a whole the images fit better {length} from where the initial transform or the headers put them, which "
            "is too far for the refinement: let the affine stage look for the place."
        ),
        _(
            "Nothing else that was tried led to about the same place; the nearest lies {length} from the result: check "
            "that both images show the same part of the body, and compare them closely."
        ),
        _(
            "In {share} % of the anatomy nothing in the moved image confirms the result: check that both images show "
            "the same part of the body, and look at the map of doubt."
        ),
    )


def _of_shape(_: Callable[[str], str]) -> tuple[str, ...]:
    return (
        _(
            "The anatomy is bent by up to {length}, {share} % of its size, which is hardly plausible: check that both "
            "images show the same part of the body in the same orientation."
        ),
        _("A part of the anatomy is pulled by {length}, {share} % of its size: look at the warped grid there."),
        _(
            "{share} % of the anatomy is squeezed to less than a tenth or blown up more than tenfold: these parts have "
            "no counterpart in the moving image."
        ),
        _(
            "{share} % of the anatomy meets nothing in the moving image once that is aligned as a whole, and is "
            "covered by stretching what lies beside it: check that both images show the same part of the body."
        ),
        _("The images are about as alike in another orientation, turned by far from this one: check which is right."),
        _("The image was turned by {angle} degrees: check its orientation, and left from right."),
        _("The images are more alike when the moving one is mirrored: check the orientation of both."),
        _("The images are more alike when the moving one is mirrored {how}: check the orientation of both."),
        _("The image had to be scaled by {factor}: check the voxel size of both images."),
        _(
            "Landmark pair {names} disagrees with the others and did not count for the starting alignment: check its "
            "places."
        ),
        _(
            "Landmark pairs {names} disagree with the others and did not count for the starting alignment: check their "
            "places."
        ),
    )


def translated(sentence: str, _: Callable[[str], str] = tr) -> str:
    """A sentence of the library in the user's language; as it is if its form is not known."""
    for english, own in zip(forms(str), forms(_), strict=True):
        found = re.fullmatch(_NAME.sub(r"(?P<\1>.+?)", re.escape(english)), sentence)
        if found:
            return own.format(**found.groupdict())
    return sentence
