"""The part of the anatomy in which hardly a point is found again, while nearly everywhere else points are.

An average over the whole anatomy does not tell a limb that was bent too far, or that is not there, from points that are
missed here and there in other contrasts or noise: the latter are missed everywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor

NEIGHBORS = 30
"""Points around one that say how many come back there; a fifth of all, where there are fewer."""
LEAST = 100
"""Fewer points do not show where they are lost."""
CONFIRMED = 0.9
"""Share that comes back in the better part of the anatomy, a quarter of it: up to here, it is not the place that tells.
At 0.75 four of 95 right pairs that had not been looked at for it (noise, thick slices, contrasts) were asked about."""
LOST = 0.35
"""Of that, the share below which a place is lost."""


def lost_part(places: Tensor, returned: Tensor) -> Tensor:
    """(n,) bool: points that lie where hardly one is found again; none where that cannot be told.

    Args:
        places: (n, ndim) of the points that were searched, in any unit.
        returned: (n,) bool: those found again.
    """
    none = torch.zeros_like(returned)
    if len(places) < LEAST:
        return none
    near = torch.cdist(places, places).topk(min(NEIGHBORS, len(places) // 5), largest=False).indices
    share = returned.float()[near].mean(1)
    better = float(share.quantile(0.75))
    return share < LOST * better if better > CONFIRMED else none


def middle_of(places: Tensor) -> int:
    """Which of ``places`` (n, ndim) lies in the middle of the larger part of them, if they are several parts.

    Their mean would lie between two parts, where nothing is lost.
    """
    return int(torch.cdist(places, places).median(1).values.argmin())
