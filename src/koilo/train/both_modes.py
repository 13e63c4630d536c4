"""Ask a trained network in train and in eval mode: how far BatchNorm's two answers lie apart.

In train mode BatchNorm normalises with the batch's own statistics, in eval mode with their running
average. Where the two differ, a network that trained well reads single slides badly; LayerNorm
networks give the same answer twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

T = TypeVar("T")


@torch.no_grad()
def in_both_modes(model: nn.Module, predict: Callable[[], T]) -> tuple[T, T]:
    """What ``predict()`` gives with BatchNorm as in training, and as in eval mode.

    All else is in eval mode both times (no dropout), also where ``predict`` sets eval mode itself,
    as `judge_slides` and `read_cells` do. The model is left as it was.

    Args:
        model: a trained network.
        predict: runs it, in the batches that are to be judged.
    """
    modes = {module: module.training for module in model.modules()}
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    averages = [(norm.running_mean, norm.running_var) for norm in norms]
    try:
        model.eval()
        in_eval = predict()
        for norm in norms:
            # Without averages BatchNorm takes the batch's statistics in any mode.
            norm.running_mean = norm.running_var = None
        in_train = predict()
    finally:
        for norm, (mean, variance) in zip(norms, averages, strict=True):
            norm.running_mean, norm.running_var = mean, variance
        for module, training in modes.items():
            module.training = training
    return in_train, in_eval
