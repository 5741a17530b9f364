"""Whether a matrix that nobody looked for, an initial transform's or the header's, puts the images far from each other.

The refinement and the search for points again look no farther than a tenth of the anatomy's size: from beyond that they
may agree with each other, and both be wrong.
"""

from __future__ import annotations

import numpy as np
import torch

from .align import likeness_at
from .content import Content
from .detail import CLEARLY, best_shift, correlation_at, leveled, lit
from .freedom import nearest

FAR = 0.12
"""Of the anatomy's size: less the search for points again sees by itself."""
BETTER = 2.0
"""How many times as alike the detail must be that far away. At 40 right alignments of 14 kinds nothing spoke against
them. Moved by 20, 35 and 50 % of the anatomy's size 101 of 120 were told; thin bone, brains cut out of their skulls and
sections of two stains leave too little detail to say anything. In contrasts that are not monotone 18 of 141 right
ones had such a place; mutual information of the detail was there 0.03 to 1.0 of that at hand, of those moved 1.7 times
that and more."""
ALIKE = 0.2
"""Its correlation there, at least."""


def how_far_elsewhere(contents: tuple[Content, Content] | None, matrix: np.ndarray) -> float:
    """mm from where ``matrix`` (LPS mm, fixed point to moving point) puts the middle of the fixed anatomy to where the
    images' detail says that it lies, at one shift of all; 0 where it does not speak against ``matrix``.

    Args:
        contents: of the fixed and of the moving image; None where there is nothing to compare.
    """
    if contents is None:
        return 0.0
    with torch.no_grad():
        a, b = map(lit, contents)
        best, here = best_shift(a, b, [nearest(matrix, "rigid")[:-1, :-1]]), correlation_at(a, b, matrix)
    if best is None or best.correlation < max(ALIKE, BETTER * here):
        return 0.0
    away = float(np.linalg.norm((best.matrix - matrix) @ np.append(contents[0].middle, 1.0)))
    if away < FAR * min(a.size, b.size):
        return 0.0
    # Where a contrast is not monotone detail may correlate by chance: its mutual information must agree.
    there, at_hand = likeness_at(leveled(a), leveled(b), best.matrix, matrix)
    return away if there > CLEARLY * at_hand else 0.0
