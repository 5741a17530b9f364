"""The anatomy of the generated head: which tissue lies at a point, as smooth signed distances painted one over another.

Coordinates are (x, y, z) = (left, anterior, superior) mm about the anterior commissure, of a head of average size;
both hemispheres are built alike and then made different by a smooth random shift of all coordinates. Labels are
FreeSurfer's, so that viewers name and color them. Anatomy is evaluated at any point, hence on any grid, without
interpolation: the deformed and the undeformed head are equally sharp.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from ..fields import sample

LABELS = {
    2: "left cerebral white matter", 3: "left cerebral cortex", 4: "left lateral ventricle",
    7: "left cerebellum white matter", 8: "left cerebellum cortex", 10: "left thalamus", 11: "left caudate",
    12: "left putamen", 13: "left pallidum", 14: "third ventricle", 15: "fourth ventricle", 16: "brain stem",
    17: "left hippocampus", 18: "left amygdala", 24: "cerebrospinal fluid", 41: "right cerebral white matter",
    42: "right cerebral cortex", 43: "right lateral ventricle", 46: "right cerebellum white matter",
    47: "right cerebellum cortex", 49: "right thalamus", 50: "right caudate", 51: "right putamen",
    52: "right pallidum", 53: "right hippocampus", 54: "right amygdala", 85: "optic nerve", 121: "cranium",
    123: "muscle", 125: "fat and skin", 130: "air", 134: "eye",
}  # fmt: skip
BRAIN_LABELS = tuple(k for k in LABELS if k <= 18 or 41 <= k <= 54)
"""The structures that scores are taken over."""

LANDMARKS = {
    "anterior commissure": (0, 2, -2), "left eye": (32, 60, -36), "right eye": (-32, 60, -36),
    "left frontal horn": (11, 32, 3), "right frontal horn": (-11, 32, 3), "left occipital horn": (25, -66, 7),
    "right occipital horn": (-25, -66, 7), "left thalamus": (11, -18, 7), "right thalamus": (-11, -18, 7),
    "left putamen": (27, 3, 1), "right putamen": (-27, 3, 1), "pons": (0, -24, -30),
    "fourth ventricle": (0, -43, -34), "left hippocampus": (28, -20, -16), "right hippocampus": (-28, -20, -16),
    "left cerebellum": (24, -63, -38), "right cerebellum": (-24, -63, -38), "vertex": (0, -20, 74),
}  # fmt: skip
"""Points of the undisturbed anatomy, (left, anterior, superior) mm."""

Point = Sequence[float]


@dataclass
class Head:
    """Random choices of one head, the same for each grid it is painted on."""

    seed: int
    size: float = 0.92
    scale: Tensor = field(init=False)
    wobble: Tensor = field(init=False)
    sulci: Tensor = field(init=False)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        self.scale = self.size * (1 + 0.03 * torch.randn(3, generator=generator).clamp(-1.5, 1.5))
        self.wobble = torch.cat([_band_noise(generator, 60.0) for _ in range(3)], 1) * 2.0
        self.sulci = torch.cat([_band_noise(generator, wavelength) for wavelength in (34.0, 22.0, 34.0, 22.0, 70.0)], 1)


_FIELD = 64  # voxels of the noise fields along each axis ...
_STEP = 4.0  # ... of 4 mm, centered on the brain ; the edge is repeated beyond


def _band_noise(generator: torch.Generator, wavelength: float) -> Tensor:
    """(1, 1, 64, 64, 64) noise of variance 1 with one dominant wavelength in mm."""
    spectrum = torch.fft.rfftn(torch.randn((_FIELD,) * 3, generator=generator))
    full, half = torch.fft.fftfreq(_FIELD, _STEP), torch.fft.rfftfreq(_FIELD, _STEP)
    radius = (full[:, None, None] ** 2 + full[:, None] ** 2 + half**2).sqrt() * wavelength
    noise = torch.fft.irfftn(spectrum * torch.exp(-((radius - 1) ** 2) / (2 * 0.22**2)), s=(_FIELD,) * 3)
    return (noise / noise.std())[None, None]


def _look_up(fields: Tensor, points: Tensor) -> Tensor:
    """Channels of noise (1, C, ...) at points (3, *S) mm: (C, *S)."""
    return sample(fields, points[None] / _STEP + (_FIELD - 1) / 2)[0]


def _ellipsoid(p: Tensor, center: Point, radii: Point, tilt: float = 0.0) -> Tensor:
    """About the signed distance of p (3, *S) from an ellipsoid; ``tilt`` turns it about the x axis (radian)."""
    q = p - p.new_tensor(center).view(3, 1, 1, 1)
    if tilt:
        c, s = float(torch.cos(torch.tensor(tilt))), float(torch.sin(torch.tensor(tilt)))
        q = torch.stack([q[0], c * q[1] + s * q[2], c * q[2] - s * q[1]])
    r = p.new_tensor(radii).view(3, 1, 1, 1)
    q = q / r
    k = q.square().sum(0).sqrt()
    slope = (q / r).square().sum(0).sqrt_().clamp_min_(1e-6)
    return k * (k - 1) / slope


def _tube(p: Tensor, points: Sequence[tuple[float, float, float, float]]) -> Tensor:
    """Signed distance from a chain of tapering tubes, each point (x, y, z, radius)."""
    best: Tensor | None = None
    for a, b in pairwise(points):
        start = p.new_tensor(a[:3]).view(3, 1, 1, 1)
        step = p.new_tensor(b[:3]).view(3, 1, 1, 1) - start
        q = p - start
        t = ((q * step).sum(0) / step.square().sum()).clamp_(0, 1)
        d = (q - t * step).square().sum(0).sqrt_() - (a[3] + (b[3] - a[3]) * t)
        best = d if best is None else torch.minimum(best, d)
    assert best is not None
    return best


def _union(a: Tensor, b: Tensor, blend: float) -> Tensor:
    """Smooth minimum: the seam is rounded over ``blend`` mm."""
    h = (blend - (a - b).abs()).clamp_min(0) / blend
    return torch.minimum(a, b) - h * h * (blend / 4)


class Canvas:
    """A label map and one picture per contrast, painted structure by structure with soft edges.

    Args:
        points: (3, *shape) coordinates of each voxel as above.
        values: contrast -> {label: intensity}; a label that is missing takes 0.
        edge: width in mm of a voxel, over which a border is blended (partial volume).
    """

    def __init__(self, points: Tensor, values: Sequence[dict[int, float]], edge: float) -> None:
        self.points, self.values, self.edge = points, values, edge
        self.labels = torch.zeros(points.shape[1:], dtype=torch.uint8)
        self.pictures = [torch.zeros(points.shape[1:]) for _ in values]
        self._coarse = points[:, ::4, ::4, ::4]

    def block(self, center: Point, reach: Point) -> tuple[slice, ...] | None:
        """The voxels that may lie within ``reach`` mm of ``center``; None if there are none."""
        c, r = (self.points.new_tensor(v).view(3, 1, 1, 1) for v in (center, reach))
        near = ((self._coarse - c).abs() < r + 4 * self.edge + 3).all(0).nonzero()
        if len(near) == 0:
            return None
        low, high = near.amin(0) * 4 - 4, near.amax(0) * 4 + 5
        return tuple(slice(max(int(a), 0), int(b)) for a, b in zip(low, high, strict=True))

    def paint(self, distance: Tensor, label: int, where: tuple[slice, ...] = (slice(None),), drawn_as: int = 0) -> None:
        """Cover the inside (negative ``distance``) with ``label``, in the intensity of ``drawn_as`` if given."""
        cover = (0.5 - distance / self.edge).clamp_(0, 1)
        self.labels[where].masked_fill_(cover > 0.5, label)
        for picture, table in zip(self.pictures, self.values, strict=True):
            part = picture[where]
            part.add_(cover * (table.get(drawn_as or label, 0.0) - part))

    def ellipsoid(self, label: int, center: Point, radii: Point, tilt: float = 0.0, drawn_as: int = 0) -> None:
        where = self.block(center, [max(radii)] * 3)
        if where is not None:
            self.paint(_ellipsoid(self.points[(slice(None), *where)], center, radii, tilt), label, where, drawn_as)

    def tube(self, label: int, points: Sequence[tuple[float, float, float, float]], drawn_as: int = 0) -> None:
        low = [min(q[d] - q[3] for q in points) for d in range(3)]
        high = [max(q[d] + q[3] for q in points) for d in range(3)]
        where = self.block(
            [(a + b) / 2 for a, b in zip(low, high, strict=True)], [(b - a) / 2 for a, b in zip(low, high, strict=True)]
        )
        if where is not None:
            self.paint(_tube(self.points[(slice(None), *where)], points), label, where, drawn_as)


MARROW, SKIN, GRAY_NUCLEUS, LENS = 201, 202, 203, 204
"""Extra intensities: not labels of their own."""


_SLAB = 8  # slices painted at once: small arrays stay in the processor's cache


def paint_head(
    points: Tensor, head: Head, values: Sequence[dict[int, float]], edge: float
) -> tuple[Tensor, list[Tensor]]:
    """``head`` at ``points`` (3, *shape), (left, anterior, superior) mm from its center.

    Args:
        points: where; any grid, deformed or not.
        head: whose anatomy.
        values: for each picture asked for {label: intensity}.
        edge: size of a voxel in mm.

    Returns:
        Label map (uint8) and pictures (float32), each of ``shape``.
    """
    labels = torch.zeros(points.shape[1:], dtype=torch.uint8)
    pictures = [torch.zeros(points.shape[1:]) for _ in values]
    with one_thread():
        for low in range(0, points.shape[1], _SLAB):
            slab = points[:, low : low + _SLAB]
            where = _around_head(slab, head, edge)
            if where is None:
                continue
            canvas = _paint(slab[(slice(None), *where)].contiguous(), head, values, edge)
            labels[low : low + _SLAB][where] = canvas.labels
            for picture, part in zip(pictures, canvas.pictures, strict=True):
                picture[low : low + _SLAB][where] = part
    return labels, pictures


@contextmanager
def one_thread() -> Iterator[None]:
    """Thousands of small operations are slower on several threads, and very much so on a busy computer."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _around_head(points: Tensor, head: Head, edge: float) -> tuple[slice, ...] | None:
    """The block of ``points`` outside of which there is only air."""
    coarse = points[:, ::4, ::4, ::4] / head.scale.view(3, 1, 1, 1)
    coarse = torch.cat([coarse[:1].abs(), coarse[1:]])
    skin = _skin(coarse, _vault(coarse), 0 * coarse[0] + THICKEST)
    near = (skin < 4 * edge / head.size + 10).nonzero()
    if len(near) == 0:
        return None
    low, high = near.amin(0) * 4 - 4, near.amax(0) * 4 + 5
    return tuple(slice(max(int(a), 0), int(b)) for a, b in zip(low, high, strict=True))


def _paint(points: Tensor, head: Head, values: Sequence[dict[int, float]], edge: float) -> Canvas:
    p = points / head.scale.view(3, 1, 1, 1)
    p = p + _look_up(head.wobble, p)
    canvas = Canvas(p, values, edge / head.size)
    mirrored = torch.cat([p[:1].abs(), p[1:]])
    vault = _vault(mirrored)
    _outside(canvas, mirrored, vault, head)
    canvas.paint(vault, 24)
    _cerebrum(canvas, mirrored, head)
    _cerebellum(canvas, mirrored, head)
    _deep(canvas)
    return canvas


def _vault(m: Tensor) -> Tensor:
    """Signed distance from the inside of the skull; ``m`` has the left side's coordinates everywhere."""
    main = _ellipsoid(m, (0, -17, 17), (69, 89, 62))
    main = torch.maximum(main, -21 - m[2])
    middle = _ellipsoid(m, (42, -14, -21), (27, 40, 23))
    posterior = _ellipsoid(m, (0, -62, -32), (54, 38, 31))
    return _union(_union(main, middle, 8), posterior, 10)


THINNEST, THICKEST = 4.0, 7.5
"""Of the skull, at its base and its top, mm."""


def _skin(m: Tensor, vault: Tensor, bone: Tensor) -> Tensor:
    """Signed distance from the outside of the head."""
    face = _ellipsoid(m, (0, 26, -62), (58, 58, 74))
    neck = _ellipsoid(m, (0, -26, -120), (56, 64, 110))
    skin = _union(_union(vault - bone - 6.5, face, 14), torch.maximum(neck, m[2] + 30), 18)
    skin = _union(skin, _ellipsoid(m, (0, 78, -53), (10, 17, 20), -0.5), 10)
    ear = _ellipsoid(m, (78, -24, -32), (5, 14, 24), 0.25)
    return _union(skin, ear, 4)


def _outside(canvas: Canvas, m: Tensor, vault: Tensor, head: Head) -> None:
    """Skin, fat, muscle, bone, sinuses, eyes."""
    bone = THINNEST + (THICKEST - THINNEST) * ((m[2] + 20) / 60).clamp(0, 1)
    skin = _skin(m, vault, bone)
    canvas.paint(skin, 125, drawn_as=SKIN)
    canvas.paint(skin + 2.0, 125)
    # Muscles of the neck and face, with sheets of fat between their bellies.
    bellies = _look_up(head.sulci[:, 1:2], m * m.new_tensor([1.2, 1.2, 0.3]).view(3, 1, 1, 1))[0]
    muscle = torch.maximum(skin + 7 + bellies, m[2] + 30 - 0.3 * (m[1] - 20).abs())
    muscle = torch.maximum(muscle, 0.8 - 4 * bellies.abs())
    canvas.paint(muscle, 123)
    for s in (1, -1):
        canvas.ellipsoid(123, (s * 64, 12, -22), (7, 30, 32))  # temporal muscle
        canvas.tube(121, [(s * 52, 14, -56, 6), (s * 46, 30, -92, 7), (s * 20, 66, -108, 8)], drawn_as=MARROW)  # jaw
    canvas.paint(vault - bone, 121)
    canvas.paint((vault - bone / 2).abs() - bone / 2 + 2.1, 121, drawn_as=MARROW)
    base = _ellipsoid(m, (26, 0, -42), (34, 26, 12))
    canvas.paint(torch.maximum(base, 6 - vault), 121)
    canvas.ellipsoid(121, (0, 4, -34), (12, 16, 14), drawn_as=MARROW)  # clivus and sphenoid
    canvas.tube(123, [(0, 30, -84, 18), (0, 56, -82, 13)])  # tongue
    canvas.paint(torch.maximum(_ellipsoid(m, (0, 54, -66), (30, 30, 5)), m[1] - 82), 121)  # palate
    for s in (1, -1):
        canvas.ellipsoid(121, (s * 26, 46, -56), (15, 19, 17))
        canvas.ellipsoid(130, (s * 26, 46, -56), (13, 17, 15))  # maxillary sinus
        canvas.ellipsoid(121, (s * 50, -32, -38), (11, 15, 14), drawn_as=MARROW)  # mastoid
        for y, z in ((-36, -40), (-28, -34), (-34, -48), (-26, -44)):
            canvas.ellipsoid(130, (s * 52, y, z), (4, 3, 3))
        canvas.tube(130, [(s * 5, 74, -52, 4), (s * 6, 44, -44, 7), (s * 6, 24, -50, 7)])  # nasal cavity
        canvas.tube(123, [(s * 8, 66, -54, 2.5), (s * 9, 34, -52, 2.5)])  # turbinate
        canvas.tube(125, [(s * 32, 58, -36, 15.5), (s * 14, 26, -30, 6)])  # orbit
        for dx, dz in ((9, 0), (-9, 0), (0, 9), (0, -9)):  # straight muscles of the eye
            canvas.tube(123, [(s * (32 + dx), 54, -36 + dz, 1.8), (s * 15, 28, -30, 1.2)])
        canvas.tube(85, [(s * 31, 50, -36, 2.4), (s * 14, 26, -30, 2.2), (s * 4, 8, -18, 2.2)])
        canvas.ellipsoid(125, (s * 32, 60, -36), (12.8, 12.8, 12.8), drawn_as=123)  # sclera
        canvas.ellipsoid(134, (s * 32, 60, -36), (11.6, 11.6, 11.6))
        canvas.ellipsoid(134, (s * 32, 68, -36), (4.8, 2.4, 4.8), drawn_as=LENS)
        canvas.ellipsoid(130, (s * 9, 75, -8), (7, 4, 8))  # frontal sinus
    canvas.ellipsoid(130, (0, 16, -32), (10, 9, 7))  # sphenoid sinus
    canvas.tube(130, [(0, 18, -58, 6), (0, 4, -80, 6), (0, 2, -120, 8)])  # pharynx
    canvas.tube(121, [(0, -44, -78, 13), (0, -48, -130, 13)], drawn_as=MARROW)  # vertebrae
    canvas.tube(24, [(0, -40, -58, 10), (0, -50, -130, 9)])  # spinal canal


def _cerebrum(canvas: Canvas, m: Tensor, head: Head) -> None:
    """Hemispheres with a folded cortex: gray matter is what lies within 2.7 mm of the surface, fissures and sulci."""
    where = canvas.block((0, -17, 12), (70, 92, 66))
    if where is None:
        return
    p, m = canvas.points[(slice(None), *where)], m[(slice(None), *where)]
    center = m.new_tensor([0, -17, 15]).view(3, 1, 1, 1)
    main = _ellipsoid(m, (0, -17, 17), (66.5, 86, 59))
    tentorium = torch.exp(-((m[0] / 30) ** 2)) * 16 * torch.sigmoid(-(m[1] + 38) / 5)
    main = torch.maximum(main, -17 + tentorium - m[2])
    temporal = _ellipsoid(m, (42, -17, -20), (23, 43, 20), 0.18)
    hull = _union(main, temporal, 3)
    # The fissure between the hemispheres ends at the corpus callosum.
    callosum = _ellipsoid(torch.stack([torch.zeros_like(m[0]), m[1], m[2]]), (0, -9, 3), (1e3, 41, 25))
    midline = (m[0].square() + callosum.clamp_max(0).square()).sqrt() - 1.1
    sylvian = ((temporal - 1.2).square() + (37 - m[0]).clamp_min(0).square() + (m[1] + 38).clamp_max(0).square()).sqrt()
    surface = torch.minimum(torch.minimum(-hull, midline), sylvian - 1.0)
    # Sulci stand upright on the surface: noise is looked up where the ray through a point leaves the hull.
    radius = ((m - center) / m.new_tensor([67, 88, 60]).view(3, 1, 1, 1)).square().sum(0).sqrt().clamp_min(0.5)
    outward = 1 / radius.pow(0.7)
    both = _look_up(head.sulci[:, :2], center + (m - center) * outward)
    own = _look_up(head.sulci[:, 2:], center + (p - center) * outward)
    depth = torch.minimum(-hull, midline + 15)
    for n, wavelength, reach in ((0, 34.0, 27.0), (1, 22.0, 16.0)):
        noise = 0.75 * both[n] + 0.66 * own[n]
        away = noise.abs() * (wavelength / 6.2) / outward
        bottom = reach * (0.8 + 0.2 * own[2].clamp(-2, 2)) * ((radius - 0.4) / 0.35).clamp(0.15, 1)
        sheet = (away.square() + (depth - bottom).clamp_min(0).square()).sqrt() - (1.3 - 0.05 * depth).clamp(0.35)
        surface = torch.minimum(surface, sheet)
    left = p[0] > 0
    apart = torch.where(left, -1e3, 1e3)
    for side, gray, white in ((apart, 3, 2), (-apart, 42, 41)):
        brain = torch.maximum(-surface, side)
        canvas.paint(brain, gray, where)
        canvas.paint(brain + 2.7, white, where)


def _cerebellum(canvas: Canvas, m: Tensor, head: Head) -> None:
    """Leaves of gray matter on a white stem, fanning out from the fourth ventricle."""
    where = canvas.block((0, -62, -38), (54, 36, 28))
    if where is None:
        return
    p, m = canvas.points[(slice(None), *where)], m[(slice(None), *where)]
    hull = _union(_ellipsoid(m, (25, -65, -37), (28, 31, 22.5), 0.1), _ellipsoid(m, (0, -61, -27), (20, 27, 22)), 8)
    wobble = _look_up(head.sulci[:, :1], m)[0]
    y, z = -42 - m[1] + 0.15 * m[0], m[2] + 30 + 0.1 * m[0]
    angle, r = torch.atan2(z, y) + 0.12 * wobble, (y.square() + z.square()).sqrt().clamp_min(1)
    surface = -hull
    for leaves, depth in ((7.0, 15.0), (17.0, 4.0)):
        away = torch.sin(angle * leaves).abs() * r / leaves
        sheet = (away.square() + (surface - depth).clamp_min(0).square()).sqrt() - 0.4
        surface = torch.minimum(surface, sheet)
    apart = torch.where(p[0] > 0, -1e3, 1e3)
    for side, gray, white in ((apart, 8, 7), (-apart, 47, 46)):
        canvas.paint(torch.maximum(-surface, side), gray, where)
        canvas.paint(torch.maximum(1.9 - surface, side), white, where)


def _deep(canvas: Canvas) -> None:
    """Nuclei, ventricles, hippocampi and brain stem."""
    for s, shift in ((1, 0), (-1, 39)):
        nucleus, ventricle = GRAY_NUCLEUS, 4 + shift
        canvas.tube(17 + (36 if s < 0 else 0), [(s * 25, -8, -18, 5), (s * 30, -24, -15, 5), (s * 26, -36, -4, 3)])
        canvas.ellipsoid(18 + (36 if s < 0 else 0), (s * 23, -1, -19), (7, 7, 7))
        canvas.ellipsoid(12 + shift, (s * 27, 3, 1), (6.5, 17, 10.5), -0.2, drawn_as=nucleus)
        canvas.ellipsoid(13 + shift, (s * 20.5, -4, -1), (4.5, 9, 6), -0.2, drawn_as=MARROW)
        canvas.ellipsoid(10 + shift, (s * 11, -18, 7), (9, 15, 9), -0.15, drawn_as=nucleus)
        head = [(s * 13, 18, 2, 6.5), (s * 15, 8, 13, 5), (s * 19, -14, 21, 3), (s * 25, -30, 18, 2.5)]
        canvas.tube(11 + shift, head, drawn_as=nucleus)
        body = [
            (s * 9, 34, 3, 3),
            (s * 9, 20, 9, 5.2),
            (s * 10, 0, 18, 5),
            (s * 13, -18, 20, 5.5),
            (s * 21, -36, 16, 7),
        ]
        canvas.tube(ventricle, [*body, (s * 27, -46, 10, 8), (s * 25, -70, 7, 3)])
        canvas.tube(ventricle, [(s * 27, -46, 10, 6), (s * 35, -32, -8, 3), (s * 33, -12, -19, 2.5)])
    canvas.ellipsoid(14, (0, -14, 0), (2.6, 14, 11))
    canvas.ellipsoid(16, (0, -25, -30), (17, 12, 15), -0.2)
    canvas.tube(16, [(0, -22, -8, 11), (0, -26, -16, 11)])
    canvas.tube(16, [(0, -28, -32, 11), (0, -36, -54, 7.5), (0, -48, -100, 6), (0, -50, -130, 6)])
    for s, shift in ((1, 0), (-1, 39)):
        canvas.tube(7 + shift, [(s * 13, -32, -34, 5), (s * 22, -52, -38, 5)])  # peduncle
        canvas.tube(16, [(s * 7, -18, -10, 5), (s * 14, -12, -2, 5)])  # crus
    canvas.tube(15, [(0, -31, -12, 1.2), (0, -38, -26, 2)])  # aqueduct
    canvas.ellipsoid(15, (0, -42, -34), (7.5, 4.5, 9), 0.2)
