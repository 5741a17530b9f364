"""Model bundles: the weights of a network and everything needed to use them, in one ``.safetensors`` file.

The bundle's header is a JSON document in the file's metadata. No pickle is ever read. Bundles lie in the box
(``Resources/Models`` beside the library) and in a folder of the user's.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import InputError
from ..geometry.image import PathLike
from ..networks import RegistrationNetwork, build_network
from .safetensors import read_metadata, read_weights, write_weights

FORMAT = 1
KEY = "deep_registration"
USER_FOLDER_VARIABLE = "DEEPREGISTRATION_MODELS"
BOX = Path(__file__).resolve().parents[2] / "Resources" / "Models"
"""The models in the box; the same place in the source tree and where Slicer installs the module."""

_log = logging.getLogger(__name__)


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
            they are. A network that works on half of its grid sees too little of them otherwise.
    """

    orientation: str | None = None
    spacing: tuple[float, ...] | None = None
    size: tuple[int, ...] | None = None
    longest: int | None = None
    shortest: int | None = None


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


@dataclass(frozen=True)
class Model:
    """A network ready to predict, what its bundle says, and the hash of its weights (of the file, if it has one)."""

    name: str
    network: RegistrationNetwork
    header: Header
    sha256: str
    path: Path | None = None


@dataclass(frozen=True)
class Bundle:
    """A bundle in a folder, not loaded."""

    name: str
    path: Path
    header: Header


def save_bundle(path: PathLike, network: RegistrationNetwork, header: Header) -> None:
    """Write a bundle; weights as float16, or float32 where that would lose them (too large or too small).

    Raises:
        InputError: if the file cannot be written, or a weight is not finite.
    """
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise InputError(
                f"The weights {name} hold values that are not numbers; train again with a lower learning rate, or "
                "choose an earlier checkpoint."
            )
    tensors = {name: _compact(tensor) for name, tensor in network.state_dict().items()}
    write_weights(Path(path), tensors, {KEY: header.to_json(), "format": "pt"})


def _compact(tensor: torch.Tensor) -> torch.Tensor:
    if not tensor.is_floating_point():
        return tensor
    values = tensor.detach().float()
    half = values.half()
    lost = (half.float() - values).norm() > 1e-3 * values.norm()
    return values if lost or not half.isfinite().all() else half


def load_model(source: PathLike, user_folder: PathLike | None = None) -> Model:
    """The model of a bundle: a path, or the name of one that ``list_bundles`` finds. In float32, in ``eval`` mode.

    Raises:
        InputError: if there is none, or it is damaged.
    """
    path = _find(source, user_folder)
    tensors, metadata = read_weights(path)
    header = _header_of(path, metadata)
    floats = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    if not all(bool(t.isfinite().all()) for t in floats.values() if t.is_floating_point()):
        raise InputError(f"The weights in {path} hold values that are not numbers; get the model again.")
    try:
        with torch.device("meta"):  # no memory until the file's shapes have been compared with the network's
            network = build_network(header.network, header.arguments)
        network.load_state_dict(floats, assign=True)
    except RuntimeError as error:
        raise InputError(
            f"The weights in {path} are not those of its network {header.network}; get the model again."
        ) from error
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Model(path.stem, network.eval(), header, digest, path)


def list_bundles(user_folder: PathLike | None = None) -> list[Bundle]:
    """The bundles in the box and in the user's folder, by name; the user's own hides one in the box of that name.

    Args:
        user_folder: the folder; None: that of the environment variable DEEPREGISTRATION_MODELS, if it is set.
    """
    found: dict[str, Bundle] = {}
    for folder in _folders(user_folder):
        for path in sorted(folder.glob("*.safetensors")) if folder.is_dir() else []:
            try:
                found[path.stem] = Bundle(path.stem, path, read_header(path))
            except InputError as error:  # one bad file must not hide the good ones
                _log.warning("%s", error)
    return [found[name] for name in sorted(found)]


def read_header(path: Path) -> Header:
    """What a bundle says about itself, without its weights.

    Raises:
        InputError: if there is no such file, or it is not a bundle.
    """
    return _header_of(path, read_metadata(path))


def _folders(user_folder: PathLike | None) -> list[Path]:
    chosen = user_folder or os.environ.get(USER_FOLDER_VARIABLE)
    return [BOX, Path(chosen)] if chosen else [BOX]


def _find(source: PathLike, user_folder: PathLike | None) -> Path:
    path = Path(source)
    if path.suffix == ".safetensors" or path.is_file():
        return path
    bundles = list_bundles(user_folder)
    for bundle in bundles:
        if bundle.name == str(source):
            return bundle.path
    names = ", ".join(b.name for b in bundles) or "none so far"
    raise InputError(f"There is no model {source}; give a .safetensors file or the name of a model here ({names}).")


def _header_of(path: Path, metadata: Mapping[str, str]) -> Header:
    if KEY not in metadata:
        raise InputError(f"The file {path} holds weights, but is not a model bundle; choose one made for this module.")
    return Header.from_json(metadata[KEY], path.name)


def weights_hash(module: nn.Module) -> str:
    """SHA-256 of all parameters and buffers: the same as long as nothing in the network has changed."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
