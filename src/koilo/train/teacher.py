"""A teacher: a copy of a network that follows it slowly, in Mean-Teacher, MoCo and DINO.

It is a submodule of what is trained, so that the loop's checkpoints hold it.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from koilo.train.ema import follow


class Teacher(nn.Module):
    """The average of a student's past weights; always in eval mode, never trained itself."""

    def __init__(self, student: nn.Module) -> None:
        """Start as a copy of the student."""
        super().__init__()
        self.net = copy.deepcopy(student).requires_grad_(False)

    def train(self, mode: bool = True) -> Teacher:
        """Stay in eval mode, statistics and all, whatever ``mode`` the whole is set to."""
        return super().train(False)

    def forward(self, *inputs: Any) -> Any:
        """What the averaged network answers."""
        return self.net(*inputs)

    def follow(self, student: nn.Module, keep: float) -> None:
        """Move towards the student; ``keep`` is the share that stays."""
        follow(self.net, student, keep)
