"""A mark in a displacement field that says: straight lines between the samples.

ITK reads a field linearly, and that is what was measured of ours: no folds, and an inverse that fits. Slicer makes a
grid cubic when it comes from a file, and no file format keeps which it was. So the fields that are written carry a mark
in the values themselves, the only thing that all formats keep: the last bits of the vectors at the eight corners, below
any accuracy that matters (a millionth of a corner's displacement). Our module in Slicer makes linear what has it.

Only numpy is needed, so that Slicer's own process can look for the mark.
"""

from __future__ import annotations

import numpy as np

BITS = np.uint32(0xF)
MARK = np.array([(7 * n * n + 3 * n + 11) % 16 for n in range(24)], np.uint32).reshape(8, 3)
"""The last 4 of the 23 bits of the three components (a sign may change, as between RAS and LPS) at the corners."""
SMALLEST = np.float32(1e-30)
"""A corner that does not move gets this and the mark (mm): 0 itself has no bits that would survive."""


def mark(vectors: np.ndarray) -> None:
    """Put the mark into a field (k, j, i, 3) of float32 (values, if not type), in place.

    Fields in 2-D, which Slicer does not read, and those with a side of one sample stay without.
    """
    if vectors.ndim != 4 or min(vectors.shape[:3]) < 2:
        return
    corners = _corners(vectors).astype(np.float32)
    corners[np.abs(corners) < SMALLEST] = SMALLEST
    bits = (corners.view(np.uint32) & ~BITS) | MARK
    k, j, i = _index(vectors)
    vectors[k, j, i] = bits.view(np.float32)


def is_marked(vectors: np.ndarray) -> bool:
    """Whether a field (k, j, i, 3), of float32 or float64, has the mark."""
    if vectors.ndim != 4 or vectors.shape[3] != 3 or min(vectors.shape[:3]) < 2:
        return False
    corners = np.ascontiguousarray(_corners(vectors))
    single = corners.astype(np.float32)
    if not np.array_equal(single, corners):  # computed anew by something else
        return False
    return bool(np.array_equal(single.view(np.uint32) & BITS, MARK))


def _index(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ends = [np.array([0, n - 1]) for n in vectors.shape[:3]]
    k, j, i = np.meshgrid(*ends, indexing="ij")
    return k.ravel(), j.ravel(), i.ravel()


def _corners(vectors: np.ndarray) -> np.ndarray:
    """(8, 3) copy of the vectors at the corners."""
    k, j, i = _index(vectors)
    return vectors[k, j, i]
