"""``register(...)`` with odd values: each has a name, so that a case can be told of and sent to another process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import SimpleITK as sitk

from DeepRegistrationLib.geometry.image import Grid, Image
from Testing.Campaign.materials import SHAPE
from Testing.Lib.test_pipeline import pair

GRID = Grid.from_shape(SHAPE, 1.5)
FAST = {"affine": "none", "refine": "none", "method": "none", "device": "cpu"}
ROWS = np.array([[5.0, 6, 7], [9, 8, 7], [4, 9, 10]])


def _image(array: Any) -> Image:
    return Image(array, Grid.from_shape(np.shape(array), 1.5))


def _with(value: float, dtype: Any = np.float32) -> np.ndarray:
    array = pair(GRID)[0].array.astype(dtype)
    array[3:5, 3:5, 3:5] = value
    return array


def _labels(value: float, dtype: Any = np.uint8) -> Image:
    array = np.zeros(SHAPE, dtype)
    array[4:8, 4:8, 4:8] = value
    return Image(array, GRID)


def _points(value: float) -> np.ndarray:
    rows = ROWS.copy()
    rows[1, 1] = value
    return rows


VALUES: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "True": lambda: True,
    "7": lambda: 7,
    "-1": lambda: -1,
    "2**70": lambda: 2**70,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "''": lambda: "",
    "'zzz'": lambda: "zzz",
    "'a NUL'": lambda: "a\0b",
    "bytes": lambda: b"fixed.nii",
    "a list": lambda: [1, 2],
    "a table": lambda: {"a": 1},
    "an object": object,
    "an array": lambda: np.zeros((4, 4)),
    "a function": lambda: print,
    "numpy's 1.5": lambda: np.float32(1.5),
    "numpy's 3": lambda: np.int64(3),
}
IMAGES: dict[str, tuple[Callable[[], Any], bool | None]] = {
    "an array without a grid": (lambda: np.zeros(SHAPE, np.float32), True),
    "float16": (lambda: _image(_with(9, np.float16)), False),
    "big-endian": (lambda: _image(_with(9, ">f4")), False),
    "booleans": (lambda: _image(_with(0) > 400), False),
    "longdouble": (lambda: _image(_with(9, np.longdouble)), False),
    "int64": (lambda: _image(_with(9, np.int64)), False),
    "uint64": (lambda: _image(_with(2**63, np.uint64)), None),
    "complex": (lambda: _image(_with(9, np.complex64)), True),
    "text": (lambda: _image(np.full(SHAPE, "a")), True),
    "objects": (lambda: _image(np.full(SHAPE, None)), True),
    "dates": (lambda: _image(np.zeros(SHAPE, "datetime64[s]")), True),
    "of no voxels": (lambda: Image(np.zeros((0, 4, 4), np.float32), GRID), True),
    "of no voxels in ITK": (lambda: sitk.Image([0, 0, 0], sitk.sitkFloat32), True),
    "4-D": (lambda: sitk.Image([5, 5, 5, 2], sitk.sitkFloat32), True),
    "1-D": (lambda: _image(np.zeros(9, np.float32)), True),
    "constant": (lambda: _image(np.full(SHAPE, 3.0)), True),
    "all NaN": (lambda: _image(np.full(SHAPE, np.nan)), True),
    "some NaN": (lambda: _image(_with(np.nan)), None),
    "infinite": (lambda: _image(_with(np.inf)), None),
    "1e300": (lambda: _image(_with(1e300, np.float64)), None),
    "strided": (lambda: _image(np.asfortranarray(_with(9))[:, ::-1]), False),
    "read-only": (lambda: _image(np.broadcast_to(_with(9), SHAPE)), False),
    "a slice": (lambda: Image(_with(9)[:1], Grid.from_shape((1, *SHAPE[1:]), 1.5)), None),
    "2-D": (lambda: _image(_with(9)[3]), True),
    "a vector image": (lambda: GRID.to_sitk(np.zeros((*SHAPE, 3), np.float32), vector=True), True),
    "ITK's": (lambda: GRID.to_sitk(_with(9)), False),
}
PAIRS: dict[str, tuple[Callable[[], Any], bool | None]] = {
    "one list": (lambda: ROWS, True),
    "of other lengths": (lambda: (ROWS, ROWS[:2]), True),
    "2-D": (lambda: (ROWS[:, :2], ROWS[:, :2]), True),
    "empty": (lambda: (ROWS[:0], ROWS[:0]), True),
    "NaN": (lambda: (_points(np.nan), ROWS), True),
    "infinite": (lambda: (ROWS, _points(-np.inf)), True),
    "1e300": (lambda: (ROWS, _points(1e300)), True),
    "far": (lambda: (_points(4e4), ROWS), True),
    "ragged": (lambda: ([[1, 2, 3], [1, 2]], ROWS), True),
    "words": (lambda: ([["a", "b", "c"]], [["a", "b", "c"]]), True),
    "objects": (lambda: (np.full((3, 3), None), ROWS), True),
    "complex": (lambda: (ROWS + 1j, ROWS), True),
    "lists": (lambda: (ROWS.tolist(), ROWS.tolist()), False),
    "three": (lambda: (ROWS, ROWS, ROWS), True),
    "paths": (lambda: ("a.csv", "b.csv"), True),
}
LABELS: dict[str, tuple[Callable[[], Any], bool | None]] = {
    "one map": (lambda: _labels(1), True),
    "nothing in common": (lambda: (_labels(1), _labels(2)), True),
    "empty": (lambda: (_labels(0), _labels(0)), True),
    "fractions": (lambda: (_labels(1.5, np.float32), _labels(1)), True),
    "negative": (lambda: (_labels(-4, np.int16), _labels(1)), True),
    "huge": (lambda: (_labels(1e300, np.float64), _labels(1)), True),
    "2**63": (lambda: (_labels(2**63, np.uint64), _labels(1)), True),
    "infinite": (lambda: (_labels(np.inf, np.float32), _labels(1)), True),
    "NaN beside labels": (lambda: (_labels(np.nan, np.float32), _labels(1)), True),
    "2-D": (lambda: (_image(np.ones((9, 9), np.uint8)), _labels(1)), True),
    "numbers": (lambda: (1, 2), True),
    "floats that are whole": (lambda: (_labels(1, np.float64), _labels(1)), False),
}
STARTS: dict[str, tuple[Callable[[], Any], bool | None]] = {
    "2-D": (lambda: sitk.Transform(2, sitk.sitkIdentity), True),
    "singular": (lambda: _matrix(np.zeros((3, 3))), True),
    "flat": (lambda: _matrix(np.diag([1.0, 1.0, 0.0])), True),
    "nearly flat": (lambda: _matrix(np.diag([1.0, 1.0, 1e-9])), True),
    "NaN": (lambda: _matrix(np.diag([1.0, np.nan, 1.0])), True),
    "a mirror": (lambda: _matrix(np.diag([-1.0, 1.0, 1.0])), None),
    "the identity": (lambda: sitk.Transform(3, sitk.sitkIdentity), False),
    "an empty composite": (lambda: sitk.CompositeTransform(3), False),
    "a field of NaN": (lambda: _field(np.nan), True),
    "a field of light years": (lambda: _field(1e18), True),
    "a matrix of numpy": (lambda: np.eye(4), True),
}


def _matrix(matrix: np.ndarray) -> sitk.Transform:
    affine = sitk.AffineTransform(3)
    if np.isfinite(matrix).all() and abs(np.linalg.det(matrix)) > 0:
        affine.SetMatrix(matrix.ravel().tolist())
    else:  # ITK takes it as parameters alone
        affine.SetParameters([*matrix.ravel().tolist(), 0.0, 0.0, 0.0])
    return affine


def _field(value: float) -> sitk.Transform:
    field = np.zeros((*SHAPE, 3))
    field[3] = value
    return sitk.DisplacementFieldTransform(GRID.to_sitk(field, vector=True))


KEYWORDS: dict[str, dict[str, tuple[Callable[[], Any], bool | None]]] = {
    "fixed": IMAGES,
    "moving": IMAGES,
    "fixed_mask": {
        k: (v, None if r is False else r) for k, (v, r) in IMAGES.items() if k not in ("a slice", "constant")
    },
    "landmarks": PAIRS,
    "labels": LABELS,
    "initial_transform": STARTS,
}
"""What each keyword of its own is given; beside these, all of ``VALUES`` for every keyword."""


def call(case: dict[str, Any]) -> int:
    """Call ``register`` as a case says; errors of ours are told as the command line would, others pass."""
    from DeepRegistrationLib import DeepRegistrationError, InputError, register

    fixed, moving = pair(GRID, 1.0)
    keywords: dict[str, Any] = {"fixed": fixed, "moving": moving, **FAST}
    for keyword, name in case["arguments"].items():
        made = KEYWORDS.get(keyword, {}).get(name)
        try:
            keywords[keyword] = made[0]() if made else VALUES[name]()
        except DeepRegistrationError as error:  # an image that cannot even be made
            print(error, file=sys.stderr)
            return 2
        if keyword in ("landmarks", "labels"):
            keywords["refine"] = "fast"
    try:
        result = register(**keywords)
    except DeepRegistrationError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    if not np.isfinite(result.field.numpy()).all() or not np.isfinite(result.warped.array).all():
        print("Traceback: a result that is no number", file=sys.stderr)
        return 1
    return 0
