"""Reading and writing the safetensors format: named tensors and a JSON header in one file, no code, no pickle.

Layout: 8 bytes little-endian length of the header; the header (JSON: name -> dtype, shape, data_offsets, and
``__metadata__``: strings); the values, one tensor after the other without gaps. Everything is checked before a value
is used, as a bundle may come from anywhere.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor

from ..errors import InputError
from ..files.writing import whole

LARGEST_HEADER = 16 << 20
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def write_weights(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and metadata; the file appears whole or not at all.

    Raises:
        InputError: if the folder does not exist or is protected.
        NotWritten: if the disk is full.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    chunks, position = [], 0
    for name, tensor in sorted(tensors.items()):
        values = tensor.detach().cpu().contiguous()
        chunk = values.reshape(-1).view(torch.uint8).numpy().tobytes() if values.numel() else b""
        header[name] = {
            "dtype": _NAMES[values.dtype],
            "shape": list(values.shape),
            "data_offsets": [position, position + len(chunk)],
        }
        chunks.append(chunk)
        position += len(chunk)
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with whole(path) as partial, partial.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for chunk in chunks:
            file.write(chunk)


def read_metadata(path: Path) -> dict[str, str]:
    """The ``__metadata__`` of a file, without reading its tensors.

    Raises:
        InputError: if the file cannot be read or is not a valid safetensors file.
    """
    metadata, _, _ = _read_header(path)
    return metadata


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors by name, in the dtype they are stored in, and the metadata.

    Raises:
        InputError: if the file cannot be read or is not a valid safetensors file.
    """
    metadata, entries, start = _read_header(path)
    with path.open("rb") as file:
        file.seek(start)
        data = bytearray(file.read())
    tensors = {}
    for name, (dtype, shape, begin, end) in entries.items():
        values = torch.frombuffer(data, dtype=torch.uint8, count=end - begin, offset=begin) if end > begin else None
        # A copy, as a tensor of the file's bytes need not be aligned for its dtype.
        tensors[name] = torch.empty(shape, dtype=dtype) if values is None else values.clone().view(dtype).view(shape)
    return tensors, metadata


_Entry = tuple[torch.dtype, list[int], int, int]


def _read_header(path: Path) -> tuple[dict[str, str], dict[str, _Entry], int]:
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
    for _, _, begin, end in sorted(entries.values(), key=lambda e: e[2:]):
        if begin != position:
            raise _damaged(path, "its tensors overlap or leave gaps")
        position = end
    if position != total - 8 - length:
        raise _damaged(path, f"it should have {8 + length + position} bytes but has {total}")
    return metadata, entries, 8 + length


def _entry(path: Path, name: str, entry: Any) -> _Entry:
    if not isinstance(entry, dict) or str(entry.get("dtype")) not in _DTYPES:
        raise _damaged(path, f"the type of its tensor {name} is unknown")
    dtype, shape, offsets = _DTYPES[str(entry["dtype"])], entry.get("shape"), entry.get("data_offsets")
    if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2:
        raise _damaged(path, f"the shape of its tensor {name} makes no sense")
    begin, end = offsets
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise _damaged(path, f"its tensor {name} has another size than its shape says")
    return dtype, shape, begin, end


def _naturals(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 1 << 62 for v in values)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    return result


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"The weights file {path} cannot be used: {reason}; get it again.")
