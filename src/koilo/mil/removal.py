"""The removal test: the fewest cells without which a positive slide is below its threshold.

Cells are taken by their contribution, the largest first, until the slide turns; where none is left
that speaks for a lesion, the others are asked anew without those taken. Then each is put back, the
last taken first, and stays if the slide is below the threshold all the same. What is left is a set
of which no cell can be spared, not proven to be the smallest of all sets. Only the slide head is
asked, so that a test costs milliseconds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from koilo.mil.predict import SlideHead
from koilo.types import Removal

LIMIT = 32
"""Most cells removed. A call that rests on more of them rests on no cell a reader could check."""


def find_removal(
    head: SlideHead,
    features: NDArray[np.floating],
    probabilities: NDArray[np.floating],
    contributions: NDArray[np.floating],
    threshold: float,
    limit: int = LIMIT,
) -> Removal:
    """Find the cells that a positive slide hangs on.

    Args:
        head: the slide head.
        features: (N, D), of the cell classifier, best detection first; N is 1 at least.
        probabilities: (N, C), of the cell classes, in the same order.
        contributions: (N,) of the head; cells at or below 0, or NaN, stay.
        threshold: p_positive at or over it is positive, as the slide is with all its cells.
        limit: most cells removed; one cell always stays.
    """
    features, probabilities = features[: head.top_k], probabilities[: head.top_k]
    most = min(limit, len(features) - 1)
    taken: list[int] = []
    shares: NDArray[np.floating] | None = contributions[: head.top_k]
    lowest = float(head.p_positive_without(features, probabilities, [[]])[0])
    while shares is not None and len(taken) < most:
        ranked = np.argsort(-np.nan_to_num(shares, nan=-np.inf), kind="stable")
        more = ranked[: min(int((shares > 0).sum()), most - len(taken))].tolist()
        if not more:
            break
        sets = [taken + more[: n + 1] for n in range(len(more))]
        p = head.p_positive_without(features, probabilities, sets)
        below = np.flatnonzero(p < threshold)
        if len(below):
            return _spare(head, features, probabilities, sets[below[0]], threshold, limit)
        taken, lowest = sets[-1], float(p[-1])
        shares = _shares_of_rest(head, features, probabilities, taken)
    return Removal(False, (), lowest, limit)


def _shares_of_rest(
    head: SlideHead,
    features: NDArray[np.floating],
    probabilities: NDArray[np.floating],
    taken: list[int],
) -> NDArray[np.float32] | None:
    """Contributions (N,) where the cells ``taken`` are gone, NaN for these."""
    rest = np.setdiff1d(np.arange(len(features)), taken)
    found = head.contributions(features[rest], probabilities[rest])
    if found is None:
        return None
    shares = np.full(len(features), np.nan, dtype=np.float32)
    shares[rest] = found
    return shares


def _spare(
    head: SlideHead,
    features: NDArray[np.floating],
    probabilities: NDArray[np.floating],
    taken: list[int],
    threshold: float,
    limit: int,
) -> Removal:
    """Put back every cell whose return leaves the slide below its threshold."""
    kept = taken
    for cell in taken[-2::-1]:  # the last one turned the slide: it cannot be spared
        fewer = [other for other in kept if other != cell]
        if head.p_positive_without(features, probabilities, [fewer])[0] < threshold:
            kept = fewer
    p = float(head.p_positive_without(features, probabilities, [kept])[0])
    return Removal(True, tuple(kept), p, limit)
