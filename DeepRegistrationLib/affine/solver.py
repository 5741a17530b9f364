"""Damped Gauss-Newton for rigid, similarity and affine matrices, many at once, and what is said about such matrices.

Matrices are A|t (B, ndim, ndim + 1) in the normalized coordinates of ``affine_measure``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..progress import Reporter
from .content import Content
from .measure import JointMeasure


def rotation(vector: Tensor) -> Tensor:
    """(..., 3) rotation vectors, or (..., 1) angles in the plane, in radians: (..., ndim, ndim)."""
    return torch.linalg.matrix_exp(_skew(vector))


def _skew(vector: Tensor) -> Tensor:
    zero = torch.zeros_like(vector[..., 0])
    if vector.shape[-1] == 1:
        rows = [zero, -vector[..., 0], vector[..., 0], zero]
        return torch.stack(rows, -1).unflatten(-1, (2, 2))
    x, y, z = vector.unbind(-1)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))


def _corners(n: int) -> Tensor:
    points = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * n) * 0.7
    return torch.cat([points, torch.ones(len(points), 1)], 1)


def far_apart(matrices: Tensor, distance: float) -> Tensor:
    """Those that move the corners of the anatomy ``distance`` radii or more away from all before them."""
    return matrices[_apart(matrices, range(len(matrices)), distance, len(matrices))]


def distinct(matrices: Tensor, losses: Tensor, distance: float, keep: int) -> Tensor:
    """The ``keep`` best that lie ``distance`` radii or more apart, best first."""
    return matrices[_apart(matrices, losses.argsort().tolist(), distance, keep)]


def _apart(matrices: Tensor, order: Iterable[int], distance: float, keep: int) -> list[int]:
    moved = (_corners(matrices.shape[1]) @ matrices.transpose(1, 2)).numpy()
    chosen: list[int] = []
    for i in order:
        apart = moved[chosen] - moved[i]
        if (np.sqrt(np.einsum("nca,nca->nc", apart, apart)).mean(1) > distance).all():
            chosen.append(i)
            if len(chosen) == keep:
                break
    return chosen


def effort(matrices: Tensor, start: Tensor, sizes: Sequence[float] = (1.0,)) -> Tensor:
    """(B,) a small loss for turning, scaling to none of ``sizes`` and leaving the ``start`` (ndim, ndim + 1).

    It decides between candidates that agree about as well. The last part has a bound, for headers may say anything.
    """
    u, _, v = torch.linalg.svd(matrices[..., :-1])
    trace = (u @ v).diagonal(dim1=1, dim2=2).sum(1)
    # A turn is not dearer for being a large one: the header's word is weighed elsewhere.
    angle = ((trace - 1) / 2 if matrices.shape[1] == 3 else trace / 2).clamp(-1, 1).arccos().clamp_max(0.8)
    away = (matrices[..., -1] - start[:, -1]).square().sum(1)
    grown = (growth(matrices)[:, None] - torch.tensor(sizes).log()).abs().amin(1)
    return 0.02 * angle.square() + 0.2 * grown.square() + 0.004 * (1 - (-away).exp())


def growth(matrices: Tensor) -> Tensor:
    """(B,) logarithm of the mean scale."""
    return torch.linalg.det(matrices[..., :-1]).abs().log() / matrices.shape[1]


def plausible(matrix: Tensor) -> bool:
    """Whether A|t (ndim, ndim + 1) neither mirrors nor stretches or shrinks anything to twice or half its length."""
    scales = torch.linalg.svdvals(matrix[:, :-1])
    return bool(torch.linalg.det(matrix[:, :-1]) > 0) and float(scales.min()) > 0.5 and float(scales.max()) < 2


@dataclass(frozen=True)
class Prior:
    """Holds scale and shear back, E = (A'A / s^2 - I) / 2, and more so along the axis of a stack of few slices.

    Attributes:
        weights: (M, ndim) directions w times their strength; the penalty is the sum of their |E w|^2.
        sizes: those that cost nothing; s is the one of them that is nearest to a matrix's own.
    """

    weights: Tensor
    sizes: tuple[float, ...] = (1.0,)

    @classmethod
    def of(cls, fixed: Content, moving: Content, sizes: tuple[float, ...] = (1.0,)) -> Prior:
        rows = [np.eye(fixed.grid.ndim) * 0.12]
        for content in (fixed, moving):
            lack = np.clip(20 / content.slices - 1, 0, 3)
            rows.append(content.grid.directions.T * lack[:, None] * 0.3)
        return cls(torch.from_numpy(np.concatenate(rows)).float(), sizes)

    def penalty(self, matrices: Tensor) -> Tensor:
        return (self._strain(self._sized(matrices)) @ self.weights.T).square().sum((1, 2))

    def _nearest(self, matrices: Tensor) -> Tensor:
        """(B, 1, 1) of ``sizes``."""
        sizes = torch.tensor(self.sizes)
        nearest = (growth(matrices)[:, None] - sizes.log()).abs().argmin(1)
        return sizes[nearest][:, None, None]

    def _sized(self, matrices: Tensor) -> Tensor:
        """(B, ndim, ndim) the linear parts over those sizes."""
        return matrices[..., :-1] / self._nearest(matrices)

    @staticmethod
    def _strain(a: Tensor) -> Tensor:
        return (a.transpose(1, 2) @ a - torch.eye(a.shape[1])) / 2

    def derivatives(self, matrices: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient and Gauss-Newton matrix with respect to the rows of A|t."""
        batch, n = matrices.shape[:2]
        a, eye = self._sized(matrices), torch.eye(n)
        # dE_ij / dA_kl = (delta_il A_kj + delta_jl A_ki) / 2
        de = (torch.einsum("il,bkj->bijkl", eye, a) + torch.einsum("jl,bki->bijkl", eye, a)) / 2
        de = de / self._nearest(matrices)[..., None, None]
        residual = self._strain(a) @ self.weights.T
        jacobian = torch.einsum("bijkl,wj->biwkl", de, self.weights)
        jacobian = torch.cat([jacobian, torch.zeros(*jacobian.shape[:-1], 1)], -1).reshape(batch, -1, n * (n + 1))
        gradient = 2 * torch.einsum("brp,br->bp", jacobian, residual.flatten(1))
        return gradient, 2 * jacobian.transpose(1, 2) @ jacobian


def _basis(matrices: Tensor, freedom: str) -> Tensor:
    """(B, parameters, ndim * (ndim + 1)): the change of A|t with each parameter."""
    batch, n = matrices.shape[:2]
    if freedom == "affine":
        return torch.eye(n * (n + 1)).expand(batch, -1, -1)
    turns = _skew(torch.eye(3)) if n == 3 else _skew(torch.eye(1))
    if freedom == "similarity":
        turns = torch.cat([turns, torch.eye(n)[None]])
    linear = turns @ matrices[:, None, :, :-1]
    linear = torch.cat([linear, torch.zeros(*linear.shape[:-1], 1)], -1).flatten(2)
    shift = torch.zeros(n, n, n + 1)
    shift[range(n), range(n), n] = 1
    return torch.cat([linear, shift.flatten(1).expand(batch, -1, -1)], 1)


def _moved(matrices: Tensor, step: Tensor, freedom: str) -> Tensor:
    n = matrices.shape[1]
    if freedom == "affine":
        return matrices + step.unflatten(1, (n, n + 1))
    turns = 3 if n == 3 else 1
    linear = rotation(step[:, :turns]) @ matrices[..., :-1]
    if freedom == "similarity":
        linear = linear * step[:, turns].exp()[:, None, None]
    return torch.cat([linear, (matrices[..., -1] + step[:, -n:])[..., None]], -1)


def improve(
    measure: JointMeasure, prior: Prior, matrices: Tensor, freedom: str, steps: int, reporter: Reporter
) -> tuple[Tensor, Tensor]:
    """Levenberg-Marquardt on all candidates at once: the better matrices (B, ndim, ndim + 1) and their losses (B,)."""
    damping = torch.full((len(matrices),), 0.03)
    best = measure.evaluate(matrices)
    loss = best.loss + prior.penalty(matrices)
    gradient, curvature = best.gradient, best.curvature
    for _ in range(steps):
        reporter.check()
        basis = _basis(matrices, freedom)
        pg, ph = prior.derivatives(matrices)
        g = basis @ (gradient + pg)[..., None]
        h = basis @ (curvature + ph) @ basis.transpose(1, 2)
        diagonal = h.diagonal(dim1=1, dim2=2)
        h = h + torch.diag_embed(diagonal * damping[:, None] + 1e-4 * diagonal.amax(1, keepdim=True) + 1e-8)
        step = -torch.linalg.solve(h, g)[..., 0]
        step = step * (0.4 / step.norm(dim=1, keepdim=True).clamp_min(0.4))
        trial = _moved(matrices, step, freedom)
        at = measure.evaluate(trial)
        trial_loss = at.loss + prior.penalty(trial)
        better = trial_loss < loss
        matrices = torch.where(better[:, None, None], trial, matrices)
        loss = torch.where(better, trial_loss, loss)
        gradient = torch.where(better[:, None], at.gradient, gradient)
        curvature = torch.where(better[:, None, None], at.curvature, curvature)
        damping = torch.where(better, damping / 4, damping * 5).clamp_(1e-3, 1e3)
        if float(step.abs().amax()) < 5e-4:
            break
    return matrices, loss
