"""Vision transformers from transformers, ViT and DINOv2, at any width and any crop size.

The paper names ViT-small as its second backbone. Position embeddings are resized to the crop; what
goes out is the map of patch tokens, so that a pool over the map treats all trunks alike. The class
token takes part in the attention and is then left out.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from koilo.encoders.normalised import NormalisedTrunk

FAMILIES = ("vit", "dinov2")


class ViTTrunk(NormalisedTrunk):
    """RGB images of 0-255 to one map of patch tokens.

    Args:
        family: ``vit`` (also the graph of the published DINO weights) or ``dinov2``.
        width: features of a token.
        depth: blocks.
        heads: attention heads; they divide the width.
        patch_px: side of a patch; pixels of a crop beyond whole patches are not seen.
        position_px: crop side for which there is one position embedding a patch.
    """

    def __init__(
        self,
        family: str = "vit",
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
        patch_px: int = 16,
        position_px: int = 96,
    ) -> None:
        super().__init__()
        if family not in FAMILIES or width % heads:
            raise ValueError(
                f"family is {family!r}, width {width} and heads {heads}; {' or '.join(FAMILIES)} "
                "can be built, with heads that divide the width."
            )
        self.family, self.patch_px = family, patch_px
        self.backbone = _build(
            family,
            hidden_size=width,
            num_hidden_layers=depth,
            num_attention_heads=heads,
            intermediate_size=4 * width,
            patch_size=patch_px,
            image_size=position_px,
        )
        self.channels = (width,)
        self.strides = (patch_px,)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map float RGB ``(B, 3, H, W)`` of 0-255 to one map ``(B, C, h, w)``.

        Raises:
            ValueError: an image is smaller than one patch.
        """
        rows, columns = (side // self.patch_px for side in images.shape[2:])
        if not rows or not columns:
            raise ValueError(
                f"images are {tuple(images.shape[2:])}; at least one patch of {self.patch_px} px "
                "is needed."
            )
        x = self.normalised(images)
        x = x[:, :, : rows * self.patch_px, : columns * self.patch_px]
        # DINOv2 resizes its position embeddings unasked.
        asked = {"interpolate_pos_encoding": True} if self.family == "vit" else {}
        tokens = self.backbone(x, **asked).last_hidden_state[:, 1:]  # (B, N, C)
        return [tokens.transpose(1, 2).reshape(len(x), -1, rows, columns)]


def _build(family: str, **config: Any) -> nn.Module:
    from transformers import Dinov2Config, Dinov2Model, ViTConfig, ViTModel

    # A mask token and a pooling layer would get no gradient.
    if family == "vit":
        model: nn.Module = ViTModel(ViTConfig(**config), add_pooling_layer=False)
    else:
        del config["intermediate_size"]
        model = Dinov2Model(Dinov2Config(use_mask_token=False, **config))
    return model
