"""MoCo v2 [1, 2]: a view finds its cell's other view among a queue of earlier ones.

Departures of the recipe: the key encoder runs in eval mode, so that BatchNorm uses averaged
statistics and needs no shuffling; a queue that is not yet full counts only what it holds; AdamW
for SGD; views as in `koilo.train.losses.simclr`.

[1] He et al., "Momentum contrast", CVPR 2020 (arXiv 1911.05722).
[2] Chen et al., "Improved baselines with momentum contrastive learning" (arXiv 2003.04297).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from koilo.runtime import full_precision
from koilo.train.processes import of_all


def info_nce(queries: Tensor, keys: Tensor, others: Tensor, temperature: float) -> Tensor:
    """Mean of -log softmax of each query's similarity to its key, against the others.

    Args:
        queries: (B, D).
        keys: (B, D), the other views of the same cells; no gradient flows there.
        others: (Q, D) unit vectors of other cells; Q may be 0.
        temperature: divides cosine similarities.
    """
    q = functional.normalize(queries.float(), dim=1)
    k = functional.normalize(keys.detach().float(), dim=1)
    own = (q * k).sum(1, keepdim=True)  # (B, 1)
    with full_precision(q.device):
        logits = torch.cat([own, q @ others.T], dim=1) / temperature  # (B, 1 + Q)
    return functional.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))


class KeyQueue(nn.Module):
    """The last ``size`` keys, first in first out."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("keys", torch.zeros(size, width))
        self.register_buffer("n_put", torch.zeros((), dtype=torch.long))

    def forward(self) -> Tensor:
        """The keys that it holds, ``(Q, D)``, in no order that matters."""
        return cast(Tensor, self.keys)[: int(cast(Tensor, self.n_put))]

    def put(self, keys: Tensor) -> None:
        """Add keys ``(B, D)`` of every process as unit vectors; the oldest make room."""
        stored, n_put = cast(Tensor, self.keys), cast(Tensor, self.n_put)
        for batch in of_all(functional.normalize(keys.float(), dim=1)[-len(stored) :]):
            places = (int(n_put) + torch.arange(len(batch), device=batch.device)) % len(stored)
            stored[places] = batch
            n_put += len(batch)
