"""Where in a crop the cell model sees a lesion: gradient times activation on its last maps.

For a network that pools its maps and ends in a linear layer this shares the log-odds of lesion out
over the crop, place by place. It costs one forward pass over the crops that are shown, and is asked
of those alone.
"""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class PoolingNet(Protocol):
    """A cell network whose features are pooled from its trunk's maps."""

    trunk: nn.Module
    head: nn.Module

    def pooled(self, maps: list[Tensor]) -> Tensor:
        """Features (B, D) of the trunk's maps."""


def lesion_maps(net: nn.Module, images: Tensor, fold: Tensor, negative: int) -> Tensor | None:
    """Where each crop looks like a lesion, over its highest place; None where a net cannot say.

    Args:
        net: a cell model in eval mode; it has maps to look at where it has ``pooled``.
        images: (B, 3, P, P) float RGB of 0-255.
        fold: (n_outputs, C) of 0 and 1, output to class.
        negative: the class that is no lesion.

    Returns:
        (B, P, P) in [0, 1]; all 0 where nothing in a crop speaks for a lesion.
    """
    if not hasattr(net, "pooled"):
        return None
    made = cast(PoolingNet, net)
    with torch.no_grad():
        maps = [each.detach() for each in made.trunk(images)]
    with torch.enable_grad():
        for each in maps:
            each.requires_grad_(True)
        log_p = made.head(made.pooled(maps)).log_softmax(1)  # (B, n_outputs)
        other = fold[:, negative] == 0
        log_odds = log_p[:, other].logsumexp(1) - log_p[:, ~other].logsumexp(1)  # (B,)
        gradients = torch.autograd.grad(log_odds.sum(), maps, allow_unused=True)
    side = images.shape[-1]
    total = torch.zeros(len(images), side, side, device=images.device)
    for each, gradient in zip(maps, gradients, strict=True):
        if gradient is None:  # a map that is not pooled
            continue
        share = (gradient * each.detach()).sum(1, keepdim=True)  # (B, 1, h, w)
        even = functional.interpolate(share, size=(side, side), mode="bilinear")[:, 0]
        total += even * (share.shape[2] * share.shape[3] / side**2)
    positive = total.clamp_min(0)
    return positive / positive.amax((1, 2), keepdim=True).clamp_min(1e-12)
