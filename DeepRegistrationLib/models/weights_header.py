"""The header of a safetensors file: which tensors it holds, and its metadata. Free of PyTorch.

Layout: 8 bytes little-endian length of the header; the header (JSON: name -> dtype, shape, data_offsets, and
``__metadata__``: strings); the values, one tensor after the other without gaps. Everything is checked before a value
is used, as a file may come from anywhere.
"""

from __future__ import annotations

import json
import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from ..errors import InputError

LARGEST_HEADER = 16 << 20
ITEM_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
"""Bytes of a value, by the format's names of the types that are read."""


@dataclass(frozen=True)
class Entry:
    """One tensor: the name of its type, its shape, and where its bytes lie after the header."""

    dtype: str
    shape: list[int]
    begin: int
    end: int


@dataclass(frozen=True)
class WeightsHeader:
    """Metadata, tensors by name, and the byte of the file at which their values start."""

    metadata: dict[str, str]
    entries: dict[str, Entry]
    start: int


def read_weights_header(path: Path) -> WeightsHeader:
    """The header, without reading a tensor.

    Raises:
        InputError: if the file cannot be read or is not a valid safetensors file.
    """
    if path.exists() and not path.is_file():  # of a pipe, reading would wait for ever
        raise _damaged(path, "it is not a file")
    try:
        with path.open("rb") as file:
            total = os.fstat(file.fileno()).st_size
            first = file.read(8)
            length = struct.unpack("<Q", first)[0] if len(first) == 8 else 0
            if not 2 <= length <= min(LARGEST_HEADER, total - 8):
                raise _damaged(path, "it has no readable header")
            text = file.read(length)
    except OSError as error:
        raise InputError(f"Cannot read the weights file {path} ({error.strerror}); check the path.") from error
    try:
        header = json.loads(text.decode(), object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "its header is not JSON") from error
    if not isinstance(header, dict):
        raise _damaged(path, "its header is not a table")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _damaged(path, "its metadata are not texts")
    entries = {name: _entry(path, name, entry) for name, entry in header.items()}
    position = 0
    for begin, end in sorted((entry.begin, entry.end) for entry in entries.values()):
        if begin != position:
            raise _damaged(path, "its tensors overlap or leave gaps")
        position = end
    if position != total - 8 - length:
        raise _damaged(path, f"it should have {8 + length + position} bytes but has {total}")
    return WeightsHeader(metadata, entries, 8 + length)


def _entry(path: Path, name: str, entry: Any) -> Entry:
    if not isinstance(entry, dict) or str(entry.get("dtype")) not in ITEM_SIZES:
        raise _damaged(path, f"the type of its tensor {name} is unknown")
    shape, offsets = entry.get("shape"), entry.get("data_offsets")
    if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2:
        raise _damaged(path, f"the shape of its tensor {name} makes no sense")
    begin, end = offsets
    if end - begin != math.prod(shape) * ITEM_SIZES[str(entry["dtype"])]:
        raise _damaged(path, f"its tensor {name} has another size than its shape says")
    return Entry(str(entry["dtype"]), shape, begin, end)


def _naturals(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 1 << 62 for v in values)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    return result


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"The weights file {path} cannot be used: {reason}; get it again.")
