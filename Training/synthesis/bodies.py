"""Recipes of procedural bodies: heads, abdomens and chests, as plain data for ``anatomy.paint``.

Tables are in mm, (left, front, up) about the middle of the organ group, of an average adult; every number is then
drawn anew within a few percent, and the whole is turned, scaled and placed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

Row = tuple[float, ...]
Recipe = dict[str, Any]


class _Table:
    """Collects ellipsoids (label, x, y, z, rx, ry, rz, turn about x) in mm, and jitters them."""

    def __init__(self, random: np.random.Generator, jitter: float) -> None:
        self.random, self.jitter = random, jitter
        self.rows: list[list[float]] = []

    def __call__(self, label: int, center: Sequence[float], radii: Sequence[float], turn: float = 0.0) -> int:
        """Add one ellipsoid; its row."""
        # Plain numbers: for three of them at a time, arrays take most of the time of a small image.
        n = self.random.standard_normal(9).tolist()
        jitter, size = self.jitter, sum(radii) / 3
        c = [x + jitter * size * d for x, d in zip(center, n, strict=False)]
        r = [x * math.exp(jitter * d) for x, d in zip(radii, n[3:], strict=False)]
        self.rows.append([label, *c, *r, jitter * n[6] / 2, jitter * n[7] / 2, jitter * n[8] / 2 + turn])
        return len(self.rows) - 1

    def both(self, label: int, center: Sequence[float], radii: Sequence[float], turn: float = 0.0) -> list[int]:
        x, y, z = center
        return [self(label, (s * x, y, z), radii, turn) for s in (1, -1)]

    def tube(self, label: int, points: Sequence[tuple[float, float, float, float]]) -> None:
        """A chain of spindles, one from each point (x, y, z, radius) to the next."""
        for a, b in pairwise(points):
            x, y, z, r = ((p + q) / 2 for p, q in zip(a, b, strict=True))
            dx, dy, dz = (float(q - p) for p, q in zip(a[:3], b[:3], strict=True))
            length = math.hypot(dx, dy, dz)
            # The spindle lies along z; it is tipped towards back or front, then turned about z (see ``_rotations``).
            turns = [math.atan2(dy, dx), math.atan2(math.hypot(dx, dy), dz), 0.0]
            self.rows.append([label, x, y, z, 1.12 * r, 1.12 * r, 0.6 * length + 0.8 * r, *turns])

    def tubes(self, label: int, points: Sequence[tuple[float, float, float, float]]) -> None:
        for s in (1, -1):
            self.tube(label, [(s * x, y, z, r) for x, y, z, r in points])

    def ellipsoids(self, half: float) -> list[list[float]]:
        """Rows for ``anatomy.paint``: (label, z, y, x, rz, ry, rx, turns about z y x); ``half`` mm is the half view."""
        rows = []
        for label, x, y, z, rx, ry, rz, tz, ty, tx in self.rows:
            numbers = [z / half, -y / half, x / half, rz / half, ry / half, rx / half, tz, ty, tx]
            rows.append([label, *[round(n, 5) for n in numbers]])
        return rows


def _pose(random: np.random.Generator, ndim: int, planes: Sequence[int], spread: float, orient: float) -> Recipe:
    """How the body lies in the array: any order and direction of axes with probability ``orient``."""
    axis = int(random.choice(planes))
    axes, flips = [0, 1, 2], [-1 if ndim == 2 else 1, 1, 1]  # rows of a picture run from head to foot
    if random.random() < orient:
        axes = [int(a) for a in random.permutation(3)]
        flips = [int(f) for f in random.choice([-1, 1], 3)]
    turns = [round(float(a), 4) for a in random.normal(0, 0.12, 3)]
    recipe: Recipe = {"axes": axes, "flips": flips, "turns": turns}
    if ndim == 2:  # ``axes[a]`` is the array axis along which body axis a runs: the missing one is body axis ``axis``
        recipe["plane"] = [axes[axis], round(float(random.uniform(-spread, spread)), 4)]
    return recipe


def _seed(random: np.random.Generator) -> int:
    return int(random.integers(2**31))


def head(random: np.random.Generator, ndim: int, orient: float) -> Recipe:
    """A head, or its brain alone, with a folded cortex, ventricles, nuclei and cerebellum."""
    t = _Table(random, 0.05)
    t(31, (0, 30, -62), (60, 60, 74))  # face and neck
    t(31, (0, -22, -110), (54, 62, 60))
    t(30, (0, -17, 14), (82, 102, 76))
    t.both(31, (40, 30, -75), (14, 26, 34))
    t(31, (0, -40, -110), (40, 34, 60))
    t.both(32, (64, 12, -22), (9, 30, 30))
    t(29, (0, -17, 16), (76, 96, 69))
    t(29, (0, -58, -32), (60, 46, 38))
    t.both(34, (26, 46, -56), (13, 17, 15))
    t.tube(34, [(0, 70, -50, 6), (0, 24, -50, 7), (0, 4, -80, 7), (0, 2, -120, 8)])
    t.both(30, (32, 56, -36), (17, 20, 17))
    t.both(33, (32, 60, -36), (12, 12, 12))
    t(1, (0, -17, 17), (69, 89, 62))
    t(1, (0, -60, -30), (52, 40, 33))
    t.both(1, (42, -14, -21), (27, 40, 23))
    lobes = t.both(2, (30, -17, 19), (36, 86, 56)) + t.both(2, (42, -17, -20), (23, 43, 20), 0.18)
    core = t(2, (0, -9, 3), (30, 42, 25))
    t.both(2, (30, 40, 4), (26, 28, 22))
    t.both(14, (24, -65, -38), (28, 31, 22))
    t(14, (0, -61, -30), (14, 26, 20))
    t.both(16, (20, -60, -37), (15, 16, 8))
    t(22, (0, -25, -30), (17, 12, 15))
    t.tube(22, [(0, -22, -8, 11), (0, -28, -32, 10), (0, -36, -54, 8), (0, -48, -100, 6)])
    t.tubes(12, [(25, -8, -18, 5), (30, -24, -15, 5), (26, -36, -4, 4)])
    t.both(18, (23, -1, -19), (7, 7, 7))
    t.both(10, (27, 3, 1), (6.5, 17, 10.5), -0.2)
    t.both(20, (20.5, -4, -1), (4.5, 9, 6), -0.2)
    t.both(8, (11, -18, 7), (9, 15, 9), -0.15)
    t.tubes(24, [(13, 18, 2, 6.5), (15, 8, 13, 5), (19, -14, 21, 4)])
    wide = float(np.exp(random.normal(0, 0.35)))  # ventricles differ more between people than anything else
    body = [(9, 34, 3, 3), (9, 20, 9, 5), (10, 0, 18, 5), (13, -18, 20, 5.5), (21, -36, 16, 7), (27, -46, 10, 8)]
    t.tubes(6, [(x, y, z, r * wide) for x, y, z, r in [*body, (25, -70, 7, 3.5)]])
    t.tubes(6, [(27, -46, 10, 6 * wide), (35, -32, -8, 3 * wide), (33, -12, -19, 3)])
    t(26, (0, -14, 0), (2.6 * wide, 14, 11))
    t(27, (0, -42, -34), (7.5, 4.5, 9))
    stripped = bool(random.random() < 0.5)
    half = random.uniform(84, 104) if stripped else random.uniform(98, 128)
    rules: list[Recipe] = [
        {
            "rule": "fold", "inside": 2, "gray": 4, "fluid": 1, "rows": [*lobes, core], "core": core,
            "seed": _seed(random),
            "thickness": round(random.uniform(2.8, 5.5) / half, 4), "depth": round(random.uniform(14, 24) / half, 4),
            "width": round(random.uniform(0.6, 1.6) / half, 4), "cells": round(half / random.uniform(8, 12), 2),
        },
        {"rule": "sides", "pairs": [[a, a + 1] for a in (2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 24)]},
    ]  # fmt: skip
    if stripped:
        rules.append({"rule": "only", "keep": list(range(1 if random.random() < 0.4 else 2, 28))})
    same = {a + 1: a for a in (2, 4, 8, 10, 12, 14, 16, 18, 20, 24)} | dict.fromkeys((6, 7, 26, 27), 1)
    return _recipe(t, half, rules, same, 35, random, _pose(random, ndim, (0, 1, 2), 0.35, orient))


def abdomen(random: np.random.Generator, ndim: int, orient: float) -> Recipe:
    """An abdomen with organs, loops of bowel, spine and vessels."""
    t = _Table(random, 0.08)
    wide = random.uniform(0.85, 1.2)
    fat = random.uniform(6, 30)
    x, y = 150 * wide, 100 * wide
    t(1, (0, 0, 0), (x + fat, y + fat, 400))
    t(2, (0, 0, 0), (x, y, 400))
    t(18, (0, 0, 150), (x, y, 120))  # the part of the wall that has ribs
    t(1, (0, 6, 0), (x - 14, y - 16, 300))
    t(2, (0, -78, 0), (58, 34, 300))  # muscles of the back
    t(20, (0, 20, -40), (x - 40, y - 36, 95))
    for z in range(-150, 151, 34):
        t(4, (0, -58, z), (22, 18, 14))
        t(3, (0, -92, z), (9, 16, 9))
    t.tube(5, [(0, -78, -170, 8), (0, -78, 170, 8)])
    t.both(2, (44, -52, -70), (18, 18, 70))
    t(6, (-70, 8, 62), (78, 72, 58), 0.2)
    t(6, (-10, 30, 72), (62, 44, 34))
    t(7, (98, -34, 62), (27, 40, 46))
    t.both(8, (64, -46, -4), (25, 23, 52), 0.15)
    t.both(9, (58, -42, -4), (11, 11, 26))
    t(10, (50, 20, 56), (40, 36, 30))
    t(11, (48, 26, 66), (26, 22, 16))
    t.tube(12, [(-30, 4, 8, 13), (0, 16, 16, 10), (40, 0, 26, 11), (70, -16, 36, 9)])
    t(13, (-46, 40, 30), (14, 20, 16))
    t.tube(14, [(6, -32, -170, 9), (6, -32, 170, 11)])
    t.tube(15, [(-18, -30, -170, 10), (-20, -28, 170, 12)])
    t(16, (0, 10, -150), (42, 36, 40))
    half = random.uniform(140, 195)
    rules: list[Recipe] = [
        {"rule": "parts", "inside": [20], "labels": [20, 21, 22, 1], "cells": 9, "seed": _seed(random)},
        _vessels([6], 17, 4.5 / half, 7, random),
        _vessels([1, 8], 14, 3 / half, 6, random),
    ]  # fmt: skip
    rules.append(_ribs([18], 3, half, random))
    return _recipe(t, half, rules, {15: 14, 17: 14, 18: 2}, 24, random, _pose(random, ndim, (0, 1), 0.3, orient))


def chest(random: np.random.Generator, ndim: int, orient: float) -> Recipe:
    """A chest with ribs, lungs and their vessels, heart and its chambers, aorta, airways, spine and diaphragm."""
    return _chest(random, _pose(random, ndim, (0, 1, 2), 0.25, orient))


def radiograph(random: np.random.Generator, ndim: int, orient: float) -> Recipe:
    """A chest seen from the front (2-D): the ribs lie over everything."""
    return _chest(random, _pose(random, ndim, (1,), 0.15, orient), overlay=True)


def _chest(random: np.random.Generator, pose: Recipe, overlay: bool = False) -> Recipe:
    t = _Table(random, 0.07)
    wide = random.uniform(0.9, 1.15)
    fat = random.uniform(6, 26)
    x, y = 150 * wide, 96 * wide
    t(1, (0, 0, -20), (x + fat + 14, y + fat + 8, 330))
    t.both(2, (105, -50, 90), (70, 50, 110))  # shoulders
    t(2, (0, 0, -20), (x + 12, y + 8, 300))
    t.both(3, (96, -88, 70), (44, 10, 66), 0.1)  # shoulder blades
    t(4, (0, 0, -10), (x, y, 200))  # the shell in which the ribs are drawn
    t(5, (0, 0, -12), (x - 12, y - 12, 186))
    t.both(6, (74, -8, 2), (62 * wide, 80 * wide, 128))
    t(1, (0, 18, 20), (30, 60, 130))  # mediastinum
    t(7, (-62, 4, -122), (84, 76, 62))  # liver under the diaphragm
    t(8, (70, -4, -126), (70, 70, 56))
    for z in range(-170, 171, 28):
        t(9, (0, -74, z), (18, 16, 11.5))
        t(3, (0, -100, z), (8, 14, 8))
    t.tube(10, [(0, -90, -180, 7), (0, -90, 180, 7)])
    t(3, (0, 88, 20), (14, 7, 80))
    t(11, (26, 32, -40), (56, 46, 50), 0.4)
    t(12, (44, 22, -42), (26, 24, 32), 0.4)
    t(13, (2, 48, -36), (26, 20, 32), 0.4)
    t(12, (16, 4, -10), (26, 18, 18))
    t(13, (-20, 26, -20), (18, 20, 24))
    t.tube(12, [(14, 34, 0, 14), (0, 30, 40, 14), (10, -10, 58, 13), (22, -50, 40, 12), (20, -54, -180, 11)])
    t.tube(13, [(-24, 22, 10, 10), (-24, 16, 90, 9)])
    t.tube(13, [(10, 20, 20, 12), (44, -8, 22, 9)])
    t.tube(14, [(0, -16, 150, 9), (0, -18, 34, 9), (34, -22, 8, 6)])
    t.tube(14, [(0, -18, 34, 8), (-36, -22, 10, 6)])
    half = random.uniform(150, 200)
    rules: list[Recipe] = [
        _vessels([6], 13, random.uniform(3, 5) / half, 9, random),
        _ribs([4], 3, half, random),
    ]  # fmt: skip
    if overlay:
        over = _ribs([5, 6, 1], 16, half, random)
        over["level"] = round(float(random.uniform(0.1, 0.6)), 3)
        over["bow"] = round(float(random.uniform(0.3, 0.9)), 3)
        rules.append(over)
    rules.append({"rule": "sides", "pairs": [[6, 15]]})
    same = {4: 2, 15: 6, 13: 12, 14: 6 if random.random() < 0.5 else 14, 9: 3}
    return _recipe(t, half, rules, same, 17, random, pose)


def _ribs(inside: list[int], label: int, half: float, random: np.random.Generator) -> Recipe:
    return {
        "rule": "bands", "inside": inside, "label": label, "count": round(2 * half / random.uniform(24, 34), 2),
        "slope": round(random.uniform(0.3, 0.6), 3), "bow": round(random.uniform(-0.2, 0.2), 3),
        "phase": round(random.uniform(0, 6.28), 3), "level": round(random.uniform(0.2, 0.6), 3),
    }  # fmt: skip


def _vessels(inside: list[int], label: int, radius: float, cells: int, random: np.random.Generator) -> Recipe:
    seed = _seed(random)
    return {
        "rule": "vessels",
        "inside": inside,
        "label": label,
        "radius": round(radius, 4),
        "cells": cells,
        "seed": seed,
    }


def _recipe(
    table: _Table, half: float, rules: list[Recipe], same: dict[int, int], count: int, random: np.random.Generator,
    pose: Recipe,
) -> Recipe:  # fmt: skip
    """``tissue[label]``: labels with the same number look alike in every image (both sides of the body, say)."""
    tissue = [same.get(k, k) for k in range(count)]
    shift = random.normal(0, 0.06, 3).tolist()
    rows = table.ellipsoids(half)
    for row in rows:
        row[1:4] = [round(c + s, 5) for c, s in zip(row[1:4], shift, strict=True)]
    warp = [_seed(random), round(float(random.uniform(0.008, 0.035)), 4)]
    return {"ellipsoids": rows, "rules": rules, "tissue": tissue, "warp": warp, **pose}


BODIES: dict[str, Callable[[np.random.Generator, int, float], Recipe]] = {
    "head": head,
    "abdomen": abdomen,
    "chest": chest,
    "radiograph": radiograph,
}
