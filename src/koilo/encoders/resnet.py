"""ResNet with BatchNorm from transformers: the backbone that the paper reports to collapse.

End-to-end on bags its batch statistics are those of a few slides, which fit no slide that is read
alone. `koilo.train.both_modes` measures how far a trained one's answers part.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from koilo.encoders.normalised import NormalisedTrunk


class ResNetTrunk(NormalisedTrunk):
    """RGB images of 0-255 to one map a stage, strides 4, 8, 16 and 32.

    Args:
        widths: channels of the four stages.
        depths: blocks of the four stages.
        stem: channels of the stem.
        block: ``basic`` (two 3x3 convolutions, ResNet-18 and 34) or ``bottleneck`` (ResNet-50).
    """

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 256, 512),
        depths: Sequence[int] = (2, 2, 2, 2),
        stem: int = 64,
        block: str = "basic",
    ) -> None:
        super().__init__()
        from transformers import ResNetConfig, ResNetModel

        config = ResNetConfig(
            hidden_sizes=list(widths), depths=list(depths), embedding_size=stem, layer_type=block
        )
        self.backbone = ResNetModel(config)
        self.channels = tuple(widths)
        self.strides = (4, 8, 16, 32)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map float RGB ``(B, 3, H, W)`` of 0-255 to one map a stage, ``(B, C, h, w)``."""
        x = self.normalised(images)
        states = self.backbone(x, output_hidden_states=True).hidden_states
        return list(states[1:])
