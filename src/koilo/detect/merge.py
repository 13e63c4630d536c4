"""One box a cell: greedy merging of a slide's boxes, across tile seams too.

Two boxes are one cell where they overlap strongly. A cell near a seam is often seen whole by one
tile and cut by another: the cut box ranks behind every whole one and goes where a whole box of
another tile covers most of it. The result does not depend on the order of the boxes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float32]

SAME_CELL_IOU = 0.55
"""20.5 µm boxes 6 µm apart overlap so: nuclei farther apart, as of a cell of two, stay two."""
CUT_COVER = 0.6
"""A cut box is dropped where a kept box of another tile covers this share of it."""
CUT_MARGIN = 0.05
"""A box is cut where it comes this near its tile's edge, as a share of its own side."""


def merge_boxes(
    boxes_px0: NDArray[np.floating],
    scores: NDArray[np.floating],
    *,
    tiles_px0: NDArray[np.floating] | None = None,
    iou: float = SAME_CELL_IOU,
) -> NDArray[np.int64]:
    """Indices of the boxes to keep, best score first.

    Args:
        boxes_px0: (N, 4) x, y, w, h in one frame.
        scores: (N,).
        tiles_px0: (N, 4) x, y, w, h of the tile each box was found in; None: all of one tile.
        iou: overlap over which two boxes are one cell.
    """
    boxes = np.asarray(boxes_px0, np.float64).reshape(-1, 4)
    scores = np.asarray(scores, np.float64)
    if not len(boxes):
        return np.zeros(0, np.int64)
    tiles = None if tiles_px0 is None else np.asarray(tiles_px0, np.float64)
    cut = np.zeros(len(boxes), bool) if tiles is None else _is_cut(boxes, tiles)
    order = np.lexsort((*boxes.T, -scores, cut))  # whole ones first, then by score, then by place
    rank = np.empty(len(boxes), np.int64)
    rank[order] = np.arange(len(boxes))
    first, second = _rivals(boxes, cut, tiles, rank, iou)
    alive = np.ones(len(boxes), bool)
    for better, worse in zip(first.tolist(), second.tolist(), strict=True):
        if alive[better]:
            alive[worse] = False
    kept = order[alive[order]]
    return kept[np.argsort(-scores[kept], kind="stable")]


def _is_cut(boxes: NDArray[np.float64], tiles: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N,) True where a box reaches its tile's edge."""
    margin = CUT_MARGIN * boxes[:, 2:]
    before = boxes[:, :2] < tiles[:, :2] + margin
    after = boxes[:, :2] + boxes[:, 2:] > tiles[:, :2] + tiles[:, 2:] - margin
    return np.asarray((before | after).any(axis=1))


def _rivals(
    boxes: NDArray[np.float64],
    cut: NDArray[np.bool_],
    tiles: NDArray[np.float64] | None,
    rank: NDArray[np.int64],
    iou: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs (better, worse) that are one cell, sorted so that a greedy pass may run over them."""
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    # An overlap over t needs centres nearer than (1 - t) sides on either axis; a cover, one side.
    reach = float(boxes[:, 2:].max()) * (1 if tiles is not None else 1 - iou)
    tree = cKDTree(centres)
    pairs = tree.query_pairs(reach, p=np.inf, output_type="ndarray").astype(np.int64)
    swap = rank[pairs[:, 0]] > rank[pairs[:, 1]]
    pairs[swap] = pairs[swap][:, ::-1]
    better, worse = pairs[:, 0], pairs[:, 1]
    overlap, cover = _overlap(boxes[better], boxes[worse])
    same_cell = overlap > iou
    if tiles is not None:
        other = (tiles[better] != tiles[worse]).any(axis=1)
        same_cell |= other & cut[worse] & (cover > CUT_COVER)
    better, worse = better[same_cell], worse[same_cell]
    turn = np.lexsort((rank[worse], rank[better]))
    return better[turn], worse[turn]


def _overlap(
    a: NDArray[np.float64], b: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Row by row: intersection over union, and the share of ``b`` that ``a`` covers."""
    low = np.maximum(a[:, :2], b[:, :2])
    high = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    area_a, area_b = a[:, 2:].prod(axis=1), b[:, 2:].prod(axis=1)
    union = np.maximum(area_a + area_b - shared, 1e-9)
    return shared / union, shared / np.maximum(area_b, 1e-9)
