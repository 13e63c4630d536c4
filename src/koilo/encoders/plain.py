"""The plain residual trunk: a stride-4 stem and BatchNorm residual stages, trained from nothing.

It needs no weights of anyone else's and is the baseline that pretrained trunks are held against.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; the second BatchNorm starts at zero."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )
        self.second = nn.Sequential(
            nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        nn.init.zeros_(cast(nn.BatchNorm2d, self.second[1]).weight)
        shortcut: list[nn.Module] = []
        if stride > 1:
            shortcut.append(nn.AvgPool2d(stride, ceil_mode=True))
        if in_channels != out_channels:
            shortcut += [
                nn.Conv2d(in_channels, out_channels, 1, bias=False),
                nn.BatchNorm2d(out_channels),
            ]
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C_in, H, W)`` to ``(B, C_out, H / stride, W / stride)``."""
        return torch.relu(self.second(self.first(x)) + self.shortcut(x))


class PlainTrunk(nn.Module):
    """RGB images of 0-255 to one map a stage, at strides 4, 8, 16 and on.

    Args:
        widths: channels of each stage.
        blocks: residual blocks of each stage; as many entries as widths.
    """

    def __init__(
        self, widths: Sequence[int] = (32, 64, 128, 256), blocks: Sequence[int] = (1, 2, 2, 1)
    ) -> None:
        super().__init__()
        if len(widths) != len(blocks):
            raise ValueError(
                f"{len(widths)} widths and {len(blocks)} block counts; as many of each."
            )
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 7, 4, 3, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        )
        channels, stages = widths[0], []
        for number, (width, n_blocks) in enumerate(zip(widths, blocks, strict=True)):
            first = ResidualBlock(channels, width, stride=1 if number == 0 else 2)
            rest = (ResidualBlock(width, width, stride=1) for _ in range(n_blocks - 1))
            stages.append(nn.Sequential(first, *rest))
            channels = width
        self.stages = nn.ModuleList(stages)
        self.channels = tuple(widths)
        self.strides = tuple(4 * 2**number for number in range(len(widths)))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map float RGB ``(B, 3, H, W)`` of 0-255 to one map a stage, ``(B, C, h, w)``."""
        x = self.stem(images / 127.5 - 1.0)  # (B, C, H/4, W/4)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps
