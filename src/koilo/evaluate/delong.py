"""DeLong's variance of the AUC [1]: interval of one, paired test of two on the same slides.

[1] E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Biometrics 44 (1988) 837-845; computed by
midranks as X. Sun and W. Xu, IEEE Signal Processing Letters 21 (2014) 1389-1393, do it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koilo.evaluate.intervals import Interval


@dataclass(frozen=True)
class AucDifference:
    """The difference of two AUCs on the same slides, first less second."""

    difference: Interval
    z: float
    """difference by its standard error; 0 where both are 0, NaN where the error alone is"""
    p: float
    """two-sided; NaN where the difference has no error to be compared with"""


def delong(truth: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """AUCs of several scores on the same slides, and their covariance.

    Args:
        truth: (N,) booleans, True = positive.
        scores: (M, N) a row for each method, higher = more positive.

    Returns:
        ``(aucs, covariance)``, (M,) and (M, M).

    Raises:
        ValueError: fewer than two positives or two negatives, or shapes that do not fit.
    """
    from scipy.stats import rankdata

    positive, values = np.asarray(truth, dtype=bool), np.atleast_2d(np.asarray(scores, dtype=float))
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if values.shape[1:] != positive.shape:
        raise ValueError(
            f"scores {values.shape} and truth {positive.shape} do not fit (M, N), (N)."
        )
    if min(n_positive, n_negative) < 2:
        raise ValueError(
            f"{n_positive} positives and {n_negative} negatives: a variance needs two of each."
        )
    ranks = rankdata(values, axis=1)  # (M, N) among all
    within_positive = rankdata(values[:, positive], axis=1)
    within_negative = rankdata(values[:, ~positive], axis=1)
    # Each positive's share of negatives below it, each negative's share of positives above it.
    above = (ranks[:, positive] - within_positive) / n_negative  # (M, P)
    below = 1 - (ranks[:, ~positive] - within_negative) / n_positive  # (M, N - P)
    covariance = (
        np.atleast_2d(np.cov(above)) / n_positive + np.atleast_2d(np.cov(below)) / n_negative
    )
    return above.mean(axis=1), covariance


def auc_interval(truth: ArrayLike, score: ArrayLike, level: float = 0.95) -> Interval:
    """The AUC with DeLong's interval, cut to 0-1.

    The variance of a perfect AUC is 0, so that its interval says nothing.

    Raises:
        ValueError: fewer than two positives or two negatives.
    """
    aucs, covariance = delong(truth, np.asarray(score)[None])
    half = _z(level) * float(np.sqrt(covariance[0, 0]))
    auc = float(aucs[0])
    return Interval(auc, max(auc - half, 0.0), min(auc + half, 1.0))


def compare_aucs(
    truth: ArrayLike, first: ArrayLike, second: ArrayLike, level: float = 0.95
) -> AucDifference:
    """Whether two scores on the same slides differ in AUC.

    Raises:
        ValueError: fewer than two positives or two negatives, or shapes that do not fit.
    """
    from scipy.stats import norm

    aucs, covariance = delong(truth, np.stack([np.asarray(first), np.asarray(second)]))
    gap = float(aucs[0] - aucs[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    error = float(np.sqrt(max(variance, 0.0)))
    if error < 1e-12:  # the same ranking, or both so clear that nothing scatters
        if abs(gap) < 1e-12:
            return AucDifference(Interval(gap, gap, gap), 0.0, 1.0)
        return AucDifference(Interval(gap, np.nan, np.nan), np.nan, np.nan)
    z = gap / error
    half = _z(level) * error
    return AucDifference(Interval(gap, gap - half, gap + half), z, float(2 * norm.sf(abs(z))))


def _z(level: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf(0.5 + level / 2))
