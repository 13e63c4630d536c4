"""The best K boxes of a slide, kept in a heap while its tiles stream by."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from koilo.detect.merge import merge_boxes

_CROWD = 4
"""A cell lies in at most four overlapping tiles, so 4 K boxes hold the best K cells."""


class TopK:
    """Keeps the best boxes of a stream in bounded memory; the order of adding does not matter.

    >>> best = TopK(1)
    >>> best.add(np.array([[0, 0, 9, 9], [50, 0, 9, 9]]), np.array([0.2, 0.9]))
    >>> best.result()[1].round(1).tolist()
    [0.9]
    """

    def __init__(self, k: int = 1024, *, floor: float = 0.0) -> None:
        """``floor``: boxes at or under this score are never kept."""
        if k < 1:
            raise ValueError(f"k is {k}; at least one box is kept.")
        self.k, self.floor = k, floor
        self._heap: list[tuple[float, ...]] = []

    def add(
        self,
        boxes_px0: NDArray[np.floating],
        scores: NDArray[np.floating],
        *,
        tile_px0: tuple[float, float, float, float] = (-1e9, -1e9, 2e9, 2e9),
    ) -> None:
        """Offer boxes (n, 4) x, y, w, h with scores (n,), found in the tile ``tile_px0``."""
        scores = np.asarray(scores, np.float64)
        full = len(self._heap) >= self.k * _CROWD
        wanted = scores > self.floor
        if full:
            wanted &= scores >= self._heap[0][0]
        boxes = np.asarray(boxes_px0, np.float64).reshape(-1, 4)
        for box, score in zip(boxes[wanted].tolist(), scores[wanted].tolist(), strict=True):
            item = (score, *box, *tile_px0)
            if len(self._heap) < self.k * _CROWD:
                heapq.heappush(self._heap, item)
            else:
                heapq.heappushpop(self._heap, item)

    def result(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Boxes (n, 4) float32 and scores (n,) float32, one a cell, best first, n <= k."""
        if not self._heap:
            return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
        rows = np.asarray(self._heap, np.float64)  # (N, 9) score, box, tile
        kept = merge_boxes(rows[:, 1:5], rows[:, 0], tiles_px0=rows[:, 5:9])[: self.k]
        return rows[kept, 1:5].astype(np.float32), rows[kept, 0].astype(np.float32)
