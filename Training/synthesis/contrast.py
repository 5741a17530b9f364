"""An image from a label map: tissue intensities, then what a scanner does to them. A whole batch at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .axes import along, blur_matrix, slice_matrix, smooth_noise

Recipe = dict[str, Any]


def render(labels: Tensor, tissues: Sequence[Sequence[int] | None], recipes: Sequence[Recipe]) -> tuple[Tensor, Tensor]:
    """Images from label maps (B, 1, *S), with one contrast recipe an item.

    Returns:
        (B, 1, *S) intensities from 0 to about 1, and (B, 1, *S) what is seen of the anatomy: 0 in a lesion and where
        the field of view is cropped, 1 elsewhere.
    """
    shape, device = labels.shape[2:], labels.device
    generators = [torch.Generator(device=device).manual_seed(recipe["seed"]) for recipe in recipes]
    image = _tissue(labels, tissues, recipes, generators)
    seen = torch.ones_like(image)
    for item, recipe in enumerate(recipes):
        if recipe["lesion"] is not None:
            _add_lesion(image[item, 0], seen[item, 0], recipe["lesion"], generators[item])
    for axis, n in enumerate(shape):
        sigma = torch.tensor([recipe["blur"][axis] for recipe in recipes], device=device)
        image = along(image, blur_matrix(sigma, n), axis)
    image = _bias_and_gamma(image, recipes)
    image = _noise(image, recipes, generators)
    image = _thick_slices(image, recipes)
    for item, recipe in enumerate(recipes):
        if recipe["crop"] != [[0, n] for n in shape]:
            window = torch.zeros(shape, device=device)
            window[tuple(slice(low, high) for low, high in recipe["crop"])] = 1
            image[item] *= window
            seen[item] *= window
    return image.clamp_(0, 1.5), seen


def _normal(like: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    out = torch.empty_like(like)
    for item, generator in enumerate(generators):
        out[item].normal_(generator=generator)
    return out


def _tissue(
    labels: Tensor, tissues: Sequence[Sequence[int] | None], recipes: Sequence[Recipe],
    generators: Sequence[torch.Generator],
) -> Tensor:  # fmt: skip
    """Mean and texture of each label's tissue, looked up in one table for the whole batch."""
    table = torch.zeros(2, len(recipes), 256)
    for item, (tissue, recipe) in enumerate(zip(tissues, recipes, strict=True)):
        pair = torch.tensor([recipe["mean"], recipe["sd"]])
        pair = pair if tissue is None else pair[:, list(tissue)]
        table[:, item, : pair.shape[1]] = pair
    table = table.to(labels.device)
    index = labels.flatten(1).long()
    mean, sd = (torch.gather(part, 1, index).view(labels.shape) for part in table)
    return mean.addcmul_(sd, _normal(mean, generators))


def _add_lesion(image: Tensor, seen: Tensor, lesion: Recipe, generator: torch.Generator) -> None:
    """A rough blob with a core and a rim of their own intensities, within the body."""
    shape = image.shape
    axes = [torch.linspace(-1, 1, n, device=image.device) for n in shape]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    view = (-1, *[1] * len(shape))
    r = (grid - grid.new_tensor(lesion["center"]).view(view)) / grid.new_tensor(lesion["radii"]).view(view)
    noise = smooth_noise([lesion["seed"]], 1, shape, [n / 8 for n in shape], image.device)[0, 0]
    r2 = r.square().sum(0) + lesion["rough"] * noise
    texture = lesion["sd"] * torch.empty_like(image).normal_(generator=generator)
    core, rim = lesion["mean"]
    image.copy_(torch.where(r2 < 1, torch.where(r2 < 0.4, core, rim) + texture, image))
    seen.masked_fill_(r2 < 1, 0)


def _bias_and_gamma(image: Tensor, recipes: Sequence[Recipe]) -> Tensor:
    shape, device = image.shape[2:], image.device
    view = (-1, 1, *[1] * len(shape))
    size = torch.tensor([recipe["bias"][0] for recipe in recipes], device=device).view(view)
    seeds = [recipe["seed"] ^ 1 for recipe in recipes]
    spacing = [n * recipes[0]["bias"][1] for n in shape]
    image = image.clamp_min(0) * torch.exp(size * smooth_noise(seeds, 1, shape, spacing, device))
    image = image / image.flatten(1).amax(1).clamp_min(1e-6).view(view)
    return image.pow(torch.tensor([recipe["gamma"] for recipe in recipes], device=device).view(view))


def _noise(image: Tensor, recipes: Sequence[Recipe], generators: Sequence[torch.Generator]) -> Tensor:
    view = (-1, 1, *[1] * (image.ndim - 2))
    sd = torch.tensor([recipe["noise"] for recipe in recipes], device=image.device).view(view)
    rician = torch.tensor([recipe["rician"] for recipe in recipes], device=image.device).view(view)
    image = image.addcmul(sd, _normal(image, generators))
    if not bool(rician.any()):
        return image
    second = sd * rician * _normal(image, generators)
    return torch.where(rician, (image.square() + second.square()).sqrt(), image)


def _thick_slices(image: Tensor, recipes: Sequence[Recipe]) -> Tensor:
    for axis, n in enumerate(image.shape[2:]):
        if any(recipe["thick"][axis] > 1 for recipe in recipes):
            matrices = [
                slice_matrix(recipe["thick"][axis], n) if recipe["thick"][axis] > 1 else torch.eye(n)
                for recipe in recipes
            ]
            image = along(image, torch.stack(matrices).to(image.device), axis)
    return image
