"""The few operations a refinement step is made of, in preallocated memory: filter, sample, differentiate, advect.

On a CPU these are ruled by memory traffic. Measured on two cores, three channels of 80x96x112: a separable filter as
banded matrix products takes 5.6 ms (grouped convolution 21 ms, pooling 57 ms), as the product is a tuned GEMM; reusing
buffers keeps large volumes from being mapped, faulted in and unmapped at every step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_BLOCK = 48
"""Rows of a band matrix that are multiplied at once; keeps the cost linear in the number of voxels."""


def box_weights(width: int) -> Tensor:
    """(width,) ones: the filter then sums over the window."""
    return torch.ones(width)


def gaussian_weights(sigma: float) -> Tensor:
    """(2 r + 1,) a Gaussian of ``sigma`` voxels integrated over each voxel, sum 1.

    Integrated rather than sampled, so that a sigma well below one voxel still means what it says.
    """
    radius = max(1, int(3 * sigma + 0.5))
    edges = torch.arange(-radius, radius + 2, dtype=torch.float64) - 0.5
    weights = torch.erf(edges / (sigma * 2**0.5)).diff()
    return (weights / weights.sum()).float()


class BandFilter:
    """A separable filter over (1, C, *shape) by products with banded matrices.

    Args:
        weights: an odd, symmetric kernel for each spatial axis; None leaves that axis alone.
        border: "zero" (nothing outside: self-adjoint) or "mean" (weights renormalized to sum 1 at the border).
    """

    def __init__(
        self,
        shape: Sequence[int],
        weights: Sequence[Tensor | None],
        border: str = "zero",
        *,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.shape = tuple(shape)
        self._bands: list[tuple[int, int, Tensor] | None] = []
        for n, kernel in zip(self.shape, weights, strict=True):
            if kernel is None or n == 1:
                self._bands.append(None)
                continue
            radius = len(kernel) // 2
            offset = torch.arange(n)[:, None] - torch.arange(n)[None, :]
            matrix = kernel.double()[(offset + radius).clamp(0, 2 * radius)] * (offset.abs() <= radius)
            if border == "mean":
                matrix = matrix / matrix.sum(1, keepdim=True)
            self._bands.append((n, radius, matrix.to(device=device, dtype=dtype)))

    def __call__(self, x: Tensor, out: Tensor, scratch: Tensor) -> Tensor:
        """``x`` filtered into ``out``; ``x``, ``out`` and ``scratch`` are contiguous, of one shape, and distinct."""
        axes = [axis for axis, band in enumerate(self._bands) if band is not None]
        if not axes:
            return out.copy_(x)
        source = x
        for done, axis in enumerate(axes):
            # The last product must land in ``out``; ``x`` itself is never written.
            target = out if (len(axes) - done) % 2 else scratch
            band = self._bands[axis]
            assert band is not None
            _multiply(source, axis, self.shape, band, target)
            source = target
        return out


def _multiply(x: Tensor, axis: int, shape: tuple[int, ...], band: tuple[int, int, Tensor], out: Tensor) -> None:
    n, radius, matrix = band
    after = 1
    for size in shape[axis + 1 :]:
        after *= size
    blocks = max(1, n // _BLOCK)
    step = -(-n // blocks)
    for low in range(0, n, step):
        high = min(n, low + step)
        first, last = max(0, low - radius), min(n, high + radius)
        part = matrix[low:high, first:last]
        if after == 1:
            torch.mm(x.view(-1, n)[:, first:last], part.T, out=out.view(-1, n)[:, low:high])
        else:
            torch.matmul(part, x.view(-1, n, after)[:, first:last], out=out.view(-1, n, after)[:, low:high])


class Sampler:
    """Linear interpolation of images on one grid at displaced voxels, in parallel and in small pieces.

    ``grid_sample`` uses one CPU thread per batch item, and large results cost more in page faults than in arithmetic:
    the grid is cut along its first axis into as many items as there are threads, in several rounds if it is large.
    """

    def __init__(
        self, shape: Sequence[int], *, device: torch.device | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        self.shape = tuple(shape)
        self.ndim = len(self.shape)
        self._grid = torch.empty((1, self.ndim, *self.shape), device=device, dtype=dtype)
        self._base = []
        self._scale = []
        for axis, n in enumerate(self.shape):
            view = [1] * self.ndim
            view[axis] = n
            scale = 2 / (n - 1) if n > 1 else 2.0
            self._base.append((torch.arange(n, device=device, dtype=dtype) * scale - float(n > 1)).view(view))
            self._scale.append(scale)
        self._pieces = self._cut()

    def _cut(self) -> list[tuple[int, int, int]]:
        """(first row, rows, batch items) of each round."""
        rows = self.shape[0]
        if self._grid.device.type != "cpu":
            return [(0, rows, 1)]
        threads = torch.get_num_threads()
        per_row = self._grid[0, 0, 0].numel()
        block = max(threads, min(rows, (1 << 21) // max(1, per_row)) // threads * threads)
        pieces, low = [], 0
        while low < rows:
            size = min(block, rows - low)
            items = threads if size >= threads else 1
            size -= size % items
            pieces.append((low, size, items))
            low += size
        return pieces

    def aim(self, u: Tensor) -> None:
        """Point at ``p + u(p)`` for the calls to come; ``u`` (1, ndim, *shape) in voxels."""
        for axis in range(self.ndim):  # grid_sample wants the last axis first
            torch.add(self._base[axis], u[0, axis], alpha=self._scale[axis], out=self._grid[0, self.ndim - 1 - axis])

    def take(self, image: Tensor, out: Tensor, padding: str = "border") -> Tensor:
        """``image`` (1, C, *shape) at the points aimed at, into ``out`` (1, C, *shape), which is not ``image``."""
        channels = image.shape[1]
        points = self._grid[0].movedim(0, -1)
        for low, size, items in self._pieces:
            grid = points[low : low + size].unflatten(0, (items, size // items))
            part = F.grid_sample(image.expand(items, *image.shape[1:]), grid, "bilinear", padding, align_corners=True)
            target = out[0, :, low : low + size].unflatten(1, (items, size // items))
            target.copy_(part.transpose(0, 1))
        return out[:, :channels]


def central_difference(x: Tensor, axis: int, out: Tensor) -> Tensor:
    """Half the difference of the two neighbors along spatial ``axis`` of (1, C, *S), into ``out``; 0 at the border."""
    dim, n = axis + 2, x.shape[axis + 2]
    if n < 3:
        return out.zero_()
    out.narrow(dim, 0, 1).zero_()
    out.narrow(dim, n - 1, 1).zero_()
    inner = out.narrow(dim, 1, n - 2)
    torch.sub(x.narrow(dim, 2, n - 2), x.narrow(dim, 0, n - 2), out=inner)
    inner.mul_(0.5)
    return out


def central_difference_adjoint(x: Tensor, axis: int, out: Tensor) -> Tensor:
    """The transpose of ``central_difference``, added to ``out``."""
    dim, n = axis + 2, x.shape[axis + 2]
    if n < 3:
        return out
    inner = x.narrow(dim, 1, n - 2)
    out.narrow(dim, 2, n - 2).add_(inner, alpha=0.5)
    out.narrow(dim, 0, n - 2).sub_(inner, alpha=0.5)
    return out
