"""Reading times of the same slides twice: medians and their paired difference, robustly.

Times have a long tail (someone answers the telephone), so means and t-tests are of no use. The
interval of the median of the differences comes from order statistics and holds for any
distribution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koilo.evaluate.crossed import crossed_bootstrap, has_several_readings
from koilo.evaluate.intervals import Interval
from koilo.evaluate.proportions import LEVEL


@dataclass(frozen=True)
class PairedTimes:
    """Seconds a slide in two readings; differences are the second less the first."""

    n: int
    first: Interval
    """median of the first reading"""
    second: Interval
    difference: Interval
    """median of the paired differences: negative where the second reading is faster"""
    ratio: Interval
    """median of second over first"""
    p: float
    """two-sided sign test of the differences, those of 0 left out; NaN where readings cluster"""


def median_interval(values: ArrayLike, level: float = LEVEL) -> Interval:
    """The median with the interval of its order statistics, at least ``level`` for any law.

    Args:
        values: (N,) numbers.
        level: coverage; under six values or so none is reached, and the bounds are NaN.

    >>> median_interval([3, 1, 2]).estimate
    2.0
    """
    from scipy.stats import binom

    ordered = np.sort(np.asarray(values, dtype=float))
    n = ordered.size
    if n == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    estimate = float(np.median(ordered))
    cut = int(binom.ppf((1 - level) / 2, n, 0.5))
    while cut > 0 and binom.cdf(cut - 1, n, 0.5) > (1 - level) / 2:
        cut -= 1
    if cut == 0:
        return Interval(estimate, float("nan"), float("nan"))
    return Interval(estimate, float(ordered[cut - 1]), float(ordered[n - cut]))


def compare_times(
    first: ArrayLike,
    second: ArrayLike,
    slides: ArrayLike,
    readers: ArrayLike,
    *,
    draws: int = 1000,
    seed: int = 0,
) -> PairedTimes:
    """Reading times of two readings of the same slides by the same people.

    Args:
        first: (N,) seconds, above 0.
        second: (N,) seconds of the same slide and reader.
        slides: (N,) the slide of each pair.
        readers: (N,) who read it.
        draws: resamples, where several people read a slide (`koilo.evaluate.crossed`).
        seed: of the resamples.

    Raises:
        ValueError: shapes differ, or a time is not above 0.
    """
    one, two = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if one.shape != two.shape or not ((one > 0).all() and (two > 0).all()):
        raise ValueError("reading times need the same slides twice, and seconds above 0.")
    clustered = has_several_readings(slides)

    def interval(values: NDArray[np.float64]) -> Interval:
        if not clustered:
            return median_interval(values)
        order = np.argsort(values, kind="stable")

        def weighted(weights: NDArray[np.int64]) -> float:
            return _weighted_median(values[order], weights[order])

        return crossed_bootstrap(weighted, slides, readers, draws=draws, seed=seed)

    return PairedTimes(
        n=one.size,
        first=interval(one),
        second=interval(two),
        difference=interval(two - one),
        ratio=interval(two / one),
        p=float("nan") if clustered else _sign_test(two - one),
    )


def _weighted_median(ordered: NDArray[np.float64], weights: NDArray[np.int64]) -> float:
    """The median of values in rising order, each counted as often as its weight says."""
    running = np.cumsum(weights)
    total = int(running[-1])
    low = np.searchsorted(running, (total - 1) // 2, side="right")
    high = np.searchsorted(running, total // 2, side="right")
    return float((ordered[low] + ordered[high]) / 2)


def _sign_test(differences: NDArray[np.float64]) -> float:
    from scipy.stats import binomtest

    faster, slower = int((differences < 0).sum()), int((differences > 0).sum())
    if faster + slower == 0:
        return 1.0
    return float(binomtest(faster, faster + slower, 0.5).pvalue)
