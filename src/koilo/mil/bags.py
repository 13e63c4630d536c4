"""Bags of cells: what one slide or field gives the head, and how several become one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

INPUTS = ("features", "log_p", "both")
"""What a head may read of a cell: features of the trunk, log p of the classes, or both."""

P_FLOOR = 1e-4
"""Probabilities are raised to this before the logarithm: half precision ends not far below."""


@dataclass(frozen=True)
class Bag:
    """The cells of one slide or field, best detection first."""

    bag_id: str
    x: NDArray[np.float32]
    """(N, D): what the head reads of each cell"""
    label: int
    """index in the slide classes"""


def head_inputs(
    features: NDArray[np.floating], probabilities: NDArray[np.floating], inputs: str
) -> NDArray[np.float32]:
    """What a head reads: (N, D), (N, C) or (N, D + C), float32.

    Args:
        features: (N, D), the cell trunk's features.
        probabilities: (N, C), of the cell classes.
        inputs: one of ``INPUTS``.
    """
    log_p = np.log(np.maximum(probabilities, P_FLOOR)).astype(np.float32)  # (N, C)
    if inputs == "log_p":
        return log_p
    plain = np.asarray(features, dtype=np.float32)  # (N, D)
    return plain if inputs == "features" else np.concatenate([plain, log_p], axis=1)


def collate(bags: Sequence[Bag]) -> tuple[Tensor, Tensor, Tensor]:
    """Pad bags to one batch: x (B, N, D) float32, mask (B, N) bool, labels (B,) int64.

    Raises:
        ValueError: no bag, or a bag without a cell.
    """
    if not bags or any(len(bag.x) == 0 for bag in bags):
        raise ValueError("every bag needs a cell; leave empty bags out of the batch")
    longest = max(len(bag.x) for bag in bags)
    x = torch.zeros(len(bags), longest, bags[0].x.shape[1])  # (B, N, D)
    mask = torch.zeros(len(bags), longest, dtype=torch.bool)  # (B, N)
    for row, bag in enumerate(bags):
        x[row, : len(bag.x)] = torch.from_numpy(np.ascontiguousarray(bag.x, dtype=np.float32))
        mask[row, : len(bag.x)] = True
    return x, mask, torch.tensor([bag.label for bag in bags])
