"""Mutual information as a force: what one intensity says of the other may be any relation, also one of many to many.

Where two tissues look alike in either image no curve from intensity to intensity explains the pair, and self-similarity
differs as well. The joint histogram still tells which pairs of intensities belong together (Viola 1997; as a force on
each voxel: Hermosillo 2002).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..fields.kernels import gaussian_weights
from ..fields.precision import in_double

BINS = 32
SIGMA = 1.0
"""Bins: the Gaussian on the joint histogram."""
_BODY = 0.03


class Information:
    """S = mean of log p(f, m) / (p(f) p(m)), with its gradient in m at each voxel; the histogram is renewed each call.

    Args:
        fixed: (1, 1, *S), 0 (background) to 1.
    """

    def __init__(self, fixed: Tensor) -> None:
        self._shape = fixed.shape
        self._body = fixed > _BODY
        self._fixed = _Bins(_position(fixed))
        self._at = fixed.new_empty(1, 1, fixed.numel(), 2)
        torch.mul(self._fixed.position, 2 / (BINS - 1), out=self._at[0, 0, :, 1]).sub_(1)
        self._at_moving = self._at[0, 0, :, 0]

    def __call__(self, warped: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
        m = _position(warped)
        count = (self._body | (warped > _BODY)).to(warped)
        if weight is not None:
            count = count * weight
        joint = blurred(_joint(self._fixed, _Bins(m), count.flatten()))
        total = joint.sum().clamp_min(1e-6)
        p = joint / total
        floor = 0.02 / BINS**2
        apart = (p.sum(1, keepdim=True) + floor * BINS) * (p.sum(0, keepdim=True) + floor * BINS)
        table = ((p + floor) / apart).log()
        slope = torch.zeros_like(table)
        slope[:, 1:-1] = 0.5 * (table[:, 2:] - table[:, :-2])
        torch.mul(m, 2 / (BINS - 1), out=self._at_moving).sub_(1)
        gradient = F.grid_sample(slope[None, None], self._at, "bilinear", "border", align_corners=True)
        gradient = gradient.view(self._shape).mul_((BINS - 1) * count)
        return (p * table).sum(), gradient


def blurred(table: Tensor) -> Tensor:
    """A Gaussian of ``SIGMA`` bins over (BINS, BINS), zeros around."""
    kernel = gaussian_weights(SIGMA).to(table).view(1, 1, -1, 1)
    half = kernel.numel() // 2
    table = F.conv2d(table[None, None], kernel, padding=(half, 0))
    return F.conv2d(table, kernel.transpose(2, 3), padding=(0, half))[0, 0]


def _position(x: Tensor) -> Tensor:
    """Flat, in bins."""
    return x.flatten().clamp(0, 1) * (BINS - 1)


class _Bins:
    """Flat positions in bins: the bin below each, and its share and that of the next one."""

    def __init__(self, position: Tensor) -> None:
        self.position = position
        self.low = position.floor().clamp_(max=BINS - 2)
        self.above = position - self.low
        self.below = 1 - self.above


def _joint(f: _Bins, m: _Bins, count: Tensor) -> Tensor:
    """(BINS, BINS) counts, each voxel shared by the four bins around it."""
    index = (f.low * BINS + m.low).long()
    total = torch.zeros(BINS * BINS, device=index.device, dtype=count.dtype)
    for shift, part in (
        (0, f.below * m.below),
        (1, f.below * m.above),
        (BINS, f.above * m.below),
        (BINS + 1, f.above * m.above),
    ):
        total += torch.bincount(index + shift, part.mul_(count), BINS * BINS)
    return total.view(BINS, BINS)


def normalized_information(fixed: Tensor, warped: Tensor, weight: Tensor | None = None) -> float:
    """Studholme's (H(f) + H(m)) / H(f, m) - 1 of two images (1, 1, *S) of about 0 to 1, background and all.

    ``weight`` (1, 1, *S): how far each voxel counts.
    """
    count = torch.ones_like(fixed) if weight is None else weight
    p = in_double(blurred(_joint(_Bins(_position(fixed)), _Bins(_position(warped)), count.flatten())))
    p = p / p.sum().clamp_min(1e-9)
    both, one, other = (float(-torch.special.xlogy(q, q).sum()) for q in (p, p.sum(0), p.sum(1)))
    return (one + other) / max(both, 1e-6) - 1
