"""ConvNeXt from transformers at any width: the paper's cell model, for machines with a GPU."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from koilo.encoders.normalised import NormalisedTrunk


class ConvNextTrunk(NormalisedTrunk):
    """RGB images of 0-255 to one map a stage, strides 4, 8, 16 and 32.

    Args:
        widths: channels of the four stages.
        depths: blocks of the four stages.
        drop_path: share of residual branches skipped in training, rising with depth.
    """

    def __init__(
        self,
        widths: Sequence[int] = (40, 80, 160, 320),
        depths: Sequence[int] = (2, 2, 6, 2),
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        from transformers import ConvNextConfig, ConvNextModel

        config = ConvNextConfig(
            hidden_sizes=list(widths), depths=list(depths), drop_path_rate=drop_path
        )
        self.backbone = ConvNextModel(config)
        # The pooled output's norm is not part of a map, and would get no gradient.
        self.backbone.layernorm = nn.Identity()
        self.channels = tuple(widths)
        self.strides = (4, 8, 16, 32)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map float RGB ``(B, 3, H, W)`` of 0-255 to one map a stage, ``(B, C, h, w)``."""
        x = self.normalised(images)
        states = self.backbone(x, output_hidden_states=True).hidden_states
        return list(states[1:])
