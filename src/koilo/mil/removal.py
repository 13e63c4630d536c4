"""The removal test: the fewest cells without which a positive slide is below its threshold.

Cells are taken by their contribution, the largest first, until the slide turns; then each is put
back, the last taken first, and stays if the slide is below the threshold all the same. What is left
is a set of which no cell can be spared, not proven to be the smallest of all sets. Only the slide
head is asked, so that a test costs milliseconds.
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
    order_by: NDArray[np.floating],
    threshold: float,
    limit: int = LIMIT,
) -> Removal:
    """Find the cells that a positive slide hangs on.

    Args:
        head: the slide head.
        features: (N, D), of the cell classifier, best detection first; N is 1 at least.
        probabilities: (N, C), of the cell classes, in the same order.
        order_by: (N,) what each cell contributes; those at or below 0, or NaN, stay.
        threshold: p_positive at or over it is positive, as the slide is with all its cells.
        limit: most cells removed; one cell always stays.
    """
    ranked = np.argsort(-np.nan_to_num(order_by, nan=-np.inf), kind="stable")
    n_for = int((order_by > 0).sum())
    n_read = min(len(features), head.top_k)
    taken = ranked[: min(limit, n_for, n_read - 1)].tolist()
    if not taken:
        p = head.p_positive_without(features, probabilities, [[]])
        return Removal(False, (), float(p[0]), limit)
    p = head.p_positive_without(
        features, probabilities, [taken[: n + 1] for n in range(len(taken))]
    )
    below = np.flatnonzero(p < threshold)
    if not len(below):
        return Removal(False, (), float(p[-1]), limit)
    kept = taken[: below[0] + 1]
    lowest = float(p[below[0]])
    for cell in kept[-2::-1]:  # the last one turned the slide: it cannot be spared
        fewer = [other for other in kept if other != cell]
        without = float(head.p_positive_without(features, probabilities, [fewer])[0])
        if without < threshold:
            kept, lowest = fewer, without
    return Removal(True, tuple(kept), lowest, limit)
