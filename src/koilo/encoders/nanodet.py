"""The plain convolutional trunk for CPUs: NanoDet-g's backbone with BatchNorm in every unit.

The graph is the backbone of RangiLyu/nanodet's NanoDet-g [1]: 3x3 convolutions only, no depthwise
and no shuffle, which CPUs run about ten times faster than a ConvNeXt of equal accuracy. The
published weights have their BatchNorm folded away; `koilo.encoders.pretrained` gives each
convolution a fresh one, because without it fine-tuning is unstable.

[1] https://github.com/RangiLyu/nanodet, Apache-2.0, NanoDet-g, backbone "CustomCspNet".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from koilo.encoders.normalised import NormalisedTrunk

STAGES = ((32, 1, 1), (64, 2, 2), (128, 2, 2), (256, 3, 2))
"""Width, inner blocks and stride of each CSP stage; a stage gives twice its width."""

SLOPE = 0.1


class ConvUnit(nn.Sequential):
    """3x3 convolution, BatchNorm, LeakyReLU 0.1."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.LeakyReLU(SLOPE, inplace=True),
        )


class InnerBlock(nn.Module):
    """Two units of half width; both outputs are kept."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = ConvUnit(width, width // 2)
        self.second = ConvUnit(width // 2, width // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, W, H, W)`` to the same shape."""
        first = self.first(x)
        return torch.cat([self.second(first), first], dim=1)


class CspStage(nn.Module):
    """Entry unit with the stage's stride, inner blocks, exit unit beside the entry's output."""

    def __init__(self, in_channels: int, width: int, n_blocks: int, stride: int) -> None:
        super().__init__()
        self.entry = ConvUnit(in_channels, width, stride)
        self.blocks = nn.Sequential(*(InnerBlock(width) for _ in range(n_blocks)))
        self.exit = ConvUnit(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, 2 * width, H / stride, W / stride)``."""
        x = self.entry(x)
        return torch.cat([self.exit(self.blocks(x)), x], dim=1)


class NanoDetTrunk(NormalisedTrunk):
    """RGB images of 0-255 to the maps of each CSP stage, strides 4, 8, 16 and 32.

    Args:
        n_stages: how many of the four CSP stages to build.
        frozen_norm: BatchNorm keeps the statistics it has, in training too, as end-to-end training
            needs, where the bags of a few slides make a batch. Give it starting weights.
    """

    def __init__(self, n_stages: int = 3, frozen_norm: bool = False) -> None:
        super().__init__()
        self.frozen_norm = frozen_norm
        if not 1 <= n_stages <= len(STAGES):
            raise ValueError(f"n_stages is {n_stages}; 1 to {len(STAGES)} can be built.")
        self.stem = ConvUnit(3, 32, 2)
        self.pool = nn.MaxPool2d(3, 2, 1)
        channels, stages = 32, []
        for width, n_blocks, stride in STAGES[:n_stages]:
            stages.append(CspStage(channels, width, n_blocks, stride))
            channels = 2 * width
        self.stages = nn.ModuleList(stages)
        self.channels = tuple(2 * width for width, _, _ in STAGES[:n_stages])
        self.strides = (4, 8, 16, 32)[:n_stages]

    def train(self, mode: bool = True) -> NanoDetTrunk:
        """Set training mode; frozen statistics stay as they are."""
        super().train(mode)
        if self.frozen_norm:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map float RGB ``(B, 3, H, W)`` of 0-255 to one map a stage, ``(B, C, h, w)``."""
        x = self.normalised(images)
        x = self.pool(self.stem(x))  # (B, 32, H/4, W/4)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps
