"""What a user can choose, and the model that runs when it is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from ..geometry.image import PathLike
from ..settings import AUTO, FOR_ONE_CONTRAST, SIMILARITIES, Settings
from . import catalog
from .bundle import Bundle, Model, list_bundles, load_model, weights_hash
from .catalog import Method, Variant
from .header import Header, NetworkGrid, read_header
from .worth import helps, sentence

__all__ = [
    "Method",
    "Variant",
    "bundles_of",
    "chosen_method",
    "default_method",
    "find_method",
    "fresh_model",
    "methods",
    "methods_as_json",
    "model_for",
]

CONTRASTS = {name: 1 if name in FOR_ONE_CONTRAST else 2 for name in SIMILARITIES if name != AUTO}
"""What a chosen similarity says of the images: one contrast, or two (``worth.Worth.contrasts``)."""
COHORT = "cohort"
"""In ``Header.training``: made for the images of one cohort, so that it is taken only by its own name."""


def methods() -> tuple[Method, ...]:
    """All methods, refinement alone first; ``trained`` says for which dimensions each has weights here."""
    bundles = list_bundles()
    return tuple(replace(method, trained=_trained(method, bundles)) for method in catalog.ALL)


def _trained(method: Method, bundles: Sequence[Bundle]) -> tuple[int, ...]:
    if method.network is None:
        return method.dimensions
    general = [b for b in bundles if b.header.method == method.name and COHORT not in b.header.training]
    return tuple(sorted({b.header.dimensions for b in general}))


def default_method(ndim: int | None = None, contrasts: int | None = None) -> Method:
    """What is best for images of ``ndim`` dimensions (None: of any): the universal model, or refinement alone.

    The universal model where its weights are in the box and, as measured, a better start of the refinement than none
    (``worth.helps``: what a bundle's ``scores`` say of images of one or two ``contrasts``, None: of any).
    """
    found = {b.header.dimensions for b in _general(catalog.UNIVERSAL) if helps(b.header.scores, contrasts)}
    wanted = {2, 3} if ndim is None else {ndim}
    return catalog.UNIVERSAL if wanted <= found else catalog.NONE


def chosen_method(settings: Settings, ndim: int) -> Method:
    """What ``settings`` ask for on images of ``ndim`` dimensions: "auto" is resolved here and nowhere else.

    Raises:
        InputError: if there is no such method, or it lacks what is asked of it.
    """
    if settings.method == AUTO:
        return (
            catalog.UNIVERSAL
            if settings.fine_tune and has_weights(catalog.UNIVERSAL, ndim)
            else default_method(ndim, CONTRASTS.get(settings.similarity))
        )
    method = find_method(settings.method)
    if settings.variant is not None:
        method.variant(settings.variant)  # one that it does not have is refused
    return method


def has_weights(method: Method, ndim: int) -> bool:
    """Whether trained weights of ``method`` for images of ``ndim`` dimensions are at hand."""
    return taken_bundle(method, ndim) is not None


def find_method(name: PathLike) -> Method:
    """The method of that name, or the one whose bundle ``name`` is (a path, or a name of ``list_bundles``).

    Raises:
        InputError: if there is neither.
    """
    for method in catalog.ALL:
        if method.name == str(name):
            return method
    bundles = {bundle.name: bundle.path for bundle in list_bundles()}
    path = bundles.get(str(name), Path(name))
    if path.suffix == ".safetensors":
        wanted = read_header(path).method
        for method in catalog.ALL:
            if method.name == wanted:
                return replace(method, bundle=path)
        raise InputError(f"The model {path} is for the method {wanted}, which this version lacks; update.")
    names = [*dict.fromkeys([AUTO, *(m.name for m in catalog.ALL), *bundles])]
    near = get_close_matches(str(name), names, 1)
    hint = f"did you mean {near[0]}? All are" if near else "choose one of"
    raise InputError(f"There is no method {name}; {hint} {', '.join(names)}, or give a model's .safetensors file.")


def model_for(
    method: Method, ndim: int, *, variant: str | None = None, seed: int = 0, untrained: bool = False
) -> Model:
    """The model to run: the user's bundle, else one in the box or the user's folder, else, if asked for, fresh weights.

    A model without ``path`` has fresh weights: the caller should say that it has not been trained.

    Raises:
        InputError: if the method has no network, none for ``ndim``, no weights for ``ndim`` (and ``variant``) while
            ``untrained`` is false, or the bundle cannot be used.
    """
    if method.bundle is not None:
        dimensions = read_header(method.bundle).dimensions
        if dimensions != ndim:
            raise InputError(
                f"The model {method.bundle.name} is for {dimensions}-D images and these are {ndim}-D; choose "
                "another one."
            )
        return load_model(method.bundle)
    best = taken_bundle(method, ndim, variant)
    if best is not None:
        return load_model(best.path)
    if not untrained:
        raise InputError(_without_weights(method, ndim, variant))
    return fresh_model(method, ndim, variant=variant, seed=seed)


def taken_bundle(method: Method, ndim: int, variant: str | None = None) -> Bundle | None:
    """The bundle that runs when ``method`` is chosen by its name; None if there is none for ``ndim`` and ``variant``.

    The rows of a paper's comparison may be here, too; what the paper proposes is the first variant. Weights made for a
    cohort are for that cohort: they run where they are named.
    """
    fitting = [b for b in _general(method) if b.header.dimensions == ndim and variant in (None, b.header.variant)]
    order = [v.name for v in method.variants]
    return min(
        fitting,
        key=lambda b: order.index(b.header.variant) if b.header.variant in order else len(order),
        default=None,
    )


def _general(method: Method) -> list[Bundle]:
    return [bundle for bundle in bundles_of(method) if COHORT not in bundle.header.training]


def _without_network(method: Method, ndim: int) -> str:
    return f"The method {method.name} has no network for {ndim}-D images; choose another method."


def _without_weights(method: Method, ndim: int, variant: str | None) -> str:
    if ndim not in method.dimensions or not method.variants:
        return _without_network(method, ndim)
    if variant is not None:
        method.variant(variant)  # an unknown one is another mistake
    of_variant = "" if variant is None else f" (variant {variant})"
    others = sorted({b.header.dimensions for b in _general(method) if variant in (None, b.header.variant)})
    elsewhere = f", only for {others[0]}-D ones" if others else ""
    return (
        f"The method {method.name}{of_variant} has no trained weights for {ndim}-D images here{elsewhere}; choose "
        "another method, train or import weights, or ask for untrained ones (untrained=True, --untrained)."
    )


def fresh_model(method: Method, ndim: int, *, variant: str | None = None, seed: int = 0) -> Model:
    """The method's network with fresh weights, the same for the same seed; the global generator stays as it is.

    Raises:
        InputError: if the method has no network or none for ``ndim``.
    """
    if ndim not in method.dimensions or not method.variants:
        raise InputError(_without_network(method, ndim))
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
        grid=method.grids.get(ndim, NetworkGrid()),
        normalization=method.normalization,
        source="fresh weights, not trained",
    )
    return Model(method.name, network, header, weights_hash(network))


def bundles_of(method: Method) -> list[Bundle]:
    """The bundles there are for a method, in the box or in the user's folder."""
    return [bundle for bundle in list_bundles() if bundle.header.method == method.name]


def methods_as_json() -> list[dict[str, Any]]:
    """What ``methods --json`` prints: "auto" and what it ``takes`` for images of each dimension, one table a method,
    then one a bundle, which can be chosen by its name, too, unless that is a method's: every name is there once. "auto"
    also ``takes_for`` each similarity that says whether the images show one contrast.

    ``available``: it can be used as it is, without training. ``weights``: of a network, and they are here.
    ``trained``: for images of which dimensions that holds.
    """
    bundles = list_bundles()
    of = {method.name: [b for b in bundles if b.header.method == method.name] for method in catalog.ALL}
    table = [_automatic()]
    table += [_describe(method, of[method.name], _trained(method, of[method.name])) for method in catalog.ALL]
    for bundle in bundles:
        for method in catalog.ALL:
            if method.name == bundle.header.method and bundle.name not in of:
                table.append(
                    {
                        **_describe(method, [bundle], (bundle.header.dimensions,)),
                        "name": bundle.name,
                        "title": f"{method.title}: {bundle.name}",
                        "modality": bundle.header.modality,
                        "dimensions": [bundle.header.dimensions],
                    }
                )
    return table


def _automatic() -> dict[str, Any]:
    return {
        "name": AUTO,
        "title": "Best available",
        "purpose": "the universal network where it helps, else refinement alone",
        "dimensions": [2, 3],
        "network": False,
        "weights": False,
        "available": True,
        "takes": {str(ndim): default_method(ndim).name for ndim in (2, 3)},
        "takes_for": {
            similarity: {str(ndim): default_method(ndim, contrasts).name for ndim in (2, 3)}
            for similarity, contrasts in CONTRASTS.items()
        },
    }


def _describe(method: Method, bundles: list[Bundle], trained: tuple[int, ...]) -> dict[str, Any]:
    """An entry of ``methods_as_json``; ``worth`` is in words, for each dimension, of the weights that run there."""
    running = {
        b.header.dimensions: b for b in bundles if [b] == bundles or b == taken_bundle(method, b.header.dimensions)
    }
    return {
        "name": method.name,
        "title": method.title,
        "paper": method.paper,
        "purpose": method.purpose,
        "modality": method.modality,
        "dimensions": list(method.dimensions),
        "similarity": method.fine_tuned_by,
        "variants": [{"name": v.name, "title": v.title} for v in method.variants],
        "presets": [{"name": p.name, "about": p.about} for p in method.presets],
        "network": method.network is not None,
        "weights": method.network is not None and bool(trained),
        "trained": list(trained),
        "available": bool(trained),
        "worth": {str(ndim): sentence(b.header.scores) for ndim, b in running.items()},
        "models": [{"name": b.name, "path": str(b.path), **_summary(b.header)} for b in bundles],
    }


def _summary(header: Header) -> dict[str, Any]:
    wanted = ("variant", "dimensions", "modality", "scores", "license")
    return {key: value for key, value in asdict(header).items() if key in wanted}
