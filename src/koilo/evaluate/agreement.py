"""How far two raters agree: kappa, plain and weighted; and McNemar's tests of their errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Weighting = Literal["none", "linear", "quadratic"]


@dataclass(frozen=True)
class McNemar:
    """Two methods on the same slides, by the slides on which just one of them is right."""

    only_first: int
    """the first is right, the second wrong"""
    only_second: int
    statistic: float
    """chi-squared with continuity correction, one degree of freedom; 0 where they never differ"""
    p_corrected: float
    p_exact: float
    """two-sided binomial; the one to report below some 25 differing slides"""


def cohen_kappa(table: ArrayLike, weighting: Weighting = "none") -> float:
    """Agreement beyond chance of the two raters of a table, 1 where they never differ.

    Args:
        table: (C, C) counts or weights; rows one rater, columns the other, classes in order.
        weighting: what a disagreement costs: 1, its distance in classes, or that squared.

    Returns:
        kappa; NaN where both raters use one class only, so that chance explains all.

    Raises:
        ValueError: the table is not square, or the weighting is unknown.

    >>> round(cohen_kappa([[20, 5], [10, 15]]), 3)
    0.4
    """
    counts = np.asarray(table, dtype=float)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f"the table is {counts.shape}; kappa needs a square one (C, C).")
    cost = _costs(len(counts), weighting)  # (C, C)
    total = counts.sum()
    if total == 0:
        return float("nan")
    by_chance = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / total
    expected = float((cost * by_chance).sum())
    return 1 - float((cost * counts).sum()) / expected if expected > 0 else float("nan")


def mcnemar(first_right: ArrayLike, second_right: ArrayLike) -> McNemar:
    """Whether two methods err differently often on the same slides.

    Args:
        first_right: (N,) booleans, True where the first method is right.
        second_right: (N,) the same of the second.

    Raises:
        ValueError: the two have not the same length.
    """
    from scipy.stats import binomtest, chi2

    first, second = np.asarray(first_right, dtype=bool), np.asarray(second_right, dtype=bool)
    if first.shape != second.shape:
        raise ValueError(f"{first.shape} and {second.shape}: both methods need the same slides.")
    n_first, n_second = int((first & ~second).sum()), int((second & ~first).sum())
    n_differ = n_first + n_second
    if n_differ == 0:
        return McNemar(0, 0, 0.0, 1.0, 1.0)
    statistic = max(abs(n_first - n_second) - 1, 0) ** 2 / n_differ
    exact = binomtest(n_first, n_differ, 0.5).pvalue
    return McNemar(n_first, n_second, statistic, float(chi2.sf(statistic, 1)), float(exact))


def clustered_mcnemar(gained: ArrayLike, lost: ArrayLike, pairs: ArrayLike) -> tuple[float, float]:
    """McNemar's test where each slide was read by several people, by slides [1].

    The people are taken as they are: it says nothing of others. With one pair a slide it is
    McNemar's without correction.

    Args:
        gained: (S,) pairs of each slide that only the second reading has right.
        lost: (S,) pairs that only the first has right.
        pairs: (S,) pairs of each slide, 1 and more.

    Returns:
        chi-squared with one degree of freedom, and its p; (0, 1) where nothing differs.

    [1] Durkalski et al., Statistics in Medicine 22 (2003) 2417-2428.
    """
    from scipy.stats import chi2

    gap = (np.asarray(gained, dtype=float) - np.asarray(lost, dtype=float)) / np.asarray(pairs)
    if not gap.any():
        return 0.0, 1.0
    statistic = float(gap.sum() ** 2 / np.square(gap).sum())
    return statistic, float(chi2.sf(statistic, 1))


def _costs(n_classes: int, weighting: Weighting) -> NDArray[np.float64]:
    place = np.arange(n_classes, dtype=float)
    distance = np.abs(place[:, None] - place[None, :])
    if weighting == "none":
        return (distance > 0).astype(float)
    if weighting == "linear":
        return distance
    if weighting == "quadratic":
        return np.square(distance)
    raise ValueError(f"weighting '{weighting}' is unknown; allowed: none, linear, quadratic.")
