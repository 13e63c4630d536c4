"""The paper's slide head: attention over cells, then four densely connected layers [1].

[1] STRIDE (the paper behind koilo), its slide-level classifier: attention of 128 with dropout .1,
four dense layers with LayerNorm. Where the paper is silent: the layers are 128 wide, LayerNorm
follows GELU, dropout falls on the attention branch alone, the layers stand after pooling (or
before it: ``pre_pool``). Nothing is normalised between the cells and the head: a LayerNorm there
makes the sum of the gradient over a cell's features exactly zero, and the class activation map of
SWIFT's eq. 4 with it. The layers' own LayerNorms leave the way past them open.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from koilo.mil.pooling import masked_softmax

N_LAYERS = 4


class DenseAttention(nn.Module):
    """``e = w · dropout(tanh(V z))``, softmax, sum; each of four layers sees all before it."""

    def __init__(
        self,
        d_in: int,
        n_classes: int,
        hidden: int = 128,
        dropout: float = 0.1,
        pre_pool: bool = False,
    ) -> None:
        """Build it.

        Args:
            d_in: numbers a cell.
            n_classes: slide classes.
            hidden: width of the attention and of each dense layer.
            dropout: on the attention branch.
            pre_pool: the dense layers read each cell before pooling, not the slide after it.
        """
        super().__init__()
        self.pre_pool = pre_pool
        self.project = nn.Linear(d_in, hidden)
        self.dropout = nn.Dropout(dropout)
        # One weight for all: a bias would be the same for every cell and vanish in the softmax.
        self.score = nn.Linear(hidden, 1, bias=False)
        widths = [d_in + i * hidden for i in range(N_LAYERS + 1)]
        self.layers = nn.ModuleList(nn.Linear(width, hidden) for width in widths[:-1])
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(N_LAYERS))
        self.classify = nn.Linear(widths[-1], n_classes)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Slide logits (B, C) and attention (B, N) of ``x`` (B, N, D) under ``mask`` (B, N)."""
        hidden = self.dropout(torch.tanh(self.project(x)))  # (B, N, hidden)
        attention = masked_softmax(self.score(hidden).squeeze(-1), mask)  # (B, N)
        deep = self._deepened(x) if self.pre_pool else x
        seen = torch.einsum("bn,bnd->bd", attention, deep)  # (B, D)
        return self.classify(seen if self.pre_pool else self._deepened(seen)), attention

    def _deepened(self, seen: Tensor) -> Tensor:
        """What the layers are given (…, D), and beside it what each of them says of all before."""
        for layer, norm in zip(self.layers, self.norms, strict=True):
            said = norm(functional.gelu(layer(seen)))  # (…, hidden)
            seen = torch.cat([seen, said], dim=-1)
        return seen
