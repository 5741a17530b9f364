"""The region of interest in a label map: all that is labelled, or the organs a plan names (``options.region``)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def region_of(labels: Tensor, ids: Sequence[int] = ()) -> Tensor:
    """(N, 1, *S) labels -> (N, 1, *S) float mask of ``ids``, closed over what crosses them (ribs over lungs).

    Without ``ids``, of every label but 0.
    """
    if not ids:
        return (labels > 0).float()
    mask = torch.isin(labels, torch.tensor(list(ids), device=labels.device, dtype=labels.dtype)).float()
    pool = F.max_pool2d if mask.ndim == 4 else F.max_pool3d
    reach = max(1, min(labels.shape[2:]) // 24)
    size = 2 * reach + 1
    return -pool(-pool(mask, size, 1, reach), size, 1, reach)
