"""What may stand in ``Annotated[type, ...]`` beside the type of a parameter."""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

__all__ = [
    "Choice",
    "Decimals",
    "Default",
    "Exclude",
    "IsInstance",
    "Label",
    "Maximum",
    "Minimum",
    "NotNone",
    "SingleStep",
    "Validator",
    "WithinRange",
]


class Default:
    """The value of a parameter that the scene does not hold: ``Default(3)`` or ``Default(generator=f)``."""

    def __init__(self, value: Any = None, generator: Callable[[], Any] | None = None) -> None:
        self._value, self._generator = value, generator

    @property
    def value(self) -> Any:
        return self._generator() if self._generator is not None else self._value


class Validator(abc.ABC):
    """Refuses values by raising from :meth:`validate`."""

    @abc.abstractmethod
    def validate(self, value: Any) -> None:
        """Raises ValueError or TypeError for a value that must not be stored."""


class NotNone(Validator):
    def validate(self, value: Any) -> None:
        if value is None:
            raise ValueError("Value must not be None")


@dataclass
class IsInstance(Validator):
    classtype: Any

    def validate(self, value: Any) -> None:
        if value is not None and not isinstance(value, self.classtype):
            raise TypeError(f"Value must be of type {self.classtype}, is {value!r} of type {type(value)}")


@dataclass
class WithinRange(Validator):
    minimum: float
    maximum: float

    def validate(self, value: Any) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within [{self.minimum}, {self.maximum}], is {value}")


@dataclass
class Minimum(Validator):
    minimum: float

    def validate(self, value: Any) -> None:
        if value < self.minimum:
            raise ValueError(f"Value must be at least {self.minimum}, is {value}")


@dataclass
class Maximum(Validator):
    maximum: float

    def validate(self, value: Any) -> None:
        if value > self.maximum:
            raise ValueError(f"Value must be at most {self.maximum}, is {value}")


@dataclass
class Choice(Validator):
    choices: Collection[Any]

    def validate(self, value: Any) -> None:
        if value not in self.choices:
            raise ValueError(f"Value is {value!r}, must be one of {self.choices}")


@dataclass
class Exclude(Validator):
    excludedValues: Collection[Any]

    def validate(self, value: Any) -> None:
        if value in self.excludedValues:
            raise ValueError(f"Value must not be {value!r}")


@dataclass
class Decimals:
    """Digits that the widget shows."""

    value: int


@dataclass
class SingleStep:
    """Step of the widget."""

    value: float


@dataclass
class Label:
    """Text beside a widget that Slicer creates."""

    value: str


def split(hint: Any) -> tuple[Any, list[Any]]:
    """(type, annotations) of a type hint, annotated or not."""
    if get_origin(hint) is Annotated:
        kind, *annotations = get_args(hint)
        return kind, annotations
    return hint, []


def first(annotations: list[Any], kind: type) -> Any:
    """The first annotation of class ``kind``, or None."""
    return next((a for a in annotations if isinstance(a, kind)), None)


def bounds(annotations: list[Any]) -> tuple[float | None, float | None]:
    """(minimum, maximum) that the annotations set."""
    within = first(annotations, WithinRange)
    if within is not None:
        return within.minimum, within.maximum
    low, high = first(annotations, Minimum), first(annotations, Maximum)
    return (low.minimum if low is not None else None), (high.maximum if high is not None else None)
