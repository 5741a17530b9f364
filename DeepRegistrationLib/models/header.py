"""What a model bundle says about itself: a JSON document in the metadata of its ``.safetensors`` file.

What it is worth grows old with the engine, not with the weights, so newer figures may lie beside the bundle, in
``NAME.worth.json``: they are renewed without writing the weights anew.

Free of PyTorch, so that Slicer lists the very models that the library takes. Bundles lie in the box
(``Resources/Models`` beside the library) and in a folder of the user's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import InputError
from .weights_header import read_weights_header
from .worth import WORTH_KEY, worths

FORMAT = 1
KEY = "deep_registration"
ENDING = ".safetensors"
WORTH_ENDING = ".worth.json"
USER_FOLDER_VARIABLE = "DEEPREGISTRATION_MODELS"
BOX = Path(__file__).resolve().parents[2] / "Resources" / "Models"
"""The models in the box; the same place in the source tree and where Slicer installs the module."""


FINER = 2.5
"""How much finer than it is an image is shown at most: more costs by the cube, and shows nothing."""


@dataclass(frozen=True)
class NetworkGrid:
    """The grid a network was trained on, in the order of its tensor axes.

    Attributes:
        orientation: where each axis points, one letter of LRAPSI each ("LIA": the first index grows towards left);
            None: as the fixed image lies.
        spacing: mm along each axis; None: as ``size`` divides the field of view, or as the fixed image has it.
        size: voxels along each axis; None: as many as the field of view takes.
        longest: in place of spacing and size: equal spacing along all axes with this many voxels along the longest
            side, but no finer than the fixed image. For networks that take any anatomy.
        shortest: with ``longest``: images of fewer voxels along their longest side are shown in so many, finer than
            they are, ``FINER`` times at most. A network that works on half of its grid sees too little of them
            otherwise.
    """

    orientation: str | None = None
    spacing: tuple[float, ...] | None = None
    size: tuple[int, ...] | None = None
    longest: int | None = None
    shortest: int | None = None

    def finest(self, spacing: float, side: float) -> float:
        """mm of a voxel in which an image is shown, of ``spacing`` mm and ``side`` mm long, if ``longest`` allows."""
        return spacing if self.shortest is None else max(min(spacing, side / self.shortest), spacing / FINER)


@dataclass(frozen=True)
class Normalization:
    """Which two intensities become which two numbers; linear between them.

    Attributes:
        kind: "percentile" (``low`` and ``high`` are percentiles of the voxels above the image's smallest value, which
            is mostly padding and says nothing; ``low`` 0 is that value) or "range" (they are intensities, e.g.
            Hounsfield units).
        low, high: see ``kind``.
        output: the numbers that ``low`` and ``high`` become.
        clamp: intensities beyond ``low`` and ``high`` are cut off there.
    """

    kind: str = "percentile"
    low: float = 0.0
    high: float = 99.9
    output: tuple[float, float] = (0.0, 1.0)
    clamp: bool = True


@dataclass(frozen=True)
class Header:
    """What a bundle says about itself.

    Attributes:
        method: name of the method (``methods``) and, if it has some, of the ``variant``.
        network, arguments: class of ``networks.NETWORKS`` and what to call it with.
        dimensions: 2 or 3.
        modality: what the images are, in words.
        grid: where the network works.
        normalization: of the fixed image, and of the moving one unless ``moving_normalization`` is given.
        training: plan, its hash, data: as the trainer wrote it.
        scores: measured, by name.
        license, source: of the weights.
    """

    method: str
    network: str
    arguments: dict[str, Any]
    dimensions: int
    modality: str = "any"
    variant: str | None = None
    grid: NetworkGrid = NetworkGrid()
    normalization: Normalization = Normalization()
    moving_normalization: Normalization | None = None
    training: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    license: str = ""
    source: str = ""

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self)}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, origin: str = "bundle") -> Header:
        """Read back what ``to_json`` wrote.

        Raises:
            InputError: if anything in it is missing or impossible.
        """
        try:
            document = json.loads(text)
            if document["format"] != FORMAT:
                raise InputError(
                    f"The model {origin} has the format {document['format']}, this version reads {FORMAT}; update."
                )
            known = {f.name for f in fields(cls)}
            values = {key: value for key, value in document.items() if key in known}
            values["grid"] = _grid(values.get("grid") or {})
            values["normalization"] = _normalization(values.get("normalization") or {})
            if values.get("moving_normalization") is not None:
                values["moving_normalization"] = _normalization(values["moving_normalization"])
            header = cls(**values)
            _check(header)
        except InputError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InputError(
                f"The header of the model {origin} cannot be understood ({error}); get the model again."
            ) from error
        return header


def _grid(values: dict[str, Any]) -> NetworkGrid:
    spacing, size = values.get("spacing"), values.get("size")
    return NetworkGrid(
        values.get("orientation"),
        None if spacing is None else tuple(float(s) for s in spacing),
        None if size is None else tuple(int(s) for s in size),
        *(None if values.get(side) is None else int(values[side]) for side in ("longest", "shortest")),
    )


def _normalization(values: dict[str, Any]) -> Normalization:
    plain = Normalization(**values)
    low, high = plain.output
    return Normalization(plain.kind, float(plain.low), float(plain.high), (float(low), float(high)), bool(plain.clamp))


def _check(header: Header) -> None:
    for name in ("method", "network", "modality", "license", "source"):
        if not isinstance(getattr(header, name), str):
            raise ValueError(f"{name} is not a text")
    for name in ("arguments", "training", "scores"):
        if not isinstance(getattr(header, name), dict):
            raise ValueError(f"{name} is not a table")
    n, grid = header.dimensions, header.grid
    if n not in (2, 3) or header.arguments.get("ndim") != n:
        raise ValueError("its dimensions are neither 2 nor 3, or not those of its network")
    if grid.orientation is not None and (n != 3 or not _is_orientation(grid.orientation)):
        raise ValueError(f"orientation {grid.orientation}")
    if grid.spacing is not None and (len(grid.spacing) != n or not all(0 < s < 1000 for s in grid.spacing)):
        raise ValueError(f"spacing {grid.spacing}")
    if grid.size is not None and (len(grid.size) != n or not all(1 <= s <= 4096 for s in grid.size)):
        raise ValueError(f"size {grid.size}")
    if grid.longest is not None and (grid.spacing or grid.size or not 8 <= grid.longest <= 4096):
        raise ValueError(f"longest side {grid.longest}")
    if grid.shortest is not None and not 8 <= grid.shortest <= (grid.longest or 0):
        raise ValueError(f"shortest longest side {grid.shortest}")
    for normalization in (header.normalization, header.moving_normalization or header.normalization):
        if normalization.kind not in ("percentile", "range") or not normalization.low < normalization.high:
            raise ValueError(f"normalization {normalization}")
        if normalization.kind == "percentile" and not 0 <= normalization.low < normalization.high <= 100:
            raise ValueError(f"normalization {normalization}")
        if not all(map(math.isfinite, (normalization.low, normalization.high, *normalization.output))):
            raise ValueError(f"normalization {normalization}")


def _is_orientation(letters: Any) -> bool:
    return isinstance(letters, str) and sorted("LAS"["LRAPSI".index(c) // 2] for c in letters) == list("ALS")


def read_header(path: Path) -> Header:
    """What a bundle says about itself, without its weights.

    Raises:
        InputError: if there is no such file, or it is not a bundle.
    """
    return _read_header(path, state_of(path), state_of(beside(path)))


State = tuple[int, int, int]


def state_of(path: Path) -> State | None:
    """What changes with a file: its size and its times, the one that a copy may keep and the one that it cannot.

    None if there is none.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


@lru_cache(64)
def _read_header(path: Path, bundle: State | None, newer: State | None) -> Header:
    """Kept while the files stay as they are: every registration lists all models."""
    header = header_in(path, read_weights_header(path).metadata)
    worth = _worth_beside(path) if newer else None
    return replace(header, scores={**header.scores, WORTH_KEY: worth}) if worth else header


def beside(path: Path) -> Path:
    """Where newer figures of what the bundle ``path`` is worth may lie."""
    return path.parent / (path.stem + WORTH_ENDING)


def _worth_beside(path: Path) -> dict[str, Any] | None:
    """What the file beside a bundle says it is worth; None where that is damaged, or is of other weights."""
    if not beside(path).is_file():  # of a pipe, reading would wait for ever
        return None
    try:
        found = json.loads(beside(path).read_text(encoding="utf-8"))
        whole = len(worths({WORTH_KEY: found})) == len(found["kinds"]) > 0
        return found if whole and found["bytes"] == path.stat().st_size and found["engine"] else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def write_worth(path: Path, worth: Mapping[str, Any]) -> None:
    """Write what the bundle ``path`` is worth (``worth.as_scores``) into the file beside it."""
    text = json.dumps({"bytes": path.stat().st_size, **worth}, indent=1)
    beside(path).write_text(text + "\n", encoding="utf-8")


def header_in(path: Path, metadata: Mapping[str, str]) -> Header:
    """The header in the metadata of a weights file.

    Raises:
        InputError: if the file is not a bundle, or anything in its header is missing or impossible.
    """
    if KEY not in metadata:
        raise InputError(f"The file {path} holds weights, but is not a model bundle; choose one made for this module.")
    return Header.from_json(metadata[KEY], path.name)
