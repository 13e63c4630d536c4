"""What trunks with published statistics do first: take off the mean, divide by the deviation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

MEAN_RGB = (123.675, 116.28, 103.53)
STD_RGB = (58.395, 57.12, 57.375)


class NormalisedTrunk(nn.Module):
    """A trunk that reads RGB of 0-255 and works on normalised values.

    Mean and deviation are buffers that no checkpoint holds: they are the same for all weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN_RGB).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD_RGB).view(1, 3, 1, 1), persistent=False)

    def normalise_by(self, mean_rgb: Sequence[float], std_rgb: Sequence[float]) -> None:
        """Take another mean and deviation of 0-255; no checkpoint holds them."""
        for name, values in (("mean", mean_rgb), ("std", std_rgb)):
            own = cast(Tensor, getattr(self, name))
            own.copy_(torch.tensor(values).view(1, 3, 1, 1))

    def normalised(self, images: Tensor) -> Tensor:
        """Float RGB ``(B, 3, H, W)`` of 0-255 less the mean, over the deviation."""
        return (images - cast(Tensor, self.mean)) / cast(Tensor, self.std)
