"""Reading and writing the safetensors format: named tensors and a JSON header in one file, no code, no pickle.

The layout, and what is checked before a value is used, is ``weights_header.py``.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..files.writing import whole
from .weights_header import read_weights_header

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


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors by name, in the dtype they are stored in, and the metadata.

    Raises:
        InputError: if the file cannot be read or is not a valid safetensors file.
    """
    header = read_weights_header(path)
    with path.open("rb") as file:
        file.seek(header.start)
        data = bytearray(file.read())
    tensors = {}
    for name, entry in header.entries.items():
        dtype, size = _DTYPES[entry.dtype], entry.end - entry.begin
        if not size:
            tensors[name] = torch.empty(entry.shape, dtype=dtype)
            continue
        values = torch.frombuffer(data, dtype=torch.uint8, count=size, offset=entry.begin)
        # A copy, as a tensor of the file's bytes need not be aligned for its dtype.
        tensors[name] = values.clone().view(dtype).view(entry.shape)
    return tensors, header.metadata
