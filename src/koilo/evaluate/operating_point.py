"""Lock a threshold on labelled scores, and say what a threshold does: the one rule used everywhere.

The threshold is the ⌈0.95 n⌉-th highest score of the n positives; a score equal to it is positive.
So at least 95 % of the positives it was locked on are at or above it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

SENSITIVITY = 0.95


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold with what it did on one set; a bundle carries it as a dictionary."""

    threshold: float
    sensitivity: float
    specificity: float
    n: int
    """slides or fields, negatives included"""
    n_positive: int
    set: str
    """the set in words: data, split, model"""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as bundle.json holds them."""
        return asdict(self)


def lock_threshold(
    scores: ArrayLike, positive: ArrayLike, sensitivity: float = SENSITIVITY
) -> float:
    """The ⌈sensitivity · n⌉-th highest score of the n positives.

    Args:
        scores: (N,), higher = more suspicious.
        positive: (N,) bool, the truth.
        sensitivity: the least share of positives to be called, above 0 and at most 1.

    Raises:
        ValueError: no positive, a score that is not finite, or a sensitivity out of range.

    >>> lock_threshold([0.9, 0.8, 0.3, 0.1], [True, True, True, False], 0.6)
    0.8
    """
    values, truth = _checked(scores, positive)
    if not 0 < sensitivity <= 1:
        raise ValueError(f"sensitivity {sensitivity} is out of range; allowed: above 0, at most 1")
    ordered = np.sort(values[truth])[::-1]  # (n,)
    if len(ordered) == 0:
        raise ValueError("there is no positive to lock a threshold on")
    # 0.95 · 20 is 19.000000000000004 in floating point; the rank is meant to be 19.
    rank = math.ceil(round(sensitivity * len(ordered), 9))
    return float(ordered[rank - 1])


def score_threshold(
    scores: ArrayLike, positive: ArrayLike, threshold: float
) -> tuple[float, float]:
    """Sensitivity and specificity of ``score >= threshold``; NaN where a class is empty.

    Args:
        scores: (N,), higher = more suspicious.
        positive: (N,) bool, the truth.
        threshold: a score equal to it is called positive.

    >>> score_threshold([0.9, 0.4, 0.4, 0.1], [True, True, False, False], 0.4)
    (1.0, 0.5)
    """
    values, truth = _checked(scores, positive)
    called = values >= threshold  # (N,)
    sensitivity = float(called[truth].mean()) if truth.any() else math.nan
    specificity = float((~called[~truth]).mean()) if (~truth).any() else math.nan
    return sensitivity, specificity


def lock_operating_point(
    scores: ArrayLike, positive: ArrayLike, set_name: str, sensitivity: float = SENSITIVITY
) -> OperatingPoint:
    """Lock a threshold and record what it does on the set it was locked on.

    Raises:
        ValueError: no positive or no negative, or a score that is not finite.
    """
    values, truth = _checked(scores, positive)
    if truth.all():
        raise ValueError("there is no negative; a specificity cannot be stated")
    threshold = lock_threshold(values, truth, sensitivity)
    reached, specificity = score_threshold(values, truth, threshold)
    return OperatingPoint(threshold, reached, specificity, len(truth), int(truth.sum()), set_name)


def score_specificity_at(
    scores: ArrayLike, positive: ArrayLike, sensitivity: float = SENSITIVITY
) -> float:
    """Specificity at the threshold locked on this very set (``spec@sens95``, the paper's measure).

    Raises:
        ValueError: no positive, or a score that is not finite.
    """
    threshold = lock_threshold(scores, positive, sensitivity)
    return score_threshold(scores, positive, threshold)[1]


def _checked(
    scores: ArrayLike, positive: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    if values.shape != truth.shape or values.ndim != 1:
        raise ValueError(f"scores {values.shape} and truth {truth.shape} must be (N,) each")
    if not np.isfinite(values).all():
        raise ValueError("a score is not finite; leave slides without a result out")
    return values, truth
