"""SimCLR [1]: two views of a cell find each other among all other views of the batch (NT-Xent).

Departures of the recipe: no grey pictures and no blur (colour and focus are what cells are read
by), crops of 0.6 of the side and more (a nucleus's size is diagnostic), turns by any angle (a cell
has no upright), AdamW for LARS, small batches.

[1] Chen et al., "A simple framework for contrastive learning", ICML 2020 (arXiv 2002.05709).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from koilo.runtime import full_precision


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Mean over all 2B views of -log softmax of the similarity to their other view.

    Args:
        first: (B, D) projections of one view of each cell; B is 2 or more.
        second: (B, D) of the other, in the same order.
        temperature: divides cosine similarities.
    """
    z = functional.normalize(torch.cat([first, second]).float(), dim=1)  # (2B, D)
    with full_precision(z.device):
        similar = z @ z.T / temperature  # (2B, 2B)
    similar = similar.masked_fill(torch.eye(len(z), dtype=torch.bool, device=z.device), -torch.inf)
    other = torch.arange(len(z), device=z.device).roll(len(first))  # i + B, i - B
    return functional.cross_entropy(similar, other)
