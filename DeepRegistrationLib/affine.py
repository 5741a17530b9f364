"""The affine stage: a matrix that brings two images roughly together, whatever their contrast, grid or orientation.

Coarse to fine, as in FLIRT (Jenkinson 2001): centers and shifts, then rotations are tried exhaustively on a few
thousand points; the best few are improved rigidly, the best of these as an affine. Each improvement is damped
Gauss-Newton on normalized mutual information, all candidates in one batch. Where the images start is always among the
candidates, and the answer is never worse than it by the final measure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from .affine_measure import JointMeasure, make_side
from .affine_pyramid import Content, find_content
from .errors import InputError
from .image import Image
from .progress import SILENT, Reporter


@dataclass(frozen=True)
class AffineSettings:
    """What the affine stage may do.

    Attributes:
        kind: "rigid" allows rotation and translation, "affine" also scale and shear.
        largest_rotation: degrees that are searched around the starting orientation.
    """

    kind: Literal["affine", "rigid"] = "affine"
    largest_rotation: float = 45.0


@dataclass(frozen=True)
class _Pass:
    """One round of improvement: ``spacing`` relative to the anatomy's size."""

    spacing: float
    points: int
    bins: int
    steps: int
    freedom: Literal["rigid", "similarity", "affine"]
    keep: int


_SEARCH = _Pass(1 / 20, 2500, 16, 0, "rigid", 12)
_PASSES = (
    _Pass(1 / 20, 5000, 20, 12, "rigid", 6),
    _Pass(1 / 20, 5000, 20, 8, "similarity", 4),
    _Pass(1 / 40, 12000, 32, 10, "affine", 2),
    _Pass(1 / 70, 30000, 32, 8, "affine", 1),
)


def align(
    fixed: Image,
    moving: Image,
    settings: AffineSettings = AffineSettings(),  # noqa: B008 - frozen
    *,
    fixed_mask: np.ndarray | None = None,
    moving_mask: np.ndarray | None = None,
    reporter: Reporter = SILENT,
) -> np.ndarray:
    """The matrix that maps points of ``fixed`` onto ``moving``.

    Args:
        fixed, moving: both 2-D or both 3-D, of any contrast, grid and orientation.
        fixed_mask, moving_mask: arrays of the image's shape; where they are 0 the image is not looked at.

    Returns:
        (ndim + 1, ndim + 1) homogeneous, LPS mm to LPS mm, fixed point to moving point.

    Raises:
        InputError: if the dimensions differ, a mask does not fit, or an image is constant.
        Cancelled: if the reporter's token is set.
    """
    if fixed.ndim != moving.ndim:
        raise InputError(
            f"The fixed image has {fixed.ndim} dimensions and the moving image {moving.ndim}; both must have the same."
        )
    with torch.no_grad():
        reporter(0.0, "finding the anatomy")
        a = find_content(fixed, fixed_mask)
        reporter(0.2, "finding the anatomy")
        b = find_content(moving, moving_mask)
        search = _Search(a, b, settings, reporter)
        return search.run()


class _Search:
    """The candidates of one pair on their way from many to one."""

    def __init__(self, fixed: Content, moving: Content, settings: AffineSettings, reporter: Reporter) -> None:
        self.fixed, self.moving, self.settings, self.reporter = fixed, moving, settings, reporter
        self.ndim = fixed.grid.ndim
        self.size = min(fixed.size, moving.size)
        self.radius = self.size / 2
        self._prior = _Prior.of(fixed, moving)

    def run(self) -> np.ndarray:
        self.reporter(0.4, "trying orientations")
        measure = self._measure(_SEARCH)
        candidates = self._first_candidates(measure)
        for number, each in enumerate(_PASSES):
            if self.settings.kind == "rigid" and each.freedom == "similarity":
                continue
            freedom = "rigid" if self.settings.kind == "rigid" else each.freedom
            self.reporter(0.5 + 0.5 * number / len(_PASSES), f"{freedom}, pass {number + 1} of {len(_PASSES)}")
            measure = self._measure(each)
            candidates, losses = improve(measure, self._prior, candidates, freedom, each.steps, self.reporter)
            candidates = _distinct(candidates, losses, 0.05, each.keep)
        start = self._start()[None]
        best = torch.cat([start, candidates[:1]])
        losses = measure.losses(best) + self._prior.penalty(best)
        winner = int(losses.argmin()) if _plausible(best[1]) else 0
        self.reporter(1.0, "aligned")
        return self._to_world(best[winner])

    def _measure(self, each: _Pass) -> JointMeasure:
        spacing = self.size * each.spacing
        f = make_side(self.fixed, self.fixed.center, self.radius, spacing, each.points, each.bins)
        m = make_side(self.moving, self.moving.center, self.radius, spacing, each.points, each.bins)
        return JointMeasure(f, m, each.bins)

    def _start(self) -> Tensor:
        """(ndim, ndim + 1) the identity in mm."""
        return self._shift(self.fixed.center - self.moving.center)

    def _shift(self, shift: np.ndarray) -> Tensor:
        t = torch.from_numpy(shift / self.radius).float()
        return torch.cat([torch.eye(self.ndim), t[:, None]], 1)

    def _first_candidates(self, measure: JointMeasure) -> Tensor:
        n = self.ndim
        middle = (self.moving.middle - self.moving.center) - (self.fixed.middle - self.fixed.center)
        starts = torch.stack([self._start(), self._shift(np.zeros(n)), self._shift(middle)])
        axis = torch.tensor([-0.5, -0.25, 0.0, 0.25, 0.5])
        lattice = torch.cartesian_prod(*[axis] * n)
        shifted = starts[:, None].repeat(1, len(lattice), 1, 1)
        shifted[..., -1] += lattice
        shifted = shifted.flatten(0, 1)
        kept = torch.cat([starts, _distinct(shifted, measure.losses(shifted), 0.3, 3)])
        rotations = self._rotations()
        turned = kept[:, None].repeat(1, len(rotations), 1, 1)
        turned[..., :-1] = rotations
        turned = turned.flatten(0, 1)
        losses = measure.losses(turned)
        return torch.cat([starts, _distinct(turned, losses, 0.3, _SEARCH.keep)])

    def _rotations(self) -> Tensor:
        largest = np.deg2rad(self.settings.largest_rotation)
        count = 3 if self.ndim == 3 else 6
        axis = torch.linspace(-largest, largest, 2 * count + 1)
        vectors = torch.cartesian_prod(axis, axis, axis) if self.ndim == 3 else axis[:, None]
        return rotation(vectors[vectors.norm(dim=1) <= largest * 1.01])

    def _to_world(self, matrix: Tensor) -> np.ndarray:
        n = self.ndim
        result = np.eye(n + 1)
        result[:n, :n] = matrix[:, :-1].double().numpy()
        result[:n, n] = self.moving.center + matrix[:, -1].double().numpy() * self.radius
        result[:n, n] -= result[:n, :n] @ self.fixed.center
        return result


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


def _distinct(matrices: Tensor, losses: Tensor, distance: float, keep: int) -> Tensor:
    """The ``keep`` best that move the corners of the anatomy ``distance`` radii or more apart, best first."""
    moved = _corners(matrices.shape[1]) @ matrices.transpose(1, 2)
    chosen: list[int] = []
    for i in losses.argsort().tolist():
        if all(float((moved[i] - moved[j]).norm(dim=1).mean()) > distance for j in chosen):
            chosen.append(i)
            if len(chosen) == keep:
                break
    return matrices[chosen]


def _plausible(matrix: Tensor) -> bool:
    scales = torch.linalg.svdvals(matrix[:, :-1])
    return bool(torch.linalg.det(matrix[:, :-1]) > 0) and float(scales.min()) > 0.5 and float(scales.max()) < 2


@dataclass(frozen=True)
class _Prior:
    """Holds scale and shear back, more along the axis of a stack of few slices: |E|^2 and |E d|^2, E = (A'A - I) / 2."""

    weights: Tensor  # (ndim, ndim): rows w so that the penalty is |E w'|^2

    @classmethod
    def of(cls, fixed: Content, moving: Content) -> _Prior:
        rows = [np.eye(fixed.grid.ndim) * 0.3]
        for content in (fixed, moving):
            lack = np.clip(20 / content.slices - 1, 0, 3)
            rows.append(content.grid.directions.T * lack[:, None])
        return cls(torch.from_numpy(np.concatenate(rows)).float() * 0.3)

    def penalty(self, matrices: Tensor) -> Tensor:
        return (self._strain(matrices) @ self.weights.T).square().sum((1, 2))

    def _strain(self, matrices: Tensor) -> Tensor:
        a = matrices[..., :-1]
        return (a.transpose(1, 2) @ a - torch.eye(a.shape[1])) / 2

    def derivatives(self, matrices: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient and Gauss-Newton matrix with respect to the rows of A|t."""
        batch, n = matrices.shape[:2]
        a, eye = matrices[..., :-1], torch.eye(n)
        # dE_ij / dA_kl = (delta_il A_kj + delta_jl A_ki) / 2
        de = (torch.einsum("il,bkj->bijkl", eye, a) + torch.einsum("jl,bki->bijkl", eye, a)) / 2
        residual = self._strain(matrices) @ self.weights.T
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
    measure: JointMeasure, prior: _Prior, matrices: Tensor, freedom: str, steps: int, reporter: Reporter
) -> tuple[Tensor, Tensor]:
    """Damped Gauss-Newton (Levenberg-Marquardt) on all candidates at once: the matrices (B, ndim, ndim + 1), losses (B,)."""
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
