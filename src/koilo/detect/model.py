"""The own detector: NanoDet's trunk, a light top-down path, heat and box maps at stride 2.

Anchor-free and one-stage, after CenterNet [1]: a nucleus is a peak of a heat map. Nuclei are some
10 px wide and crowded at 1.0 µm/px, so the maps are finer than the features: the last 1x1
convolution predicts four map cells a feature cell (pixel shuffle), which costs almost nothing.

[1] Zhou et al., Objects as Points, 2019. Departures: quality focal loss on soft bumps, a second
channel "any nucleus", several positives a nucleus.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from koilo.detect.losses import box_loss, quality_focal_loss
from koilo.detect.targets import STRIDE, TileTruth, draw_targets
from koilo.encoders.nanodet import ConvUnit, NanoDetTrunk

Boxes = list[tuple[Tensor, Tensor]]
"""A tile each: boxes (n, 4) x, y, w, h in tile pixels and scores (n,), best first."""

CENTRE_CELLS = 0.8
"""A place whose offset is shorter than this, in map cells, holds the centre itself."""
SHOULDER_FLOOR = 0.02
"""Least score of a place that is no local maximum: keeps empty ground from filling the list."""


class CentreDetector(nn.Module):
    """Heat and box maps of a tile; one class "positive cell", one helper channel "nucleus".

    Args:
        n_stages: stages of the trunk.
        width: channels of the top-down path.
        box_px: reference side of a box in tile pixels (the size predicted by zeros).
        nucleus_share: share of the nucleus channel in the score a box is ranked by.
    """

    def __init__(
        self,
        *,
        n_stages: int = 3,
        width: int = 48,
        box_px: float = 20.5,
        nucleus_share: float = 0.0,
    ) -> None:
        super().__init__()
        self.box_px, self.nucleus_share = box_px, nucleus_share
        self.trunk = NanoDetTrunk(n_stages)
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in self.trunk.channels)
        self.smooth = nn.ModuleList(ConvUnit(width, width) for _ in self.trunk.channels[:2])
        self.head = nn.Conv2d(width, 6 * 4, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        bias = torch.zeros(6 * 4)
        bias[: 2 * 4] = -4.0  # a nucleus is rare: p starts at 0.02
        self.head.bias = nn.Parameter(bias)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map float RGB (B, 3, H, W) of 0-255 to heat logits (B, 2, h, w) and boxes (B, 4, h, w).

        ``h`` and ``w`` are H / 2 and W / 2; sides must be multiples of the trunk's last stride.
        """
        maps = self.trunk(images)
        x = self.lateral[-1](maps[-1])  # (B, D, H/16, W/16)
        for level in range(len(maps) - 2, -1, -1):
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = x + self.lateral[level](maps[level])
            if level < len(self.smooth):
                x = self.smooth[level](x)
        x = functional.pixel_shuffle(self.head(x), 2)  # (B, 6, H/2, W/2)
        return x[:, :2], x[:, 2:]

    def losses(self, images: Tensor, truths: Sequence[TileTruth]) -> dict[str, Tensor]:
        """The three losses of a batch: ``positive``, ``nucleus`` (a labelled cell), ``box``."""
        heat, boxes = self(images)
        targets = draw_targets(truths, box_px=self.box_px)
        truth, weight, truth_boxes, owned = (
            torch.from_numpy(values).to(heat.device)
            for values in (targets.heat, targets.weight, targets.boxes, targets.owned)
        )
        count = max(targets.count, 1)
        return {
            "positive": quality_focal_loss(heat[:, 0], truth[:, 0], weight[:, 0]) / count,
            "nucleus": quality_focal_loss(heat[:, 1], truth[:, 1], weight[:, 1]) / count,
            "box": box_loss(boxes, truth_boxes, owned),
        }

    def detect(self, images: Tensor, *, limit: int, floor: float) -> Boxes:
        """Centres with their boxes, not yet merged: at most ``limit`` a tile, over ``floor``."""
        heat, boxes = self(images)
        p = torch.sigmoid(heat)
        scores = (1 - self.nucleus_share) * p[:, 0] + self.nucleus_share * p[:, 1]
        return [
            read_centres(s, b, box_px=self.box_px, limit=limit, floor=floor)
            for s, b in zip(scores, boxes, strict=True)
        ]


def read_centres(
    scores: Tensor, boxes: Tensor, *, box_px: float, limit: int, floor: float
) -> tuple[Tensor, Tensor]:
    """Places of one tile's maps that hold the centre of a nucleus, best first.

    Taken are local maxima (3 x 3) of the score and places whose own offset says that the centre is
    here: of two touching nuclei the weaker one is a shoulder of the heat, not a maximum, but its
    offsets still meet at its centre. Several places a nucleus are left to merging.

    Args:
        scores: (h, w) in 0-1.
        boxes: (4, h, w) dx, dy in map cells, log w, log h over ``box_px``.
        box_px: reference side of a box, tile pixels.
        limit: most places to give.
        floor: scores at or under it are left out.

    Returns:
        boxes (n, 4) x, y, w, h in tile pixels and scores (n,).
    """
    is_peak = functional.max_pool2d(scores[None, None], 3, 1, 1)[0, 0] == scores
    is_centre = (boxes[:2].abs().amax(0) < CENTRE_CELLS) & (scores > SHOULDER_FLOOR)
    rows, columns = torch.nonzero((is_peak | is_centre) & (scores > floor), as_tuple=True)
    values = scores[rows, columns]
    values, order = torch.topk(values, min(limit, len(values)))
    rows, columns = rows[order], columns[order]
    dx, dy, log_w, log_h = boxes[:, rows, columns]  # each (n,)
    x = (columns + 0.5 + dx.clamp(-4, 4)) * STRIDE
    y = (rows + 0.5 + dy.clamp(-4, 4)) * STRIDE
    w, h = box_px * log_w.clamp(-2, 2).exp(), box_px * log_h.clamp(-2, 2).exp()
    return torch.stack([x - w / 2, y - h / 2, w, h], dim=1), values
