"""From recipes to tensors: batches of synthetic pairs with the exact map between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from DeepRegistrationLib import fields
from DeepRegistrationLib.errors import InputError

from . import anatomy
from .contrast import render
from .deform import maps
from .recipe import Recipe


@dataclass(frozen=True)
class SyntheticBatch:
    """Pairs of one shape S.

    Attributes:
        fixed, moving: (B, 1, *S) float32, 0 to about 1.
        fixed_labels, moving_labels: (B, 1, *S) uint8.
        displacement: (B, ndim, *S) voxels, fixed to moving; exact where the weight is not 0.
        weight: (B, 1, *S) 1 where the moving image shows what the fixed image shows, 0 in lesions, outside a cropped
            field of view, and where the map leaves the grid or material flows through its border.
        recipes: what it was made from.
    """

    fixed: Tensor
    moving: Tensor
    fixed_labels: Tensor
    moving_labels: Tensor
    displacement: Tensor
    weight: Tensor
    recipes: tuple[Recipe, ...]


def generate(
    recipes: Sequence[Recipe], device: torch.device | str = "cpu", given: Sequence[Tensor] = ()
) -> SyntheticBatch:
    """Apply recipes of one shape; the same recipes give the same batch on the same kind of device.

    Args:
        recipes: see ``recipe.draw``.
        device: where all large arrays are made.
        given: label maps (*shape) for recipes of the family "given".

    Raises:
        InputError: recipes of different shapes.
    """
    device = torch.device(device)
    shape = tuple(recipes[0]["shape"])
    if any(tuple(recipe["shape"]) != shape for recipe in recipes):
        raise InputError("The recipes of a batch must have one shape; group them by shape.")
    with torch.no_grad():
        source = torch.cat([synthetic_labels(recipe, device, given) for recipe in recipes])
        where = maps([recipe["deform"] for recipe in recipes], shape, device)
        fixed_labels = anatomy.pick(source, where.fixed)
        moving_labels = anatomy.pick(source, where.moving)
        tissues = [recipe["labels"].get("tissue") for recipe in recipes]
        fixed, fixed_seen = render(fixed_labels, tissues, [recipe["fixed"] for recipe in recipes])
        moving, moving_seen = render(moving_labels, tissues, [recipe["moving"] for recipe in recipes])
        weight = fixed_seen * _seen_at(moving_seen, where.displacement) * (where.error < 0.3)
    return SyntheticBatch(fixed, moving, fixed_labels, moving_labels, where.displacement, weight, tuple(recipes))


def _seen_at(seen: Tensor, displacement: Tensor) -> Tensor:
    """1 where the map ends within the moving image's grid and ``seen`` there is 1."""
    shape = seen.shape[2:]
    end = displacement + fields.identity(shape, seen.device)
    inside = torch.ones_like(seen, dtype=torch.bool)
    for d, n in enumerate(shape):
        inside &= (end[:, d : d + 1] >= 0) & (end[:, d : d + 1] <= n - 1)
    if bool((seen < 1).any()):
        inside &= fields.sample(seen, end) > 0.999
    return inside.float()


def synthetic_labels(recipe: Recipe, device: torch.device, given: Sequence[Tensor] = ()) -> Tensor:
    """(1, 1, *shape) uint8: the recipe's label map before it is deformed.

    Raises:
        InputError: a given label map of another shape.
    """
    shape = tuple(recipe["shape"])
    if recipe["family"] == "shapes":
        return anatomy.shapes(recipe["labels"], shape, device)
    if recipe["family"] != "given":
        return anatomy.paint(recipe["labels"], shape, device)
    found = given[recipe["labels"]["index"]]
    if tuple(found.shape) != shape:
        raise InputError(f"A given label map has the shape {tuple(found.shape)}, but the plan says {shape}.")
    return found.to(device=device, dtype=torch.uint8)[None, None]
