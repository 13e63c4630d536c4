"""An exponential moving average of a model's weights and buffers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """Averages every floating-point weight and buffer; integer buffers are copied.

    BatchNorm's running statistics are averaged with the weights: statistics of the last steps do
    not fit averaged weights.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Start from the model as it is; ``decay`` is the share kept at each update."""
        self.decay = decay
        self.shadow = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the model after update ``step`` (from 0); young averages forget faster."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.shadow[name].lerp_(value, 1 - decay)
            else:
                self.shadow[name].copy_(value)

    def load(self, shadow: Mapping[str, Tensor]) -> None:
        """Take the averages of a checkpoint."""
        for name, value in shadow.items():
            self.shadow[name].copy_(value)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Lend the averages to the model within the block, then give its own weights back."""
        own = {name: value.detach().clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self.shadow)
        try:
            yield
        finally:
            model.load_state_dict(own)
