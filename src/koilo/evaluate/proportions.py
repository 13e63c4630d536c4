"""Intervals of a share (sensitivity, specificity), and how many slides an interval needs."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from koilo.evaluate.intervals import Interval

Method = Literal["wilson", "clopper-pearson"]

LEVEL = 0.95


def share_interval(
    n_hits: float, n: float, *, method: Method = "wilson", level: float = LEVEL
) -> Interval:
    """A share with its interval; all NaN where there is nothing to count.

    Wilson's covers the level on average; Clopper and Pearson's covers it at least, for every true
    share, and is wider: it is the one to lock a threshold with.

    Args:
        n_hits: how many of them, 0 to ``n``; need not be whole (planning).
        n: how many there are.
        method: whose interval.
        level: coverage.

    Raises:
        ValueError: ``n_hits`` lies outside 0 to ``n``, or the method is unknown.
    """
    if not 0 <= n_hits <= n:
        raise ValueError(f"{n_hits:g} of {n:g}: a share needs 0 to {n:g} hits.")
    if n == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    if method == "wilson":
        return _wilson(n_hits, n, level)
    if method == "clopper-pearson":
        return _clopper_pearson(n_hits, n, level)
    raise ValueError(f"method '{method}' is unknown; allowed: wilson, clopper-pearson.")


def positives_needed(
    half_width: float,
    share: float = 0.95,
    *,
    method: Method = "clopper-pearson",
    level: float = LEVEL,
) -> int:
    """The least number of positives whose sensitivity has an interval this narrow.

    Half the interval's width is counted, since near 95 % it is not symmetric.

    Args:
        half_width: wanted half width, as a share (0.03 for ±3 points).
        share: the sensitivity that is expected.
        method: whose interval.
        level: coverage.

    Raises:
        ValueError: a share is not between 0 and 1.

    >>> positives_needed(0.03) > positives_needed(0.05) > 60
    True
    """
    if not 0 < half_width < 0.5 or not 0 < share < 1:
        raise ValueError(
            f"half width {half_width:g} of a share of {share:g}: the first has to lie between 0 "
            "and 0.5, the second between 0 and 1."
        )

    def too_few(n: int) -> bool:
        found = share_interval(share * n, n, method=method, level=level)
        return (found.high - found.low) / 2 > half_width

    low, high = 1, 2
    while too_few(high):
        low, high = high, 2 * high
    while low < high:  # the width falls with n where the share of hits need not be whole
        middle = (low + high) // 2
        low, high = (middle + 1, high) if too_few(middle) else (low, middle)
    return high


def _wilson(n_hits: float, n: float, level: float) -> Interval:
    from scipy.stats import norm

    z = float(norm.ppf(0.5 + level / 2))
    share = n_hits / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if n_hits == 0 else max(centre - half, 0.0)
    high = 1.0 if n_hits == n else min(centre + half, 1.0)
    return Interval(share, low, high)


def _clopper_pearson(n_hits: float, n: float, level: float) -> Interval:
    from scipy.stats import beta

    tail = (1 - level) / 2
    low = 0.0 if n_hits == 0 else float(beta.ppf(tail, n_hits, n - n_hits + 1))
    high = 1.0 if n_hits == n else float(beta.ppf(1 - tail, n_hits + 1, n - n_hits))
    return Interval(float(np.float64(n_hits) / n), low, high)
