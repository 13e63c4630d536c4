"""Gated attention pooling over cells [1].

[1] Ilse, Tomczak, Welling: Attention-based Deep Multiple Instance Learning, ICML 2018, eq. 9.
Departures: softmax over several classes in place of one sigmoid; no embedding layer before it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from koilo.mil.pooling import masked_softmax


class Abmil(nn.Module):
    """Attention from a tanh and a sigmoid branch, a weighted sum, one linear layer."""

    def __init__(self, d_in: int, n_classes: int, hidden: int = 128, dropout: float = 0.1) -> None:
        """``hidden`` is the width of both branches; ``dropout`` falls on the pooled cell."""
        super().__init__()
        self.content = nn.Linear(d_in, hidden)
        self.gate = nn.Linear(d_in, hidden)
        self.score = nn.Linear(hidden, 1)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(d_in, n_classes)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Slide logits (B, C) and attention (B, N) of ``x`` (B, N, D) under ``mask`` (B, N)."""
        gated = torch.tanh(self.content(x)) * torch.sigmoid(self.gate(x))  # (B, N, hidden)
        attention = masked_softmax(self.score(gated).squeeze(-1), mask)  # (B, N)
        pooled = torch.einsum("bn,bnd->bd", attention, x)  # (B, D)
        return self.classify(self.dropout(pooled)), attention
