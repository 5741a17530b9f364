"""Model bundles: the weights of a network and everything needed to use them, in one ``.safetensors`` file.

What the bundle says about itself is ``header.py``. No pickle is ever read.
"""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ..errors import InputError
from ..files.writing import check_named
from ..geometry.image import PathLike
from ..networks import RegistrationNetwork, build_network
from .header import BOX, ENDING, KEY, USER_FOLDER_VARIABLE, Header, beside, read_header
from .safetensors import read_weights, write_weights

_log = logging.getLogger(__name__)


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

    What others were worth is removed beside it.

    Raises:
        InputError: if the file cannot be written, or a weight is not finite.
    """
    check_named(path, "file to be written")
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise InputError(
                f"The weights {name} hold values that are not numbers; train again with a lower learning rate, or "
                "choose an earlier checkpoint."
            )
    tensors = {name: _compact(tensor) for name, tensor in network.state_dict().items()}
    write_weights(Path(path), tensors, {KEY: header.to_json(), "format": "pt"})
    with suppress(OSError):
        beside(Path(path)).unlink()


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
    tensors, _ = read_weights(path)
    header = read_header(path)
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
        for path in sorted(folder.glob(f"*{ENDING}")) if folder.is_dir() else []:
            try:
                found[path.stem] = Bundle(path.stem, path, read_header(path))
            except InputError as error:  # one bad file must not hide the good ones
                _log.warning("%s", error)
    return [found[name] for name in sorted(found)]


def _folders(user_folder: PathLike | None) -> list[Path]:
    chosen = user_folder or os.environ.get(USER_FOLDER_VARIABLE)
    return [BOX, Path(chosen)] if chosen else [BOX]


def _find(source: PathLike, user_folder: PathLike | None) -> Path:
    check_named(source, "model")
    path = Path(source)
    if path.suffix == ENDING or path.is_file():
        return path
    bundles = list_bundles(user_folder)
    for bundle in bundles:
        if bundle.name == str(source):
            return bundle.path
    names = ", ".join(b.name for b in bundles) or "none so far"
    raise InputError(f"There is no model {source}; give a {ENDING} file or the name of a model here ({names}).")


def weights_hash(module: nn.Module) -> str:
    """SHA-256 of all parameters and buffers: the same as long as nothing in the network has changed."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
