"""The cell network: a trunk by name, maps pooled over the crop and its middle, a linear head.

The nucleus lies at the crop's centre, the neighbourhood around it; so each of the last maps gives
two means, over everything and over the middle half [recipe: NanoDet start, stages 2 and 3].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from koilo.encoders.zoo import build_encoder

MODELS: dict[str, str] = {
    "mean": "koilo.cells.model:MeanCellNet",
    "pooled": "koilo.cells.model:PooledCellNet",
}
"""Cell models by the name that a bundle states."""


class MeanCellNet(nn.Module):
    """The paper's cell network: the mean of a trunk's last map, then one linear layer.

    What a slide head is trained through reads ``features``. They are not normalised: a LayerNorm
    here would make the sum of the slide logit's gradient over a cell's features exactly zero, and
    the class activation map of STRIDE's eq. 4 with it.

    Args:
        n_outputs: cell classes.
        encoder: a name of `koilo.encoders.zoo.ENCODERS`.
        encoder_config: arguments that replace the encoder's defaults.
    """

    def __init__(
        self,
        n_outputs: int,
        encoder: str = "convnext_twin",
        encoder_config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.trunk = build_encoder(encoder, **(encoder_config or {}))
        self.n_features = int(self.trunk.channels[-1])  # type: ignore[index]
        self.head = nn.Linear(self.n_features, n_outputs)

    def features(self, images: Tensor) -> Tensor:
        """Map float RGB ``(B, 3, P, P)`` of 0-255 to features ``(B, D)``."""
        # Channels last: a training step takes a sixth to a third less on a CPU.
        images = images.contiguous(memory_format=torch.channels_last)
        return self.pooled(self.trunk(images))

    def pooled(self, maps: list[Tensor]) -> Tensor:
        """Features (B, D) of the trunk's maps."""
        return maps[-1].mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Map float RGB ``(B, 3, P, P)`` of 0-255 to logits ``(B, n_outputs)``."""
        return self.head(self.features(images))


class PooledCellNet(nn.Module):
    """Crops to features and logits.

    Args:
        n_outputs: classes, the background included where the model has one.
        encoder: a name of `koilo.encoders.zoo.ENCODERS`.
        encoder_config: arguments that replace the encoder's defaults.
        n_maps: how many of the trunk's last maps are pooled.
        dropout: share of features dropped in training.
        frozen: how many of the trunk's first children stay as they are in training, statistics
            and all; what a pretrained trunk sees first needs no change, and steps cost less.
    """

    def __init__(
        self,
        n_outputs: int,
        encoder: str = "nanodet",
        encoder_config: Mapping[str, Any] | None = None,
        n_maps: int = 2,
        dropout: float = 0.2,
        frozen: int = 0,
    ) -> None:
        super().__init__()
        self.trunk = build_encoder(encoder, **(encoder_config or {}))
        channels: tuple[int, ...] = tuple(self.trunk.channels)  # type: ignore[arg-type]
        self.n_maps = min(n_maps, len(channels))
        self.n_features = 2 * sum(channels[-self.n_maps :])
        self.norm = nn.BatchNorm1d(self.n_features, affine=False)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.n_features, n_outputs)
        nn.init.zeros_(self.head.bias)
        nn.init.normal_(self.head.weight, std=0.01)
        self._frozen = list(self.trunk.children())[:frozen]
        for part in self._frozen:
            part.requires_grad_(False)

    def train(self, mode: bool = True) -> PooledCellNet:
        """Set training mode, but leave what is frozen in eval mode."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self

    def features(self, images: Tensor) -> Tensor:
        """Map float RGB ``(B, 3, P, P)`` of 0-255 to normalised features ``(B, D)``."""
        return self.pooled(self.trunk(images))

    def pooled(self, maps: list[Tensor]) -> Tensor:
        """Normalised features (B, D) of the trunk's maps."""
        used = maps[-self.n_maps :]
        pooled = [pool(each) for each in used for pool in (_whole, _middle)]
        return self.norm(torch.cat(pooled, dim=1))

    def forward(self, images: Tensor) -> Tensor:
        """Map float RGB ``(B, 3, P, P)`` of 0-255 to logits ``(B, n_outputs)``."""
        return self.head(self.dropout(self.features(images)))


def _whole(x: Tensor) -> Tensor:
    return x.mean((2, 3))  # (B, C)


def _middle(x: Tensor) -> Tensor:
    height, width = x.shape[2:]
    top, left = height // 4, width // 4
    return x[:, :, top : height - top, left : width - left].mean((2, 3))  # (B, C)
