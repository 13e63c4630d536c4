"""CLAM: gated attention whose ends also learn to tell evidence from the rest [1].

[1] Lu et al.: Data-efficient and weakly supervised computational pathology on whole-slide images,
Nature Biomedical Engineering 2021. Written from the paper. SB has one attention for all classes, MB
one a class. In training, for the slide's own class the cells of highest attention are called
evidence and those of lowest attention none, for every other class those of highest attention none,
each by that class's own two-way classifier.
Departures: cross-entropy of the cells in place of the smooth top-1 SVM; a bag of fewer than 2 k
cells gives half of its cells at each end; one weight, relative to the slide's loss, in place of two
that sum to 1; one mean over all cells called, where the authors average each class's, so that the
slide's own class weighs 2 / (C + 1), not 1 / C; no dropout on the attention's two branches; the
cells' loss sees a dropout of its own draw.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from koilo.mil.pooling import masked_softmax, require_cells


class _Clam(nn.Module):
    """What SB and MB share: projection, attention branches, cell classifiers, their loss."""

    def __init__(
        self, d_in: int, n_classes: int, n_branches: int, sizes: tuple[int, int], dropout: float
    ) -> None:
        super().__init__()
        width, hidden = sizes
        self.project = nn.Sequential(nn.Linear(d_in, width), nn.ReLU(), nn.Dropout(dropout))
        self.content = nn.Linear(width, hidden)
        self.gate = nn.Linear(width, hidden)
        # No bias: the same for every cell, it would vanish in the softmax.
        self.score = nn.Linear(hidden, n_branches, bias=False)
        self.cells = nn.Linear(width, 2 * n_classes)  # class c: outputs 2 c (none), 2 c + 1
        self.n_classes = n_classes

    def _attend(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Projected cells (B, N, W) and the raw scores of each branch (B, N, branches)."""
        h = self.project(x)  # (B, N, W)
        return h, self.score(torch.tanh(self.content(h)) * torch.sigmoid(self.gate(h)))

    def _cell_loss(
        self, x: Tensor, mask: Tensor, labels: Tensor, k: int, weight: float
    ) -> Mapping[str, Tensor]:
        """The weighted loss of the cells at both ends; 0 where every bag is a single cell."""
        h, scores = self._attend(x)
        logits, targets = [], []
        for row, own in enumerate(labels.tolist()):
            real = mask[row].nonzero()[:, 0]
            k_here = min(k, len(real) // 2)
            for c in range(self.n_classes if k_here else 0):
                order = real[scores[row, real, min(c, scores.shape[-1] - 1)].argsort()]
                ends = [(order[-k_here:], int(c == own))]
                ends += [(order[:k_here], 0)] if c == own else []
                for cells, target in ends:
                    logits.append(self.cells(h[row, cells])[:, 2 * c : 2 * c + 2])  # (k, 2)
                    targets.append(torch.full_like(cells, target))
        if not logits:
            return {"cells": h.new_zeros(())}
        loss = functional.cross_entropy(torch.cat(logits), torch.cat(targets))
        return {"cells": weight * loss}


class ClamSb(_Clam):
    """One attention for all classes, then one linear layer."""

    def __init__(
        self,
        d_in: int,
        n_classes: int,
        width: int = 512,
        hidden: int = 256,
        dropout: float = 0.25,
        k: int = 8,
        cell_weight: float = 3 / 7,
    ) -> None:
        """``k`` cells at each end of the attention; ``cell_weight`` of their loss [.3 to .7]."""
        super().__init__(d_in, n_classes, 1, (width, hidden), dropout)
        self.k, self.cell_weight = k, cell_weight
        self.classify = nn.Linear(width, n_classes)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Slide logits (B, C) and attention (B, N) of ``x`` (B, N, D) under ``mask`` (B, N)."""
        h, scores = self._attend(x)
        attention = masked_softmax(scores[..., 0], mask)  # (B, N)
        # Padding may hold anything: zero it, or an infinite cell would survive its weight of 0.
        h = h.masked_fill(~mask.unsqueeze(-1), 0.0)
        return self.classify(torch.einsum("bn,bnw->bw", attention, h)), attention

    def extra_losses(self, x: Tensor, mask: Tensor, labels: Tensor) -> Mapping[str, Tensor]:
        """The loss of the cells at both ends of the attention, for slide ``labels`` (B,)."""
        return self._cell_loss(x, mask, labels, self.k, self.cell_weight)


class ClamMb(_Clam):
    """One attention a class, each read by that class's own linear output."""

    def __init__(
        self,
        d_in: int,
        n_classes: int,
        width: int = 512,
        hidden: int = 256,
        dropout: float = 0.25,
        k: int = 8,
        cell_weight: float = 3 / 7,
    ) -> None:
        """``k`` cells at each end of the attention; ``cell_weight`` of their loss [.3 to .7]."""
        super().__init__(d_in, n_classes, n_classes, (width, hidden), dropout)
        self.k, self.cell_weight = k, cell_weight
        self.weight = nn.Parameter(torch.randn(n_classes, width) / width**0.5)
        self.bias = nn.Parameter(torch.zeros(n_classes))

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Slide logits (B, C), and the attention (B, N) of the class that is most probable."""
        require_cells(mask)
        h, scores = self._attend(x)
        real = mask.unsqueeze(-1)
        attention = torch.softmax(scores.masked_fill(~real, -torch.inf), dim=1)  # (B, N, C)
        pooled = torch.einsum("bnc,bnw->bcw", attention, h.masked_fill(~real, 0.0))
        logits = (pooled * self.weight).sum(dim=-1) + self.bias  # (B, C)
        called = logits.argmax(dim=1)  # (B,)
        return logits, attention[torch.arange(len(x), device=x.device), :, called]

    def extra_losses(self, x: Tensor, mask: Tensor, labels: Tensor) -> Mapping[str, Tensor]:
        """The loss of the cells at both ends of each class's attention, for slide ``labels``."""
        return self._cell_loss(x, mask, labels, self.k, self.cell_weight)
