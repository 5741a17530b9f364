"""Displacement fields: warp, compose, exponentiate, invert, Jacobian, resize, smooth, taper.

A field ``u`` is a tensor (N, ndim, *spatial) in voxels; component c moves along spatial axis c (``ij`` order). It maps
fixed to moving: ``warped(p) = moving(p + u(p))``. All functions take 2-D and 3-D, keep device and dtype, and are
differentiable unless they say otherwise. Resizing uses half-pixel centers (``align_corners=False``).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from .kernels import Sampler

_SLAB = 200_000
"""Voxels of a slab."""


def check_field(u: Tensor) -> int:
    """The number of spatial dimensions of a field (N, ndim, *spatial).

    Raises:
        InputError: if the shape is not that of a field.
    """
    ndim = u.ndim - 2
    if ndim not in (2, 3) or u.shape[1] != ndim:
        raise InputError(f"A displacement field has the shape (N, ndim, *spatial), not {tuple(u.shape)}.")
    return ndim


def identity(shape: Sequence[int], device: torch.device | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
    """(1, ndim, *shape): each voxel's own index."""
    axes = [torch.arange(s, device=device, dtype=dtype) for s in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]


def sample(image: Tensor, points: Tensor, mode: str = "linear", padding: str = "border") -> Tensor:
    """``image`` (N, C, *S) at voxel positions ``points`` (N, ndim, *T): (N, C, *T).

    ``mode`` is "linear" or "nearest"; outside the image ``padding`` "border" repeats the edge, "zeros" fades to zero.
    """
    ndim = image.ndim - 2
    shape = image.shape[2:]
    # grid_sample wants the last axis first, in [-1, 1]. An axis of one voxel has no extent: every position is inside.
    parts = [points[:, d] * (2 / (shape[d] - 1)) - 1 if shape[d] > 1 else points[:, d] * 2 for d in range(ndim)]
    grid = torch.stack(parts[::-1], dim=-1)
    interpolation = {"linear": "bilinear", "nearest": "nearest"}[mode]
    batch, out = grid.shape[0], grid.shape[1]
    threads = torch.get_num_threads() if grid.device.type == "cpu" else 1
    # On the CPU grid_sample uses one thread per batch item: cut the output into as many items as there are threads.
    if batch == 1 and threads > 1 and out >= threads and out % threads == 0 and image.shape[0] == 1:
        grid = grid.reshape(threads, out // threads, *grid.shape[2:])
        result = F.grid_sample(
            image.expand(threads, *image.shape[1:]), grid, interpolation, padding, align_corners=True
        )
        return result.transpose(0, 1).reshape(1, image.shape[1], *points.shape[2:])
    return F.grid_sample(image, grid, interpolation, padding, align_corners=True)


def warp(image: Tensor, u: Tensor, mode: str = "linear", padding: str = "border") -> Tensor:
    """``image(p + u(p))``: image (N, C, *S), field (N, ndim, *T) in voxels of the image: (N, C, *T)."""
    return sample(image, identity(u.shape[2:], u.device, u.dtype) + u, mode, padding)


def compose(a: Tensor, b: Tensor) -> Tensor:
    """The field of ``(id + a) o (id + b)``: first b, then a; p -> p + b(p) + a(p + b(p))."""
    return b + warp(a, b)


def exponentiate(v: Tensor, steps: int = 7, exact: bool = True) -> Tensor:
    """The displacement of exp(v) for a stationary velocity ``v`` in voxels, by ``steps`` squarings (Arsigny 2006).

    Not ``exact``, positions are rounded as ``Sampler`` says, and on a CPU it takes a third of the time.
    """
    u = v / 2**steps
    if u.requires_grad:
        for _ in range(steps):
            u = compose(u, u)
        return u
    sampler = Sampler(u.shape[2:], exact=exact, device=u.device, dtype=u.dtype)
    moved = torch.empty_like(u[:1])
    for item in u.split(1):
        for _ in range(steps):
            sampler.aim(item)
            item += sampler.take(item, moved)
    return u


def inverse_error(u: Tensor, w: Tensor) -> Tensor:
    """(N, 1, *spatial) length in voxels of what is left of ``(id + u) o (id + w)``."""
    return compose(u, w).square().sum(1, keepdim=True).sqrt()


def jacobian_matrix(u: Tensor, scheme: str = "central") -> list[list[Tensor]]:
    """Entries d(p + u)_c / dp_d, each (N, *spatial), as ``matrix[c][d]``.

    ``scheme`` is "central" (one-sided at the border), "forward" or "backward" (zero difference at the far border).
    """
    ndim = check_field(u)
    return [[difference(u[:, c], d + 1, scheme).add_(float(c == d)) for d in range(ndim)] for c in range(ndim)]


def difference(x: Tensor, dim: int, scheme: str = "central") -> Tensor:
    """The derivative along axis ``dim`` per voxel, of the shape of ``x``; ``scheme`` as in ``jacobian_matrix``."""
    n = x.shape[dim]
    if n == 1:
        return torch.zeros_like(x)
    step = x.narrow(dim, 1, n - 1) - x.narrow(dim, 0, n - 1)
    if scheme == "forward":
        return torch.cat([step, torch.zeros_like(x.narrow(dim, 0, 1))], dim)
    if scheme == "backward":
        return torch.cat([torch.zeros_like(x.narrow(dim, 0, 1)), step], dim)
    if scheme != "central":
        raise ValueError(f"unknown scheme {scheme}")
    inner = (step.narrow(dim, 1, n - 2) + step.narrow(dim, 0, n - 2)) / 2
    return torch.cat([step.narrow(dim, 0, 1), inner, step.narrow(dim, n - 2, 1)], dim)


def jacobian_determinant(u: Tensor, scheme: str = "central") -> Tensor:
    """(N, 1, *spatial) determinant of d(p + u)/dp; volume change, 1 where nothing changes, <= 0 where the field folds.

    The same in voxels and in mm, as one grid serves both sides.
    """
    return determinant(jacobian_matrix(u, scheme))[:, None]


def determinant(j: Sequence[Sequence[Tensor]] | Tensor) -> Tensor:
    """Of matrices of two or three rows, entry by entry: ``j[component][axis]`` are of one shape, the result's."""
    if len(j) == 2:
        return j[0][0] * j[1][1] - j[0][1] * j[1][0]
    return (
        j[0][0] * (j[1][1] * j[2][2] - j[1][2] * j[2][1])
        - j[0][1] * (j[1][0] * j[2][2] - j[1][2] * j[2][0])
        + j[0][2] * (j[1][0] * j[2][1] - j[1][1] * j[2][0])
    )


def jacobian_determinant_in_slabs(u: Tensor, schemes: Sequence[str] = ("central",)) -> Tensor:
    """The smallest of the determinants by ``schemes``, one slab of the first axis after the other.

    What a slab needs stays in the cache: five times as fast as ``jacobian_determinant`` on a volume. Not
    differentiable.
    """
    check_field(u)
    rows = u.shape[2]
    step = max(1, _SLAB // max(1, u[0, 0, 0].numel()))
    out = u.new_empty((u.shape[0], 1, *u.shape[2:]))
    with torch.no_grad():
        for low in range(0, rows, step):
            high = min(rows, low + step)
            first, last = max(0, low - 1), min(rows, high + 1)
            least = _least_determinant(u[:, :, first:last], schemes)
            out[:, 0, low:high] = least[:, low - first : high - first]
    return out


def _least_determinant(u: Tensor, schemes: Sequence[str]) -> Tensor:
    """(N, *S) the smallest of ``jacobian_determinant`` by ``schemes``, which share their differences."""
    ndim = u.shape[1]
    j: dict[str, list[list[Tensor]]] = {scheme: [[] for _ in range(ndim)] for scheme in schemes}
    for c, axis in itertools.product(range(ndim), range(ndim)):
        x, n = u[:, c], u.shape[axis + 2]
        # steps[k] is from voxel k - 1 to voxel k; there is none into the grid and none out of it
        steps = x.new_zeros([size + (d == axis + 1) for d, size in enumerate(x.shape)])
        torch.sub(x.narrow(axis + 1, 1, n - 1), x.narrow(axis + 1, 0, n - 1), out=steps.narrow(axis + 1, 1, n - 1))
        ahead, behind = steps.narrow(axis + 1, 1, n), steps.narrow(axis + 1, 0, n)
        if "central" in j:
            middle = (ahead + behind).mul_(0.5)
            for end in {0, n - 1} if n > 1 else ():
                middle.narrow(axis + 1, end, 1).mul_(2)
            j["central"][c].append(middle.add_(float(c == axis)))
        steps.add_(float(c == axis))
        for scheme, entry in (("forward", ahead), ("backward", behind)):
            if scheme in j:
                j[scheme][c].append(entry)
    dets = [determinant(j[scheme]) for scheme in schemes]
    least = dets[0]
    for det in dets[1:]:
        least = torch.minimum(least, det, out=least)
    return least


def resize(u: Tensor, shape: Sequence[int]) -> Tensor:
    """The field on another number of voxels over the same field of view, its values in the new voxels."""
    shape = tuple(shape)
    if tuple(u.shape[2:]) == shape:
        return u
    scale = u.new_tensor([new / old for new, old in zip(shape, u.shape[2:], strict=True)]).view(
        1, -1, *[1] * len(shape)
    )
    # Both are linear: the fewer voxels are scaled.
    return resize_image(u * scale, shape) if math.prod(shape) > u[0, 0].numel() else resize_image(u, shape).mul_(scale)


def resize_image(image: Tensor, shape: Sequence[int]) -> Tensor:
    """(N, C, *S) to (N, C, *shape): averaged where it shrinks, linear where it grows."""
    shape = tuple(shape)
    if tuple(image.shape[2:]) == shape:
        return image
    ndim = len(shape)
    shrunk = tuple(min(new, old) for new, old in zip(shape, image.shape[2:], strict=True))
    if shrunk != tuple(image.shape[2:]):
        pool = F.adaptive_avg_pool2d if ndim == 2 else F.adaptive_avg_pool3d
        image = pool(image, shrunk)  # type: ignore[arg-type]
    if shrunk != shape:
        image = F.interpolate(image, size=shape, mode="bilinear" if ndim == 2 else "trilinear", align_corners=False)
    return image


def gaussian_kernel(sigma: float, device: torch.device | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
    """1-D weights of a Gaussian of ``sigma`` voxels, cut at 3 sigma, sum 1."""
    radius = max(1, int(3 * sigma + 0.5))
    x = torch.arange(-radius, radius + 1, device=device, dtype=dtype)
    weights = torch.exp(-x.square() / (2 * sigma**2))
    return weights / weights.sum()


def convolve_separable(x: Tensor, kernels: Sequence[Tensor | None], padding: str = "replicate") -> Tensor:
    """``x`` (N, C, *S) filtered along each spatial axis with an odd 1-D kernel (None: leave that axis).

    ``padding``: "replicate" repeats the edge, "constant" uses zeros.
    """
    ndim, channels = x.ndim - 2, x.shape[1]
    convolve = F.conv2d if ndim == 2 else F.conv3d
    for axis, kernel in enumerate(kernels):
        if kernel is None:
            continue
        radius = len(kernel) // 2
        view = [1] * (ndim + 2)
        view[axis + 2] = len(kernel)
        weight = kernel.to(x).view(view).expand(channels, *view[1:])
        if padding == "constant":
            pads = [0] * ndim
            pads[axis] = radius
            x = convolve(x, weight, padding=pads, groups=channels)
        else:
            edges = [0] * (2 * ndim)
            edges[2 * (ndim - 1 - axis)] = edges[2 * (ndim - 1 - axis) + 1] = radius
            x = convolve(F.pad(x, edges, mode="replicate"), weight, groups=channels)
    return x


def smooth(x: Tensor, sigma: float | Sequence[float], padding: str = "replicate") -> Tensor:
    """Gaussian of ``sigma`` voxels (per axis if a sequence; 0 leaves an axis) over (N, C, *S)."""
    ndim = x.ndim - 2
    sigmas = [float(sigma)] * ndim if isinstance(sigma, int | float) else [float(s) for s in sigma]
    kernels = [
        gaussian_kernel(s, x.device) if s > 0 and n > 1 else None for s, n in zip(sigmas, x.shape[2:], strict=True)
    ]
    return convolve_separable(x, kernels, padding)


def pad_tapered(u: Tensor, margin: int | Sequence[int]) -> Tensor:
    """``margin`` voxels more on every side, over which the edge's displacement fades to zero at the new border.

    Outside a field's grid ITK uses zero and Slicer repeats the border vector: with zero there, both agree.
    """
    ndim = check_field(u)
    margins = [margin] * ndim if isinstance(margin, int) else list(margin)
    edges = [m for margin in reversed(margins) for m in (margin, margin)]
    u = F.pad(u, edges, mode="replicate")
    for axis, m in enumerate(margins):
        if m == 0:
            continue
        ramp = torch.arange(m, device=u.device, dtype=u.dtype) / m
        view = [1] * u.ndim
        view[axis + 2] = m
        ramp = (ramp * ramp * (3 - 2 * ramp)).view(view)
        u.narrow(axis + 2, 0, m).mul_(ramp)
        u.narrow(axis + 2, u.shape[axis + 2] - m, m).mul_(ramp.flip(axis + 2))
    return u
