"""D-FINE from transformers as the second contender: N-size, built from its configuration.

[1] Peng et al., D-FINE, ICLR 2025; transformers' implementation (Apache-2.0). Departures: random
weights, so BatchNorm of the backbone is not frozen; two labels, "positive cell" and "other
nucleus", so that it learns from the same points as the own detector; the N settings follow
transformers' field names and were not checked against the published file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from koilo.detect.model import Boxes
from koilo.detect.targets import TileTruth
from koilo.errors import ConfigError

BACKBONE_N: dict[str, Any] = {
    "model_type": "hgnet_v2",
    "stem_channels": [3, 16, 16],
    "stage_in_channels": [16, 64, 256, 512],
    "stage_mid_channels": [16, 32, 64, 128],
    "stage_out_channels": [64, 256, 512, 1024],
    "hidden_sizes": [64, 256, 512, 1024],  # transformers reads these beside stage_out_channels
    "stage_num_blocks": [1, 1, 2, 1],
    "stage_light_block": [False, False, True, True],
    "stage_kernel_size": [3, 3, 5, 5],
    "stage_numb_of_layers": [3, 3, 3, 3],
    "depths": [1, 1, 2, 1],
    "use_learnable_affine_block": True,
    "out_indices": [3, 4],
}
SETTINGS_N: dict[str, Any] = {
    "encoder_in_channels": [512, 1024],
    "encoder_hidden_dim": 128,
    "encoder_ffn_dim": 512,
    "encode_proj_layers": [1],
    "feat_strides": [16, 32],
    "hidden_expansion": 0.34,
    "depth_mult": 0.5,
    "d_model": 128,
    "decoder_in_channels": [128, 128],
    "decoder_ffn_dim": 512,
    "decoder_layers": 3,
    "decoder_n_points": [6, 6],
    "num_feature_levels": 2,
}


class DFineDetector(nn.Module):
    """D-FINE-N behind the same two methods as the own detector.

    Args:
        num_queries: most boxes a tile.
        settings: fields of `DFineConfig` that replace the N settings.
        backbone: fields of `HGNetV2Config` that replace the N settings.
    """

    def __init__(
        self,
        *,
        num_queries: int = 300,
        settings: dict[str, Any] | None = None,
        backbone: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        from transformers import DFineConfig, DFineForObjectDetection

        config = DFineConfig(
            backbone_config=BACKBONE_N | (backbone or {}),
            freeze_backbone_batch_norms=False,  # frozen statistics of random weights are noise
            num_queries=num_queries,
            num_labels=2,
            **(SETTINGS_N | (settings or {})),
        )
        self.net = DFineForObjectDetection(config)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map float RGB (B, 3, H, W) of 0-255 to logits (B, Q, 2) and boxes (B, Q, 4).

        Boxes are centre x, y, w, h as shares of the tile.
        """
        self._check_size(images)
        output = self.net(pixel_values=images / 255)
        return output.logits, output.pred_boxes

    def losses(self, images: Tensor, truths: Sequence[TileTruth]) -> dict[str, Tensor]:
        """D-FINE's own losses, already weighted and summed: ``detection``."""
        self._check_size(images)
        height, width = images.shape[2:]
        labels = [_to_labels(truth, width, height, images.device) for truth in truths]
        return {"detection": self.net(pixel_values=images / 255, labels=labels).loss}

    def detect(self, images: Tensor, *, limit: int, floor: float) -> Boxes:
        """Boxes of positive cells: at most ``limit`` a tile, scores over ``floor``."""
        height, width = images.shape[2:]
        logits, shares = self(images)
        scale = torch.tensor([width, height, width, height], device=images.device)
        found = []
        for p, box in zip(torch.sigmoid(logits[..., 0]), shares * scale, strict=True):
            values, order = torch.topk(p, min(limit, len(p)))
            order, values = order[values > floor], values[values > floor]
            x, y, w, h = box[order].unbind(1)  # each (n,)
            found.append((torch.stack([x - w / 2, y - h / 2, w, h], dim=1), values))
        return found

    def _check_size(self, images: Tensor) -> None:
        config = self.net.config
        height, width = images.shape[2:]
        places = sum((height // stride) * (width // stride) for stride in config.feat_strides)
        if places < config.num_queries:
            raise ConfigError(
                f"D-FINE has {config.num_queries} queries and a tile of {width} x {height} px "
                f"only {places} places to start them. At 256 px there are 320. "
                "Use larger tiles or fewer queries."
            )


def _to_labels(truth: TileTruth, width: int, height: int, device: torch.device) -> dict[str, Any]:
    boxes = torch.from_numpy(truth.boxes_px).to(device)  # (N, 4) x, y, w, h
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    scale = torch.tensor([width, height, width, height], device=device)
    return {
        "class_labels": torch.from_numpy(~truth.positive).long().to(device),
        "boxes": torch.cat([centres, boxes[:, 2:]], dim=1) / scale,
    }
