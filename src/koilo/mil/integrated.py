"""Share a slide's number out over its cells: integrated gradients from a bag of mean cells [1].

[1] Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks, ICML 2017. The path begins at
a bag whose cells are all the mean of the real ones: cells that do not differ, none of them chosen.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

PATH_STEPS = 32


def integrated_shares(value: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Each cell's share (N,) in the rise of ``value`` over that of a bag of mean cells.

    The shares sum to that rise, up to the ``PATH_STEPS`` midpoints of the path.

    Args:
        value: from the cells (1, N, D) to a scalar, with a graph.
        x: (N, D), what the head reads of each cell.
    """
    start = x.mean(dim=0).expand_as(x)
    total = torch.zeros_like(x)
    for step in range(PATH_STEPS):
        place = torch.lerp(start, x, (step + 0.5) / PATH_STEPS).detach().requires_grad_(True)
        total += torch.autograd.grad(value(place.unsqueeze(0)), place)[0]
    return ((x - start) * total / PATH_STEPS).sum(dim=1)  # (N,)
