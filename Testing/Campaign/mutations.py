"""Seeded mutations of small good files, and what may come of reading them: an answer that can be used, or a sentence.

python -m Testing.Campaign.mutations KIND FIRST LAST FOLDER

prints one JSON object a line for every reading that ended otherwise, and at last how many were tried.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from DeepRegistrationLib.errors import InputError

KINDS = {
    "bundle": ("model.safetensors",),
    "points": ("fixed.csv", "points.fcsv", "points.mrk.json"),
    "list": ("pairs.csv", "pairs.json"),
    "plan": ("plan.toml",),
    "manifest": ("data/dataset.json",),
    "transform": ("affine.tfm", "warp.h5", "warp.nii.gz"),
    "volume": ("volume.mgh",),
}
OTHERS = ("transform",)
"""Read by ITK and HDF5 in the end: what ends *them* is left out and not kept."""
WORDS = [
    b"",
    b"0",
    b"-1",
    b"nan",
    b"inf",
    b"1e999",
    b"99999999999999999999999",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b'""',
    b'"\\u0000"',
    b"[" * 2000,
    b'"' + b"x" * 9000 + b'"',
    b"\xff\xfe",
    b"\0",
    b",",
    b"\n",
    b"\r",
    b"#",
    b"=",
    b"\xc3\xa9",
]
ODD: list[Any] = [None, True, 0, -1, 1.5, 1e308, float("nan"), 2**70, "", "x", "a\0b", [], {}, [[]], ["a"], {"a": 1}]


def mutated(data: bytes, draw: random.Random) -> bytes:
    """One to four changes of bytes, words or, of JSON, values."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        changed = bytearray(draw.choice(CHANGES)(bytes(changed), draw))
    return bytes(changed)


def _flip(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8))):
        if changed:
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data) + 1)]


def _span(data: bytes, draw: random.Random) -> tuple[int, int]:
    start = draw.randrange(len(data) + 1)
    return start, min(len(data), start + draw.choice((0, 1, 2, 5, 30)))


def _word(data: bytes, draw: random.Random) -> bytes:
    start, end = _span(data, draw)
    return data[:start] + draw.choice(WORDS) + data[end:]


def _twice(data: bytes, draw: random.Random) -> bytes:
    start, end = _span(data, draw)
    return data[:end] + data[start:]


def _value(data: bytes, draw: random.Random) -> bytes:
    """Of JSON (that of a bundle lies behind 8 bytes) one value becomes another."""
    start = data.find(b"{") if data[:1] not in (b"{", b"[") else 0
    length = int.from_bytes(data[:8], "little") if start == 8 else len(data)
    try:
        document = json.loads(data[start : start + length])
    except (ValueError, RecursionError):
        return _word(data, draw)
    places = [*_places(document)]
    if not places:
        return _word(data, draw)
    holder, key = draw.choice(places)
    if isinstance(holder[key], str) and holder[key][:1] in ("{", "[") and draw.random() < 0.8:
        holder[key] = _value(holder[key].encode(), draw).decode("utf-8", "replace")
    else:
        holder[key] = draw.choice(ODD)
    text = json.dumps(document).encode()
    if start != 8:
        return text
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def _places(value: Any) -> Any:
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


CHANGES = (_flip, _cut, _word, _word, _twice, _value, _value, _value)


def read(kind: str, path: Path) -> None:
    """Read as the commands do, and see that the answer can be used.

    Raises:
        InputError: the sentence.
        AssertionError: if something came out that is no answer.
    """
    if kind == "bundle":
        from DeepRegistrationLib.models.bundle import load_model

        weights = load_model(path).network.state_dict().values()
        assert all(bool(w.isfinite().all()) for w in weights if w.is_floating_point()), "weights that are no numbers"
    elif kind == "points":
        from DeepRegistrationLib.geometry.points import read_points, write_points

        points = read_points(path)
        assert np.isfinite(points.positions).all(), "points that are no numbers"
        write_points(points, path.with_name(f"again{path.name[path.name.index('.') :]}"))
    elif kind == "list":
        from DeepRegistrationLib.cohorts.lists import read_jobs

        assert read_jobs(path), "no pairs"
    elif kind == "plan":
        from Training.plan import read_plan

        read_plan(path).hash()
    elif kind == "manifest":
        from Training.pairs.manifest import read_manifest

        read_manifest(path)
    elif kind == "transform":
        from DeepRegistrationLib.geometry.transform import map_points, read_transform

        transform = read_transform(path)
        assert np.isfinite(map_points(transform, np.ones((1, transform.GetDimension())))).all(), "no place"
    else:
        from DeepRegistrationLib.geometry.image import read_image

        read_image(path)


def main(kind: str, first: int, last: int, folder: Path, said: Callable[[str], object] = print) -> None:
    names = KINDS[kind]
    for number in range(first, last):
        draw = random.Random(f"{kind} {number}")
        name = names[number % len(names)]
        source = folder / name
        path = source.with_name(f"mutated-{kind}{source.name[source.name.index('.') :]}")
        path.write_bytes(mutated(source.read_bytes(), draw))
        print(json.dumps({"at": number}), flush=True)
        try:
            read(kind, path)
        except InputError as error:
            if "\n" in str(error) or len(str(error)) > 2000:
                said(json.dumps({"number": number, "name": name, "fault": f"no one sentence: {str(error)[:300]!r}"}))
        except Exception as error:
            said(json.dumps({"number": number, "name": name, "fault": f"{type(error).__name__}: {str(error)[:300]}"}))
    print(json.dumps({"tried": last - first}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
