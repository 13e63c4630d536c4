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

T = TypeVar("T")


@torch.no_grad()
def in_both_modes(model: nn.Module, predict: Callable[[], T]) -> tuple[T, T]:
    """What ``predict()`` gives with BatchNorm in train mode and in eval mode.

    All else is in eval mode both times (no dropout). The model is left as it was, running averages
    and modes included.

    Args:
        model: a trained network.
        predict: runs it without setting its mode, in the batches that are to be judged.
    """
    modes = {module: module.training for module in model.modules()}
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        model.eval()
        in_eval = predict()
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train()
        in_train = predict()
    finally:
        model.load_state_dict(kept)
        for module, training in modes.items():
            module.training = training
    return in_train, in_eval
