"""Training truth of a tile and the dense maps drawn from it: soft heat, weights and boxes.

A labelled nucleus is a bump, not a single cell of the map: points of CRIC are clicks that jitter by
a micrometre or two, and several positives a nucleus train faster than one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CHANNELS = ("positive", "nucleus")
"""Heat channels: a positive (lesion) cell; any nucleus, lesion or not."""

STRIDE = 2
"""Pixels of the tile to one cell of the maps."""

KNOWN_PX = 5.0
"""Ground this near a labelled nucleus is known: its background weight does not apply."""

PAIR_PX = 12.0
"""Nuclei this near each other touch or nearly so."""


@dataclass(frozen=True)
class TileTruth:
    """What is known of one training tile.

    Attributes:
        boxes_px: (N, 4) float32 x, y, w, h of labelled cells in pixels of the tile.
        positive: (N,) bool, True for a lesion cell, False for a labelled normal nucleus.
        valid: (H, W) bool, False where the tile shows nothing real (mirrored border).
        background_weights: weight of unlabelled ground in the positive and the nucleus channel: 1
            where every cell is labelled, less where unlabelled cells lie about.
    """

    boxes_px: NDArray[np.float32]
    positive: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    background_weights: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True)
class DenseTargets:
    """Maps of a batch at ``STRIDE``.

    Attributes:
        heat: (B, 2, h, w) soft labels, the channels of `CHANNELS`.
        weight: (B, 2, h, w) of the heat loss.
        boxes: (B, 4, h, w) dx, dy in map cells and log w, log h over the reference side.
        owned: (B, h, w) True where the box is learned.
        count: labelled cells of the batch.
    """

    heat: NDArray[np.float32]
    weight: NDArray[np.float32]
    boxes: NDArray[np.float32]
    owned: NDArray[np.bool_]
    count: int


def draw_targets(
    truths: Sequence[TileTruth],
    *,
    box_px: float,
    sigma_px: float = 1.3,
    own_px: float = 3.0,
    pair_weight: float = 3.0,
) -> DenseTargets:
    """Draw the dense maps of tiles of one size.

    Args:
        truths: one a tile, all with ``valid`` of one shape (H, W), both even.
        box_px: reference side of a box in tile pixels; sizes are logarithms of the ratio to it.
        sigma_px: width of a nucleus's bump.
        own_px: map cells this near a nucleus learn its box; the nearest nucleus wins.
        pair_weight: heat weight around a nucleus that has another within `PAIR_PX`: touching
            nuclei fuse into one peak unless they count for more.
    """
    height, width = truths[0].valid.shape
    shape = (height // STRIDE, width // STRIDE)
    count = len(truths)
    heat = np.zeros((count, 2, *shape), np.float32)
    weight = np.empty((count, 2, *shape), np.float32)
    boxes = np.zeros((count, 4, *shape), np.float32)
    nearest = np.full((count, *shape), np.inf, np.float32)
    for index, truth in enumerate(truths):
        weight[index] = np.asarray(truth.background_weights, np.float32)[:, None, None]
        maps = _TileMaps(heat[index], weight[index], boxes[index], nearest[index])
        weights = np.where(_has_neighbour(truth.boxes_px), pair_weight, 1.0)
        for box, positive, known in zip(truth.boxes_px, truth.positive, weights, strict=True):
            maps.draw(box, bool(positive), float(known), box_px, sigma_px, own_px)
        weight[index] *= truth.valid[::STRIDE, ::STRIDE]
    owned = (nearest <= own_px) & (weight[:, 0] > 0)
    return DenseTargets(heat, weight, boxes, owned, sum(len(t.positive) for t in truths))


@dataclass(frozen=True)
class _TileMaps:
    """The maps of one tile, drawn into in place."""

    heat: NDArray[np.float32]
    weight: NDArray[np.float32]
    boxes: NDArray[np.float32]
    nearest: NDArray[np.float32]

    def draw(
        self,
        box: NDArray[np.float32],
        positive: bool,
        known: float,
        box_px: float,
        sigma_px: float,
        own_px: float,
    ) -> None:
        """Draw one cell in a window around it; ``known`` is the heat weight of that ground."""
        x_px, y_px = float(box[0] + box[2] / 2), float(box[1] + box[3] / 2)
        reach_px = max(3 * sigma_px, own_px, KNOWN_PX)
        reach = int(np.ceil(reach_px / STRIDE)) + 1
        column, row = int(x_px // STRIDE), int(y_px // STRIDE)
        x0, x1 = max(column - reach, 0), min(column + reach + 1, self.heat.shape[2])
        y0, y1 = max(row - reach, 0), min(row + reach + 1, self.heat.shape[1])
        if x0 >= x1 or y0 >= y1:
            return
        window = (..., slice(y0, y1), slice(x0, x1))
        dx = x_px - (np.arange(x0, x1, dtype=np.float32) + 0.5) * STRIDE
        dy = (y_px - (np.arange(y0, y1, dtype=np.float32) + 0.5) * STRIDE)[:, None]
        distance = np.hypot(dx, dy)
        bump = np.exp(-(distance**2) / (2 * sigma_px**2)).astype(np.float32)
        channels = self.heat[window] if positive else self.heat[window][1:]
        np.maximum(channels, bump, out=channels)
        # A labelled nucleus is known ground in both channels, whatever the background counts.
        near = np.where(distance <= KNOWN_PX, np.float32(known), 0)
        np.maximum(self.weight[window], near, out=self.weight[window])
        mine = distance < self.nearest[window]
        self.nearest[window][mine] = distance[mine]
        log_w, log_h = np.log(np.maximum(box[2:], 1.0) / box_px)
        for channel, value in enumerate((dx / STRIDE, dy / STRIDE, log_w, log_h)):
            self.boxes[channel][window][mine] = np.broadcast_to(value, mine.shape)[mine]


def _has_neighbour(boxes_px: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(N,) True where another centre lies within `PAIR_PX`."""
    centres = boxes_px[:, :2] + boxes_px[:, 2:] / 2
    gap = np.hypot(*(centres[:, None] - centres[None]).transpose(2, 0, 1))
    return np.asarray((gap <= PAIR_PX).sum(axis=1) > 1)
