"""Exponential moving averages: of a whole run's weights, and a teacher that follows its student."""

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

    def __init__(self, model: nn.Module, decay: float, young: float = 10.0) -> None:
        """Start from the model as it is; ``decay`` is the share kept at each update."""
        self.decay, self.young = decay, young
        self.shadow = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the model after update ``step`` (from 0); young averages forget faster."""
        decay = keep_share(self.decay, step, self.young)
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


def keep_share(decay: float, step: int, young: float = 10.0) -> float:
    """Share of an average kept at update ``step`` (from 0): young averages forget faster.

    Until ``decay`` is reached an average spans the last ``1 / (young - 1)`` of the steps so far.
    """
    return min(decay, (1 + step) / (young + step))


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, keep: float) -> None:
    """Move a teacher's weights and buffers towards its student's; ``keep`` is the share kept."""
    own = student.state_dict()
    for name, value in teacher.state_dict().items():
        if value.is_floating_point():
            value.lerp_(own[name], 1 - keep)
        else:
            value.copy_(own[name])
