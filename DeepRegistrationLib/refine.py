"""The refinement engine: the field that best aligns this pair, found without any network.

Greedy compositive registration from coarse to fine. One step warps the moving image by the field so far, takes the
exact gradient of the similarity, smooths it (a fluid regularization), scales it, and composes it with the field:
u <- d + u o (id + d). At the end folds are removed and the inverse is computed and checked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import InputError
from .features import mind_ssc
from .fields import resize
from .forces import Force, Lncc, LocalGradient, Ssd
from .kernels import BandFilter, Sampler, central_difference, gaussian_weights
from .progress import SILENT, Reporter
from .regular import inverse_of, unfold

SIMILARITIES = ("auto", "lncc", "mind", "ssd", "gradient")
QUALITIES = ("fast", "accurate")


@dataclass(frozen=True)
class RefineSettings:
    """What a user may choose.

    Attributes:
        quality: "fast" stops at half resolution; "accurate" goes on at full resolution.
        similarity: "lncc" for one modality, "mind" or "gradient" across modalities, "ssd" for equal intensities;
            "auto" looks at the pair.
        stiffness: 1 is the default; 2 smooths every step twice as far, 0.5 half as far.
    """

    quality: str = "fast"
    similarity: str = "auto"
    stiffness: float = 1.0

    def __post_init__(self) -> None:
        if self.quality not in QUALITIES:
            raise InputError(f"The quality is {' or '.join(QUALITIES)}, not {self.quality}.")
        if self.similarity not in SIMILARITIES:
            raise InputError(f"The similarity is one of {', '.join(SIMILARITIES)}, not {self.similarity}.")
        if not 0.1 <= self.stiffness <= 20:
            raise InputError(f"The stiffness lies between 0.1 and 20, not at {self.stiffness:g}.")


@dataclass(frozen=True, eq=False)
class Refined:
    """What came out.

    Attributes:
        field: (1, ndim, *S) voxels, fixed to moving, without folds.
        inverse: (1, ndim, *S) voxels, moving to fixed.
        similarity: the measure that was used.
        iterations: steps taken on each level, coarse to fine.
    """

    field: Tensor
    inverse: Tensor
    similarity: str
    iterations: tuple[int, ...]


def refine(
    fixed: Tensor,
    moving: Tensor,
    settings: RefineSettings | None = None,
    *,
    spacing: Sequence[float] | None = None,
    start: Tensor | None = None,
    fixed_mask: Tensor | None = None,
    moving_mask: Tensor | None = None,
    landmarks: tuple[Tensor, Tensor] | None = None,
    labels: tuple[Tensor, Tensor] | None = None,
    reporter: Reporter = SILENT,
) -> Refined:
    """The field that aligns ``moving`` with ``fixed``; both (1, 1, *S) on one grid, any intensities.

    Args:
        spacing: mm along each array axis (1 if None).
        start: (1, ndim, *S) field to begin with, in voxels, fixed to moving.
        fixed_mask, moving_mask: (1, 1, *S); what is 0 does not count.
        landmarks: (n, ndim) voxel positions in fixed and in moving that belong together.
        labels: (1, 1, *S) integer maps of fixed and moving; equal labels attract.
        reporter: told about every step; raises Cancelled.

    Raises:
        InputError: if the images do not share one grid.
    """
    settings = settings or RefineSettings()
    shape = tuple(fixed.shape[2:])
    ndim = len(shape)
    if fixed.shape != moving.shape or fixed.shape[:2] != (1, 1) or ndim not in (2, 3):
        raise InputError(
            f"Fixed and moving must share one grid, as (1, 1, *shape); they are {tuple(fixed.shape)} and "
            f"{tuple(moving.shape)}."
        )
    steps = [float(s) for s in (spacing if spacing is not None else [1.0] * ndim)]
    with torch.no_grad():
        f, m = normalize(fixed, fixed_mask), normalize(moving, moving_mask)
        similarity = "lncc" if settings.similarity == "auto" else settings.similarity
        u: Tensor | None = start.float() if start is not None else None
        plan = levels(shape, steps, settings)
        counts = []
        total = sum(level.cost for level in plan)
        done = 0.0
        for number, level in enumerate(plan):
            u = fields_at(u, level.shape, f.device)
            part = reporter.stage(reporter.name, done / total * 0.9, (done + level.cost) / total * 0.9)
            counts.append(
                _run_level(
                    level, similarity, shrink(f, level), shrink(m, level), u,
                    None if fixed_mask is None else shrink(fixed_mask.float(), level),
                    None if moving_mask is None else shrink(moving_mask.float(), level),
                    part, f"level {number + 1} of {len(plan)}",
                )
            )  # fmt: skip
            done += level.cost
        assert u is not None
        u = unfold(resize(u, shape))
        reporter(0.95, "inverting")
        inverse = inverse_of(u)
        reporter(1.0, "")
    return Refined(u, inverse, similarity, tuple(counts))


@dataclass(frozen=True)
class Level:
    """One resolution: ``factors`` voxels of the grid make one of its voxels."""

    shape: tuple[int, ...]
    factors: tuple[int, ...]
    spacing: tuple[float, ...]
    iterations: int
    force_sigma: float
    field_sigma: float
    step: float

    @property
    def cost(self) -> float:
        return float(math.prod(self.shape) * self.iterations)

    @property
    def unit(self) -> float:
        """mm of the finest axis."""
        return min(self.spacing)

    def sigmas(self, sigma: float) -> tuple[float, ...]:
        """``sigma`` voxels of the finest axis, in voxels of each axis."""
        return tuple(sigma * self.unit / s for s in self.spacing)


def levels(shape: tuple[int, ...], spacing: Sequence[float], settings: RefineSettings) -> list[Level]:
    """From coarse to fine; an axis whose voxels are thick already is coarsened later or not at all."""
    unit = min(spacing)
    soft = settings.stiffness
    plan = [(4, 30, 1.5, 0.0, 1.0), (2, 30, 1.5, 0.0, 1.0)]
    if len(shape) == 2 and min(shape) >= 128:
        plan = [(8, 30, 1.5, 0.0, 1.0), *plan]
    if settings.quality == "accurate" or math.prod(shape) < 500_000:
        plan.append((1, 30, 2.0, 0.4, 0.5))
    out: list[Level] = []
    for factor, iterations, force, field, step in plan:
        factors = []
        for n, s in zip(shape, spacing, strict=True):
            f = factor
            while f > 1 and (s * f > 1.5 * factor * unit or n / f < 6):
                f //= 2
            factors.append(f)
        small = tuple(-(-n // f) for n, f in zip(shape, factors, strict=True))
        if min(factors) == 1 and max(factors) == 1 and out and out[-1].shape == small:
            continue
        mm = tuple(s * n / k for s, n, k in zip(spacing, shape, small, strict=True))
        out.append(Level(small, tuple(factors), mm, iterations, force * soft, field * soft, step))
    return out


def normalize(image: Tensor, mask: Tensor | None) -> Tensor:
    """About unit range, from the 1st and 99th percentile of what is not background; outliers are clamped."""
    image = image.float()
    values = image[mask > 0] if mask is not None else image.flatten()
    stride = max(1, values.numel() // 500_000)
    values = values[::stride]
    background = values.min()
    inside = values[values > background]
    if len(inside) < 10:
        inside = values
    low, high = torch.quantile(inside, torch.tensor([0.005, 0.995], device=image.device))
    span = (high - low).clamp_min(1e-6)
    low = torch.minimum(low, background) if background > low - span else low
    return ((image - low) / (high - low).clamp_min(1e-6)).clamp_(-0.25, 1.25)


def shrink(image: Tensor, level: Level) -> Tensor:
    """Means over ``factors`` voxels; an incomplete last block repeats the edge."""
    edges = []
    for n, k, f in zip(reversed(image.shape[2:]), reversed(level.shape), reversed(level.factors), strict=True):
        edges += [0, k * f - n]
    if any(edges):
        image = F.pad(image, edges, mode="replicate")
    pool = F.avg_pool2d if image.ndim == 4 else F.avg_pool3d
    return pool(image, level.factors) if max(level.factors) > 1 else image.contiguous()


def fields_at(u: Tensor | None, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """The field resized to ``shape``; zero if there is none."""
    if u is None:
        return torch.zeros((1, len(shape), *shape), device=device)
    return resize(u, shape).contiguous().clone()


def _make_force(similarity: str, fixed: Tensor, moving: Tensor, level: Level) -> tuple[Force, Tensor]:
    window = tuple(2 * max(0, round(3 * level.unit / s)) + 1 for s in level.spacing)
    if similarity == "lncc":
        return Lncc(fixed, window), moving
    if similarity == "gradient":
        return LocalGradient(fixed, moving, window), moving
    if similarity == "mind":
        return Ssd(mind_ssc(fixed)), mind_ssc(moving)
    return Ssd(fixed), moving


def _run_level(
    level: Level,
    similarity: str,
    fixed: Tensor,
    moving: Tensor,
    u: Tensor,
    fixed_mask: Tensor | None,
    moving_mask: Tensor | None,
    reporter: Reporter,
    message: str,
) -> int:
    """Steps on one level; ``u`` is updated in place."""
    ndim = len(level.shape)
    force, source = _make_force(similarity, fixed, moving, level)
    sampler = Sampler(level.shape, device=u.device)
    warped = torch.empty_like(source)
    slope = torch.empty_like(source)
    d, buffer, scratch = torch.empty_like(u), torch.empty_like(u), torch.empty_like(u)
    fluid = BandFilter(level.shape, [gaussian_weights(s) for s in level.sigmas(level.force_sigma)], "mean")
    elastic = None
    if level.field_sigma > 0:
        elastic = BandFilter(level.shape, [gaussian_weights(s) for s in level.sigmas(level.field_sigma)], "mean")
    weight: Tensor | None = fixed_mask
    warped_mask = torch.empty_like(fixed) if moving_mask is not None else None
    for count in range(level.iterations):
        reporter(count / level.iterations, message)
        sampler.aim(u)
        sampler.take(source, warped)
        if moving_mask is not None and warped_mask is not None:
            sampler.take(moving_mask, warped_mask)
            weight = warped_mask if fixed_mask is None else warped_mask * fixed_mask
        _, gradient = force(warped, weight)
        for axis in range(ndim):
            central_difference(warped, axis, slope)
            torch.sum(slope.mul_(gradient), 1, out=buffer[:, axis])
            buffer[:, axis].mul_((level.unit / level.spacing[axis]) ** 2)
        fluid(buffer, d, scratch)
        largest = d.square().sum(1).max().sqrt()
        d.mul_(level.step / largest.clamp_min(1e-12))
        sampler.aim(d)
        sampler.take(u, buffer)
        u.copy_(buffer.add_(d))
        if elastic is not None:
            elastic(u, d, scratch)
            u.copy_(d)
    return level.iterations
