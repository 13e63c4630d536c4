"""Losses of the own detector: quality focal loss on soft heat, smooth L1 on boxes.

[1] Li et al., Generalized Focal Loss, NeurIPS 2020, equation 2. Departure: the soft label is a bump
around the nucleus instead of an IoU, and each map cell carries a weight (unlabelled ground).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def quality_focal_loss(
    logits: Tensor, target: Tensor, weight: Tensor, *, beta: float = 2.0
) -> Tensor:
    """Sum of ``weight · |target - p|^beta · BCE(p, target)`` [1].

    Args:
        logits: any shape.
        target: the same shape, soft labels in 0-1.
        weight: the same shape, not negative.
        beta: 0 makes it weighted cross-entropy.

    Returns:
        scalar sum (divide by the number of objects).
    """
    modulation = (target - torch.sigmoid(logits)).abs().pow(beta)
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (weight * modulation * entropy).sum()


def box_loss(boxes: Tensor, target: Tensor, owned: Tensor) -> Tensor:
    """Mean smooth L1 between predicted and true boxes over owned map cells; 0 where there are none.

    Args:
        boxes: (B, 4, h, w) dx, dy, log w, log h.
        target: (B, 4, h, w).
        owned: (B, h, w) bool.
    """
    mask = owned[:, None].expand_as(boxes)
    if not bool(mask.any()):
        return boxes.sum() * 0.0
    return functional.smooth_l1_loss(boxes[mask], target[mask], beta=0.5)
