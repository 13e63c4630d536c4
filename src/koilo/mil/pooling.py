"""Pooling over the real cells of a bag, and the two heads that are no more than that."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def require_cells(mask: Tensor) -> None:
    """Refuse a batch with an empty bag: nothing can be pooled from no cell.

    Args:
        mask: (B, N), True = real cell.

    Raises:
        ValueError: a row of ``mask`` is all False.
    """
    if mask.shape[1] == 0 or not bool(mask.any(dim=1).all()):
        raise ValueError("a bag holds no cell; leave empty bags out of the batch")


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the real cells: ``scores`` (B, N) -> (B, N), exactly 0 where ``mask`` is False.

    Raises:
        ValueError: an empty bag.
    """
    require_cells(mask)
    return torch.softmax(scores.masked_fill(~mask, -torch.inf), dim=1)


class MeanHead(nn.Module):
    """The mean of the cells, then one linear layer; no attention."""

    def __init__(self, d_in: int, n_classes: int) -> None:
        super().__init__()
        self.classify = nn.Linear(d_in, n_classes)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, None]:
        """Slide logits (B, C) of ``x`` (B, N, D) under ``mask`` (B, N)."""
        require_cells(mask)
        weight = mask.to(x.dtype).unsqueeze(-1)  # (B, N, 1)
        pooled = (x * weight).sum(dim=1) / weight.sum(dim=1)  # (B, D)
        return self.classify(pooled), None


class MaxHead(nn.Module):
    """Every cell is classified by one linear layer; the most abnormal cell speaks for the slide.

    Most abnormal: with the lowest probability of class 0, which is NILM in every slide class list.
    """

    def __init__(self, d_in: int, n_classes: int) -> None:
        super().__init__()
        self.classify = nn.Linear(d_in, n_classes)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, None]:
        """Slide logits (B, C) of ``x`` (B, N, D) under ``mask`` (B, N)."""
        require_cells(mask)
        logits = self.classify(x)  # (B, N, C)
        log_p_nilm = logits[..., 0] - torch.logsumexp(logits, dim=-1)  # (B, N)
        worst = log_p_nilm.masked_fill(~mask, torch.inf).argmin(dim=1)  # (B,)
        return logits[torch.arange(len(x), device=x.device), worst], None
