"""Everything a user may choose about a registration: its choices, bounds and defaults, and what is said of a bad value.

``register``, the command line, batch, Training's fields, the panel and Slicer's console are made of it. What must be
said again is compared by a test: ``Choices`` below. The panel's enumerations name the choices, as scenes keep them by
those names, and take their values from here. Free of PyTorch, so that Slicer may import it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, TypedDict

from .errors import InputError

AUTO, NO_NETWORK = "auto", "none"
AFFINE_ALONE = "affine"
"""In a report: nothing was better than the affine alignment."""
NETWORK_ALONE = "network"
"""In a report: nothing found on the very pair was confirmed, and the field is what a network proposes."""
DEFORMABLE = "deformable"
RESULTS = (DEFORMABLE, "affine", "similarity", "rigid")
"""Here a similarity is the transform of that name: turn, shift and one scale."""
REFINEMENTS = ("none", "fast", "accurate")
ALIGNMENTS = ("auto", "rigid", "none")
SIMILARITIES = ("auto", "lncc", "translated", "information", "mind", "ssd", "gradient")
"""What the refinement compares images by."""
FOR_ONE_CONTRAST = ("lncc", "ssd")
"""The similarities that compare images of one contrast; whoever chooses another says that there are two."""
DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True)
class Bounds:
    """The smallest and the largest value of a number, both allowed."""

    low: float
    high: float


SMOOTHNESS = Bounds(0.1, 20.0)
SEED = Bounds(0, 2**63 - 1)
SMOOTH_IN_TIME = Bounds(0.0, 10.0)
"""Frames, of a sequence: the standard deviation of the weights; 0, the default, changes nothing."""
LONGEST_TEXT = 4096
"""Characters of a name or a path."""


def _setting(default: Any, about: str, *, choices: tuple[str, ...] = (), bounds: Bounds | None = None) -> Any:
    return dataclasses.field(default=default, metadata={"about": about, "choices": choices, "bounds": bounds})


@dataclass(frozen=True)
class Settings:
    """What a user chose; a bad value raises ``InputError`` when it is made, before anything is computed.

    Attributes:
        method: a name of ``methods()``, the path of a model bundle, "none" (refinement alone), or "auto": the best that
            is here for images of that dimension.
        variant: one of the method's variants, the papers' comparisons; None is the method's own.
        fine_tune: fit the network's last layer to this pair first (for a new kind of image); the weights stay.
        untrained: take a network with fresh weights where there are no trained ones; else such a method is refused.
        result: what comes out: "deformable", a field; or one matrix for the whole image, "affine", "similarity" (turn,
            shift and one scale) or "rigid" (turn and shift). For a matrix nothing of a network or a refinement is used.
        refine: refinement of the field on this very pair.
        from_here: the initial transform is an accepted result, of the image before this one: only what has moved since
            is looked for, in fewer steps, and the orientation is not doubted again.
        affine: "auto" aligns the whole images first, "rigid" without scale and shear; "none" takes them as they lie. A
            result that is a matrix is aligned as ``result`` says.
        similarity: "lncc" for one modality; across modalities "translated" (MIND first, then LNCC after one image was
            put into the other's contrast), "information" (mutual information first, then LNCC likewise), "mind" or
            "gradient"; "ssd" for equal intensities; "auto" looks at the pair.
        smoothness: 1 is the default; larger values give a stiffer field.
        device: "auto" takes the fastest that can do all that is needed; "cuda:1" is the second NVIDIA card. Where a GPU
            fails, the CPU goes on.
        seed: the same answer for the same seed on one machine.
    """

    method: str = _setting(AUTO, "see the command methods, or a bundle's path; none is refinement alone")
    variant: str | None = _setting(None, "of the method; the command methods --json lists them")
    fine_tune: bool = _setting(False, "fit the network's last layer to this pair first")
    untrained: bool = _setting(False, "let a network run that has no trained weights here; its start means nothing")
    result: str = _setting(DEFORMABLE, "what comes out: a field, or one matrix", choices=RESULTS)
    refine: str = _setting("fast", "refinement of the field on this very pair", choices=REFINEMENTS)
    from_here: bool = _setting(False, "the initial transform is an accepted result: look only for what has moved since")
    affine: str = _setting("auto", "align the whole image first", choices=ALIGNMENTS)
    similarity: str = _setting("auto", "what the refinement compares", choices=SIMILARITIES)
    smoothness: float = _setting(1.0, "1 is usual, more is stiffer", bounds=SMOOTHNESS)
    device: str = _setting("auto", f"where to compute: {', '.join(DEVICES)}; cuda:1 is the second card")
    seed: int = _setting(0, "of everything random", bounds=SEED)

    def __post_init__(self) -> None:
        for each in fields(self):
            value = _checked(each, getattr(self, each.name))
            object.__setattr__(self, each.name, value)
        if self.variant is not None and self.method in (AUTO, NO_NETWORK):
            raise InputError(
                f"The method {self.method} has no variants, so leave {self.variant!r} out or choose another method."
            )
        if self.fine_tune and self.method == NO_NETWORK:
            raise InputError("Without a network there is none to fine-tune; choose a method that has one.")

    @property
    def is_linear(self) -> bool:
        """Whether one matrix for the whole image comes out."""
        return self.result != DEFORMABLE

    @property
    def alignment(self) -> str:
        """How the images are aligned as a whole: "affine", "similarity", "rigid", or "none": not at all."""
        if self.is_linear:
            return self.result
        return "affine" if self.affine == "auto" else self.affine

    @classmethod
    def given(cls, settings: Settings | None, choices: Mapping[str, Any]) -> Settings:
        """``choices`` before ``settings`` before the defaults.

        Raises:
            InputError: if they are none.
        """
        if settings is not None and not isinstance(settings, cls):
            raise InputError(
                f"The settings are Settings(...), not {type(settings).__name__}; give single ones by name."
            )
        return cls.of({**(settings or cls()).as_dict(), **choices})

    @classmethod
    def of(cls, chosen: Mapping[str, Any]) -> Settings:
        """Settings from names and values.

        Raises:
            InputError: if a name is not a setting, or a value cannot be used.
        """
        unknown = [name for name in chosen if name not in NAMES]
        if unknown:
            near = get_close_matches(unknown[0], NAMES, 1)
            hint = f"did you mean {near[0]}" if near else f"the settings are {', '.join(NAMES)}"
            raise InputError(f"There is no setting {unknown[0]!r}; {hint}.")
        return cls(**chosen)

    def arguments(self, names: Iterable[str] = ()) -> list[str]:
        """The options of the command line that say the same (``names``: only these); defaults are left out."""
        found: list[str] = []
        for each in fields(self):
            value = getattr(self, each.name)
            if value == each.default or (names and each.name not in names):
                continue
            found += [option(each.name)] if value is True else [option(each.name), str(value)]
        return found

    def as_dict(self) -> dict[str, Any]:
        """Names and values, for reports and files."""
        return dataclasses.asdict(self)


class Choices(TypedDict, total=False):
    """The keywords that ``register`` hands to ``Settings``; for type checkers."""

    method: str
    variant: str | None
    fine_tune: bool
    untrained: bool
    result: str
    refine: str
    from_here: bool
    affine: str
    similarity: str
    smoothness: float
    device: str
    seed: int


NAMES = tuple(each.name for each in fields(Settings))


def option(name: str) -> str:
    """A setting's option on the command line."""
    return f"--{name.replace('_', '-')}"


def _checked(each: dataclasses.Field[Any], value: Any) -> Any:
    """The value in its own type.

    Raises:
        InputError: if it is not of that type, not among the choices or out of bounds.
    """
    choices, bounds = each.metadata["choices"], each.metadata["bounds"]
    if choices:
        if not isinstance(value, str) or value not in choices:
            raise InputError(f"{each.name} can be {', '.join(choices[:-1])} or {choices[-1]}, not {_shown(value)}.")
        return value
    if isinstance(each.default, bool):
        if not isinstance(value, bool):
            raise InputError(f"{each.name} is True or False, not {_shown(value)}.")
        return value
    if bounds is not None:
        return _number(each.name, value, bounds, whole=isinstance(each.default, int))
    if value is None and each.default is None:
        return None
    text = str(value)
    if not text:
        raise InputError(f"The {each.name} is empty; name one, or leave it out.")
    if "\0" in text or "\n" in text or len(text) > LONGEST_TEXT:
        raise InputError(f"{each.name} is a name or a path, not {_shown(value)}.")
    return text


def _shown(value: Any) -> str:
    """A value for a sentence: on one line, and no longer than it has to be to be recognized."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:60]}..."


def _number(name: str, value: Any, bounds: Bounds, whole: bool) -> float | int:
    kind = "whole number" if whole else "number"
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool | str) or not math.isfinite(number) or (whole and number != int(number)):
        raise InputError(f"The {name} is a {kind} from {bounds.low} to {bounds.high}, not {_shown(value)}.")
    exact = int(value) if whole else number
    if not bounds.low <= exact <= bounds.high:
        raise InputError(
            f"The {name} {exact:g} is out of range; choose a value between {bounds.low:g} and {bounds.high:g}."
        )
    return exact
