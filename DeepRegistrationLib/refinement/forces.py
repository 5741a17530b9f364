"""Similarities with their exact gradients, for refining a field without autograd.

Each force holds what depends on the fixed image alone and is called with the moving image's channels as warped by the
current field. It returns the mean similarity and dS/dwarped, the gradient of the similarity *summed* over voxels.
The engine multiplies with the gradient of the warped channels, which is exact for a compositive update.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ..fields.kernels import BandFilter, box_weights, central_difference, central_difference_adjoint


class Force(Protocol):
    """What the engine asks of a similarity."""

    def __call__(self, warped: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(scalar mean similarity, (1, C, *S) gradient) at ``warped`` (1, C, *S).

        ``weight`` (1, 1, *S), 0 to 1, says how far each voxel counts; it is taken as constant. What a force derives
        from it is kept for as long as it is given the same tensor.
        The gradient lies in a buffer of the force and is valid until the next call.
        """


SPARSE_FROM = 9
"""Edge of a window in voxels from which on every second window along that axis is looked at: neighbors share nearly all
they hold, and the filters cost a quarter. Their edges stay sharp: though a voxel is then in 5 or 6 of 11 (the force's
Gaussian evens that out), brains lose 0.001 Dice where windows fade out so that all count alike. On coarse levels, with
windows of 7, results of some kinds change by 0.002 to 0.003."""


class Ssd:
    """Negative mean squared difference over channels (higher is better)."""

    def __init__(self, fixed: Tensor) -> None:
        self._fixed = fixed
        self._out = torch.empty_like(fixed)

    def __call__(self, warped: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
        residual = torch.sub(self._fixed, warped, out=self._out)
        weighted = residual.square() if weight is None else residual.square() * weight
        value = -_mean(weighted, weight)
        if weight is not None:
            residual.mul_(weight)
        return value, residual.mul_(2.0)


class Lncc:
    """Squared local normalized cross-correlation over a box window (blind to the sign of the contrast).

    S = sum_x w_x (|cov_x| + eps)^2 / ((var_f + eps)(var_m + eps)) with means over the voxels of the window that count
    (Avants 2008, equation 6, has no eps), over every second window along axes where they are wide, times two. With
    eps above the line as well, nothing is larger than S of an image with itself, 1; else more contrast would be, and
    smooth images be squeezed to gain it. The gradient is the exact adjoint, window means of its own included.

    Args:
        fixed: (1, 1, *S), intensities of about unit range.
        width: edge of the window in voxels along each axis, odd.
        eps: variance below which contrast counts as noise.
        spare: up to two tensors (1, 3, *S) that a call may overwrite; what is missing is allocated.
    """

    def __init__(
        self, fixed: Tensor, width: tuple[int, ...], eps: float = 1e-4, spare: tuple[Tensor, ...] = ()
    ) -> None:
        shape = tuple(fixed.shape[2:])
        self._fixed, self._eps = fixed, eps
        like = {"device": fixed.device, "dtype": fixed.dtype}
        strides = [2 if w >= SPARSE_FROM else 1 for w in width]
        weights = [box_weights(w) if w > 1 else None for w in width]
        box = BandFilter(shape, weights, "mean", strides, **like)  # type: ignore[arg-type]
        buffers = [x for x in spare if x.shape == (1, 3, *shape)]
        buffers += [torch.empty((1, 3, *shape), **like) for _ in range(2 - len(buffers))]  # type: ignore[call-overload]
        self._voxels, scratch = buffers[:2]
        self._windows, self._work = (torch.empty((1, 3, *box.wanted), **like) for _ in range(2))  # type: ignore[call-overload]
        self._filter = box.bound(self._voxels, self._windows, scratch)
        self._filter_back = box.adjoint().bound(self._work, self._voxels, scratch)
        self._parts, self._sums, self._spread = (x.split(1, 1) for x in (self._voxels, self._windows, self._work))
        self._weight: Tensor | None = None
        self._norm: Tensor | None = None
        self._counts: Tensor | None = None
        self._mean, self._gain = (torch.empty_like(self._sums[0]) for _ in range(2))
        self._centers = (slice(None), slice(None), *(slice(None, None, stride) for stride in strides))
        self._times = fixed.numel() / self._mean.numel()
        self._reset(None)

    def _reset(self, weight: Tensor | None) -> None:
        """What share of a window counts, and there the means and variances of the fixed image."""
        (share, first, second), (norm, mean, square), f = self._parts, self._sums, self._fixed
        self._weight = weight
        if weight is None:
            share.fill_(1)
        else:
            share.copy_(weight)
        torch.mul(share, f, out=first)
        torch.mul(first, f, out=second)
        self._filter()
        self._norm = self._counts = None
        if weight is not None:
            self._counts = weight[self._centers].contiguous()
            self._norm = norm.clamp_min(1e-8).reciprocal_()
            self._windows[:, 1:].mul_(self._norm)
        self._mean.copy_(mean)
        variance = square.addcmul_(mean, mean, value=-1).clamp_min_(0).add_(self._eps)
        torch.reciprocal(variance, out=self._gain).mul_(2.0)

    def __call__(self, warped: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
        f, m, (a, b, c), (mean, square, cross) = self._fixed, warped, self._parts, self._sums
        if weight is not self._weight:
            self._reset(weight)
        if weight is None:
            a.copy_(m)
        else:
            torch.mul(m, weight, out=a)
        torch.mul(a, m, out=b)
        torch.mul(a, f, out=c)
        self._filter()
        a, b, c = self._spread
        if self._norm is not None:
            self._windows.mul_(self._norm)
        var = square.addcmul_(mean, mean, value=-1).clamp_min_(0).add_(self._eps)
        cov = cross.addcmul_(self._mean, mean, value=-1)
        cov.add_(torch.sign(cov, out=b), alpha=self._eps)
        # dS/dm_y = sum over windows x that hold y of  a_x (f_y - mean_f) - b_x (m_y - mean_m)
        coefficient = torch.div(cov, var, out=a).mul_(self._gain)  # 2 cov / (var_f var_m)
        if self._counts is not None:
            coefficient.mul_(self._counts)
        similarity = 0.5 * _mean(torch.mul(cov, coefficient, out=b), self._counts)
        if self._norm is not None:
            coefficient.mul_(self._norm)
        coefficient.mul_(self._times)
        torch.mul(coefficient, cov.div_(var), out=b)
        torch.mul(coefficient, self._mean, out=c)
        c.addcmul_(b, mean, value=-1)
        self._filter_back()
        of_fixed, of_moving, rest = self._parts
        out = of_fixed.mul_(f).addcmul_(of_moving, m, value=-1).sub_(rest)
        if weight is not None:
            out.mul_(weight)
        return similarity, out


class LocalGradient:
    """|cos| of the angle between the local mean gradients of two images (Deform-GAN, equations 1 to 3).

    Central differences, averaged over a box of ``width`` voxels, normalized with a noise level ``eps`` that is a
    fraction of the typical gradient, so that intensity units do not matter: (|f m| + eps_f eps_m) / sqrt((f^2 +
    eps_f^2)(m^2 + eps_m^2)), 1 for an image with itself, which is the most there is. Exact gradient.
    """

    def __init__(
        self,
        fixed: Tensor,
        moving: Tensor,
        width: tuple[int, ...],
        step: tuple[float, ...] | None = None,
        fraction: float = 0.5,
    ) -> None:
        shape = tuple(fixed.shape[2:])
        self._ndim = len(shape)
        like = {"device": fixed.device, "dtype": fixed.dtype}
        weights = [box_weights(w) / w if w > 1 else None for w in width]
        self._box = BandFilter(shape, weights, **like)  # type: ignore[arg-type]
        self._step = step or (1.0,) * self._ndim
        self._raw, self._scratch = (torch.empty((1, self._ndim, *shape), **like) for _ in range(2))  # type: ignore[call-overload]
        self._gradient = torch.empty_like(self._raw)
        self._filter = self._box.bound(self._raw, self._gradient, self._scratch)
        self._out = torch.empty_like(fixed)
        other = self._local(moving)
        self._eps = fraction**2 * _typical_square(other)
        self._unit = self._local(fixed).clone()
        eps = fraction**2 * _typical_square(self._unit)
        norm = (self._unit.square().sum(1, keepdim=True) + eps).rsqrt_()
        self._unit.mul_(norm)
        self._quiet = norm.mul_((eps * self._eps) ** 0.5)

    def _local(self, image: Tensor) -> Tensor:
        for axis in range(self._ndim):
            central_difference(image, axis, self._raw[:, axis : axis + 1]).div_(self._step[axis])
        self._filter()
        return self._gradient

    def __call__(self, warped: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
        g = self._local(warped)
        norm = g.square().sum(1, keepdim=True).add_(self._eps).rsqrt_()
        cosine = (g * self._unit).sum(1, keepdim=True).mul_(norm)
        sign = cosine.sign()
        value = cosine.abs_().addcmul_(self._quiet, norm)
        # dS/dg = (sign unit_f - S g / |g|) / |g|
        back = torch.mul(g, value * norm, out=self._raw).neg_().addcmul_(self._unit, sign)
        back.mul_(norm)
        if weight is not None:
            back.mul_(weight)
            value = value * weight
        self._filter()
        self._out.zero_()
        for axis in range(self._ndim):
            central_difference_adjoint(self._gradient[:, axis : axis + 1].div_(self._step[axis]), axis, self._out)
        return _mean(value, weight), self._out


def _mean(value: Tensor, weight: Tensor | None) -> Tensor:
    """Of what counts: a mean over all voxels would grow with the part of the moving image that is in view."""
    return value.mean() if weight is None else value.sum() / (weight.sum() * value.shape[1]).clamp_min(1e-6)


def _typical_square(gradient: Tensor) -> float:
    """Mean squared length of the gradients that are there at all (above 1 % of the largest)."""
    square = gradient.square().sum(1).flatten()
    strong = square[square > 1e-4 * square.max()]
    return float(strong.mean()) if len(strong) else 1.0


def match_intensities(fixed: Tensor, moving: Tensor, warped: Tensor, bins: int = 64) -> Tensor:
    """``moving`` with its intensities replaced by the mean of ``fixed`` where ``warped`` has them; any curve."""
    last = bins - 1.001
    at = (warped * bins).clamp_(0, last).int().flatten()
    count = torch.bincount(at, minlength=bins).float()
    total = torch.zeros(bins, device=fixed.device, dtype=fixed.dtype)
    total.index_add_(0, at, fixed.flatten())
    known = torch.nonzero(count > 20).flatten()
    if len(known) == 0:
        return moving.clone()
    # a bin that is hardly seen takes the curve of the nearest one that is
    nearest = known[(torch.arange(bins, device=known.device)[:, None] - known[None]).abs().argmin(1)]
    curve = (total / count.clamp_min(1))[nearest]
    position = (moving * bins - 0.5).clamp_(0, last)
    low = position.int()
    share = position.sub_(low)
    below = curve.index_select(0, low.flatten()).view_as(share)
    return torch.lerp(below, curve.index_select(0, low.add_(1).clamp_max_(bins - 1).flatten()).view_as(share), share)


def translate(fixed: Tensor, moving: Tensor, warped: Tensor, least: float = 0.2) -> tuple[Tensor, Tensor] | None:
    """The pair with one image in the other's contrast, or None where intensities do not tell enough of each other.

    Of the two curves, fixed to moving and back, the one that explains more is taken (correlation ratio, Roche 1998):
    two tissues that look alike in one image can only be told apart in the other.
    """
    there = (fixed > 0.05) & (warped > 0.05)
    if int(there.sum()) < 100:
        return None
    as_moving = match_intensities(warped, fixed, fixed)
    as_fixed = match_intensities(fixed, warped, warped)

    def explained(target: Tensor, guess: Tensor) -> float:
        x = target[there]
        return 1 - float((x - guess[there]).square().mean() / x.var().clamp_min(1e-12))

    forth, back = explained(warped, as_moving), explained(fixed, as_fixed)
    if max(forth, back) < least:
        return None
    return (as_moving, moving) if forth >= back else (fixed, match_intensities(fixed, moving, warped))


def structure_mask(
    fixed: Tensor, warped: Tensor, noise: float = 0.015, radius: int = 2, spare: tuple[Tensor, ...] = ()
) -> Tensor:
    """(1, 1, *S) 0 to 1: how far there is something to align, rather than background and its noise, in either image.

    Similarities that normalize by the local contrast take noise for structure. Of the local variance, what exceeds
    the square of ``noise`` (of the intensity range) counts. ``spare``: three tensors (1, 2 or more, *S) to overwrite.
    """
    shape = tuple(fixed.shape[2:])
    weights = [box_weights(2 * radius + 1) / (2 * radius + 1) if n > 2 * radius else None for n in shape]
    box = BandFilter(shape, weights, "mean", device=fixed.device, dtype=fixed.dtype)
    powers, means, scratch = (x[:, :2] for x in spare) if spare else (fixed.new_empty(1, 2, *shape) for _ in range(3))
    variance = torch.zeros_like(fixed)
    for image in (fixed, warped):
        powers[:, :1] = image
        torch.square(image, out=powers[:, 1:])
        mean, square = box(powers, means, scratch).split(1, 1)
        variance += square.addcmul_(mean, mean, value=-1).clamp_min_(0)
    variance.square_()
    return variance.div_(variance + noise**4)
