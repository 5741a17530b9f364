"""What a user can choose: the methods, their variants, and the model that runs when one is chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from .errors import InputError
from .image import PathLike
from .models import Bundle, Header, Model, Normalization, WorkingGrid, list_bundles, load_model, weights_hash
from .networks import RegistrationNetwork
from .networks.voxelmorph import VoxelMorph

PERCENTILES = Normalization()
NetworkFactory = Callable[[int], RegistrationNetwork]
"""Number of dimensions -> the network with fresh weights."""


@dataclass(frozen=True)
class Variant:
    """One row of a paper's comparison: the network it uses. Its training values stand in ``presets``."""

    name: str
    title: str
    network: NetworkFactory


@dataclass(frozen=True)
class Method:
    """A way to start the registration.

    Attributes:
        name: what the command line and the panel call it.
        title: for people.
        paper: where it comes from.
        purpose: one line: what it is for.
        modality: which images.
        dimensions: of the images it takes.
        similarity: what the refinement after it measures ("auto" looks at the images).
        variants: of the network; the first is the default. None at all: refinement alone.
        grids: where a fresh network works, by number of dimensions; elsewhere on the fixed image's own grid.
        normalization: what a fresh network expects.
        bundle: the file whose weights to use, where the user gave one.
    """

    name: str
    title: str
    paper: str
    purpose: str
    modality: str
    dimensions: tuple[int, ...] = (2, 3)
    similarity: str = "auto"
    variants: tuple[Variant, ...] = ()
    grids: tuple[tuple[int, WorkingGrid], ...] = ()
    normalization: Normalization = PERCENTILES
    bundle: Path | None = None

    @property
    def network(self) -> NetworkFactory | None:
        """The default variant's network; None for refinement alone."""
        return self.variants[0].network if self.variants else None

    def variant(self, name: str | None = None) -> Variant:
        """The variant of that name, or the first.

        Raises:
            InputError: if there is none.
        """
        for variant in self.variants:
            if name in (None, variant.name):
                return variant
        names = ", ".join(v.name for v in self.variants) or "none"
        raise InputError(f"The method {self.name} has no variant {name}; it has {names}.")


VOXELMORPH_PAPER = "Balakrishnan et al., An Unsupervised Learning Model for Deformable Medical Image Registration, 2018"

NONE = Method(
    "none",
    "Refinement alone",
    "",
    "no network: the field is found on this pair from the start",
    "any",
)
VOXELMORPH_1 = Method(
    "voxelmorph-1",
    "VoxelMorph-1",
    VOXELMORPH_PAPER,
    "one modality, fast",
    "one modality, aligned as a whole",
    similarity="lncc",
    variants=(Variant("default", "VoxelMorph-1", lambda ndim: VoxelMorph(ndim, 1)),),
)
VOXELMORPH_2 = Method(
    "voxelmorph-2",
    "VoxelMorph-2",
    VOXELMORPH_PAPER,
    "one modality, a little better and slower than VoxelMorph-1",
    "one modality, aligned as a whole",
    similarity="lncc",
    variants=(Variant("default", "VoxelMorph-2", lambda ndim: VoxelMorph(ndim, 2)),),
)

_METHODS = (NONE, VOXELMORPH_1, VOXELMORPH_2)


def methods() -> tuple[Method, ...]:
    """All methods, the default for a new user first among those that need no training."""
    return _METHODS


def find_method(name: PathLike) -> Method:
    """The method of that name, or the one whose bundle ``name`` is (a path, or a name of ``list_bundles``).

    Raises:
        InputError: if there is neither.
    """
    for method in _METHODS:
        if method.name == str(name):
            return method
    bundles = {bundle.name: bundle.path for bundle in list_bundles()}
    path = bundles.get(str(name), Path(name))
    if path.suffix == ".safetensors":
        model = load_model(path)
        for method in _METHODS:
            if method.name == model.header.method:
                return replace(method, bundle=path)
        raise InputError(f"The model {path} is for the method {model.header.method}, which this version lacks; update.")
    names = ", ".join([*(m.name for m in _METHODS), *bundles])
    raise InputError(f"There is no method {name}; choose one of {names}, or give a model's .safetensors file.")


def model_for(method: Method, ndim: int, *, variant: str | None = None, seed: int = 0) -> Model:
    """The model to run: the user's bundle, else one in the box or the user's folder, else fresh weights.

    A model without ``path`` has fresh weights: the caller should say that it has not been trained.

    Raises:
        InputError: if the method has no network, none for ``ndim``, or the bundle cannot be used.
    """
    if method.bundle is not None:
        return load_model(method.bundle)
    if variant is None:
        for bundle in bundles_of(method):
            if bundle.header.dimensions == ndim:
                return load_model(bundle.path)
    return fresh_model(method, ndim, variant=variant, seed=seed)


def fresh_model(method: Method, ndim: int, *, variant: str | None = None, seed: int = 0) -> Model:
    """The method's network with fresh weights, the same for the same seed; the global generator stays as it is.

    Raises:
        InputError: if the method has no network or none for ``ndim``.
    """
    if ndim not in method.dimensions or not method.variants:
        raise InputError(f"The method {method.name} has no network for {ndim}-D images; choose another method.")
    chosen = method.variant(variant)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = chosen.network(ndim).eval()
    header = Header(
        method=method.name,
        network=type(network).__name__,
        arguments=network.arguments,
        dimensions=ndim,
        modality=method.modality,
        variant=chosen.name,
        grid=dict(method.grids).get(ndim, WorkingGrid()),
        normalization=method.normalization,
        source="fresh weights, not trained",
    )
    return Model(method.name, network, header, weights_hash(network))


def bundles_of(method: Method) -> list[Bundle]:
    """The bundles there are for a method, in the box or in the user's folder."""
    return [bundle for bundle in list_bundles() if bundle.header.method == method.name]


def methods_as_json() -> list[dict[str, Any]]:
    """What ``methods --json`` prints: one table a method."""
    table = []
    for method in _METHODS:
        bundles = bundles_of(method)
        table.append(
            {
                "name": method.name,
                "title": method.title,
                "paper": method.paper,
                "purpose": method.purpose,
                "modality": method.modality,
                "dimensions": list(method.dimensions),
                "similarity": method.similarity,
                "variants": [{"name": v.name, "title": v.title} for v in method.variants],
                "network": method.network is not None,
                "weights": bool(bundles) or method.network is None,
                "models": [{"name": b.name, "path": str(b.path), **_summary(b.header)} for b in bundles],
            }
        )
    return table


def _summary(header: Header) -> dict[str, Any]:
    wanted = ("variant", "dimensions", "modality", "scores", "license")
    return {key: value for key, value in asdict(header).items() if key in wanted}
