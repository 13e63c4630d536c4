"""The removal test: the fewest cells without which a positive slide is below its threshold.

Cells are taken by their contribution, the largest first, until the slide turns; where none is left
that speaks for a lesion, the others are asked anew without those taken. Then each is put back, the
last taken first, and stays if the slide is below the threshold all the same. What is left is a set
of which no cell can be spared, not proven to be the smallest of all sets. Only the slide head is
asked, so that a test costs milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from koilo.mil.predict import SlideHead
from koilo.types import Removal

LIMIT = 32
"""Most cells removed. A call that rests on more of them rests on no cell a reader could check."""


@dataclass(frozen=True)
class Boxes:
    """What a head sees of a slide: one cell may be boxed several times, and goes as a whole."""

    features: NDArray[np.floating]
    """(N, D), of the cell classifier, best detection first"""
    probabilities: NDArray[np.floating]
    """(N, C), of the cell classes"""
    cell: NDArray[np.integer]
    """(N,), 0 … M - 1: which cell each box is of"""

    @cached_property
    def n_cells(self) -> int:
        """How many cells the boxes are of."""
        return len(np.unique(self.cell))

    def of(self, cells: Sequence[int]) -> list[int]:
        """Rows of all boxes of these cells."""
        return np.flatnonzero(np.isin(self.cell, list(cells))).tolist()

    def p_without(self, head: SlideHead, sets: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """1 - p(NILM) of the slide without each set of cells (S,)."""
        removed = [self.of(cells) for cells in sets]
        return head.p_positive_without(self.features, self.probabilities, removed)

    def shares(self, head: SlideHead, without: Sequence[int] = ()) -> NDArray[np.float32] | None:
        """Contribution of each cell (M,), all its boxes together; NaN for cells not read."""
        seen = np.setdiff1d(np.arange(len(self.cell)), self.of(without))
        found = head.contributions(self.features[seen], self.probabilities[seen])
        if found is None:
            return None
        read = np.isfinite(found)
        n_slots = int(self.cell.max()) + 1
        total = np.bincount(self.cell[seen][read], found[read], n_slots)
        n_read = np.bincount(self.cell[seen][read], minlength=n_slots)
        return np.where(n_read > 0, total, np.nan).astype(np.float32)

    def read_by(self, head: SlideHead) -> Boxes:
        """The boxes that the head reads, its best ``top_k``: none moves up for one removed."""
        first = slice(head.top_k)
        return Boxes(self.features[first], self.probabilities[first], self.cell[first])


def find_removal(
    head: SlideHead,
    boxes: Boxes,
    shares: NDArray[np.floating],
    threshold: float,
    limit: int = LIMIT,
) -> Removal:
    """Find the cells that a positive slide hangs on.

    Args:
        head: the slide head.
        boxes: of the slide, one at least.
        shares: (M,) contribution of each cell; those at or below 0, or NaN, stay.
        threshold: p_positive at or over it is positive, as the slide is with all its cells.
        limit: most cells removed; one cell always stays.
    """
    boxes = boxes.read_by(head)
    most = min(limit, boxes.n_cells - 1)
    taken: list[int] = []
    left: NDArray[np.floating] | None = shares
    lowest = float(boxes.p_without(head, [[]])[0])
    while left is not None and len(taken) < most:
        ranked = np.argsort(-np.nan_to_num(left, nan=-np.inf), kind="stable")
        more = ranked[: min(int((left > 0).sum()), most - len(taken))].tolist()
        if not more:
            break
        sets = [taken + more[: n + 1] for n in range(len(more))]
        p = boxes.p_without(head, sets)
        below = np.flatnonzero(p < threshold)
        if len(below):
            return _spare(head, boxes, sets[below[0]], threshold, limit)
        taken, lowest = sets[-1], float(p[-1])
        left = boxes.shares(head, without=taken)
    return Removal(False, (), lowest, limit)


def _spare(
    head: SlideHead, boxes: Boxes, taken: list[int], threshold: float, limit: int
) -> Removal:
    """Put back every cell whose return leaves the slide below its threshold."""
    kept = taken
    for cell in taken[-2::-1]:  # the last one turned the slide: it cannot be spared
        fewer = [other for other in kept if other != cell]
        if boxes.p_without(head, [fewer])[0] < threshold:
            kept = fewer
    return Removal(True, tuple(kept), float(boxes.p_without(head, [kept])[0]), limit)
