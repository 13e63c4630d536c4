"""Hierarchical cross-entropy: the leaf's probability as a product of steps down the tree [1].

[1] Bertinetto et al.: Making Better Mistakes, CVPR 2020, the loss of HierSwin (IEEE TMI 2024). The
probability of each class given its parent is a quotient of sums of the softmax over leaves; the
logarithm of a step into level n weighs exp(-alpha (n - 1)): with alpha > 0 a wrong branch near the
root costs more than a wrong leaf. Departure: weights are scaled to a mean of 1 over the levels, so
that alpha moves no learning rate; with alpha 0 the loss is plain cross-entropy.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from koilo.taxonomy.hierarchy import Hierarchy


class HierarchicalLoss(nn.Module):
    """Map leaf logits (B, L) and leaf labels (B,) to a scalar."""

    folds: Tensor
    weights: Tensor

    def __init__(self, hierarchy: Hierarchy, alpha: float = 0.4) -> None:
        """``alpha`` 0.1 to 0.6 were tried by HierSwin's authors, who keep 0.4."""
        super().__init__()
        depth = hierarchy.depth
        folds = np.stack([hierarchy.fold(level) for level in range(1, depth + 1)])
        self.register_buffer("folds", torch.from_numpy(folds))  # (levels, L)
        weights = torch.exp(-alpha * torch.arange(depth, dtype=torch.float32))
        self.register_buffer("weights", weights / weights.mean())

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean over samples of the weighted steps from the root to the true leaf."""
        log_p = torch.log_softmax(logits.float(), dim=1)  # (B, L)
        total, parent = log_p.new_zeros(()), log_p.new_zeros(len(log_p))
        for fold, weight in zip(self.folds, self.weights, strict=True):
            below = fold == fold[labels].unsqueeze(1)  # (B, L) leaves under the true class
            own = torch.logsumexp(log_p.masked_fill(~below, -torch.inf), dim=1)  # (B,)
            total = total - weight * (own - parent).mean()
            parent = own
        return total
