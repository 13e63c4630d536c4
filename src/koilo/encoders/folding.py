"""Fold BatchNorm into the convolution before it: the same numbers in eval mode, less work."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

_IN_SEQUENCE = ("ResNetConvLayer", "ResNetShortCut")
"""Layers of transformers' ResNet that run their children in the order they stand in."""


def fold_batchnorm(model: nn.Module) -> nn.Module:
    """Fold every convolution-BatchNorm pair of ``model`` that is run in sequence, in place.

    The output in eval mode stays the same up to rounding; the model can no longer be trained
    sensibly. Returns ``model`` for chaining.

    Raises:
        ValueError: the model is in training mode, where BatchNorm is not a fixed map.
    """
    if model.training:
        raise ValueError("fold_batchnorm needs a model in eval mode; call model.eval() first.")
    for module in model.modules():
        if isinstance(module, nn.Sequential) or type(module).__name__ in _IN_SEQUENCE:
            for (name, conv), (norm_name, norm) in pairwise(list(module.named_children())):
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    setattr(module, name, _folded(conv, norm))
                    setattr(module, norm_name, nn.Identity())
    return model


def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)  # (C,)
        bias = torch.zeros_like(scale) if conv.bias is None else conv.bias
        conv.weight.mul_(scale.view(-1, 1, 1, 1))
        conv.bias = nn.Parameter(norm.bias + scale * (bias - norm.running_mean))
    return conv
