"""Ordinal loss: for each step on the scale of classes, is the truth above it? [1].

[1] Cheng, Wang, Pollastri: A neural network approach to ordinal regression, IJCNN 2008, which
codes class y as "above 0, …, above y - 1, not above y, …". Departure: the probability of being
above a step is the sum of the softmax over the classes above it, not a sigmoid of its own. It falls
from step to step by construction, heads keep their C outputs, and what reads a head afterwards
stays as it is. (The conditional form of Shi, Cao, Raschka 2021, written with the same softmax,
would telescope to plain cross-entropy.) AGC has no natural place on the scale of squamous lesions:
the order of the classes given is the order that is learnt.
"""

from __future__ import annotations

import torch
from torch import Tensor


def ordinal_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over bags of the summed cross-entropies of all steps, a scalar.

    Args:
        logits: (B, C), classes in their order.
        labels: (B,) of 0 … C - 1.
    """
    log_p = torch.log_softmax(logits.float(), dim=1)  # (B, C)
    up_to = torch.logcumsumexp(log_p, dim=1)[:, :-1]  # (B, C - 1) log p(y <= k)
    above = torch.logcumsumexp(log_p.flip(1), dim=1).flip(1)[:, 1:]  # (B, C - 1) log p(y > k)
    steps = torch.arange(logits.shape[1] - 1, device=logits.device)
    is_above = labels.unsqueeze(1) > steps  # (B, C - 1)
    return -torch.where(is_above, above, up_to).sum(dim=1).mean()
