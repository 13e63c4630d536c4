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

from koilo.evaluate.proportions import share_interval
from koilo.evaluate.scores import sensitivity_specificity

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
    sensitivity_interval: tuple[float, float] | None = None
    """95 %, by Clopper and Pearson; None where it was not stored"""
    specificity_interval: tuple[float, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as bundle.json holds them; what is None is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def lock_threshold(truth: ArrayLike, score: ArrayLike, sensitivity: float = SENSITIVITY) -> float:
    """The ⌈sensitivity · n⌉-th highest score of the n positives.

    Args:
        truth: (N,) booleans, True = positive.
        score: (N,) numbers, higher = more suspicious.
        sensitivity: the least share of positives to be called, above 0 and at most 1.

    Raises:
        ValueError: no positive, a score that is not finite, or a sensitivity out of range.

    >>> lock_threshold([True, True, True, False], [0.9, 0.8, 0.3, 0.1], 0.6)
    0.8
    """
    positive, scores = _checked(truth, score)
    if not 0 < sensitivity <= 1:
        raise ValueError(f"sensitivity {sensitivity} is out of range; allowed: above 0, at most 1")
    ordered = np.sort(scores[positive])[::-1]  # (n,)
    if len(ordered) == 0:
        raise ValueError("there is no positive to lock a threshold on")
    # 0.95 · 20 is 19.000000000000004 in floating point; the rank is meant to be 19.
    rank = math.ceil(round(sensitivity * len(ordered), 9))
    return float(ordered[rank - 1])


def lock_operating_point(
    truth: ArrayLike,
    score: ArrayLike,
    set_name: str,
    sensitivity: float = SENSITIVITY,
    *,
    margin: float = 0.0,
) -> OperatingPoint:
    """Lock a threshold and record what it does on the set it was locked on.

    ``margin`` is taken off the threshold: scores of a network differ in their last digits between
    machines, and the slide that sets the threshold has to stay positive.

    Raises:
        ValueError: no positive or no negative, or a score that is not finite.
    """
    positive, scores = _checked(truth, score)
    if positive.all():
        raise ValueError("there is no negative; a specificity cannot be stated")
    threshold = lock_threshold(positive, scores, sensitivity) - margin
    reached, specificity = sensitivity_specificity(positive, scores, threshold)
    n, n_positive = len(positive), int(positive.sum())
    return OperatingPoint(
        threshold,
        reached,
        specificity,
        n,
        n_positive,
        set_name,
        _interval(reached, n_positive),
        _interval(specificity, n - n_positive),
    )


def specificity_at(truth: ArrayLike, score: ArrayLike, sensitivity: float = SENSITIVITY) -> float:
    """Specificity at the threshold locked on this very set (``spec@sens95``, the paper's measure).

    NaN where there is no negative.

    Raises:
        ValueError: no positive, or a score that is not finite.
    """
    threshold = lock_threshold(truth, score, sensitivity)
    return sensitivity_specificity(truth, score, threshold)[1]


def threshold_at_specificity(truth: ArrayLike, score: ArrayLike, specificity: float) -> float:
    """The lowest score of the set that keeps this share of negatives below it.

    For comparing methods at equal specificity (the paper's confusion tables stand at 0.65).

    Args:
        truth: (N,) booleans, True = positive.
        score: (N,) numbers, higher = more suspicious.
        specificity: the least share of negatives below, 0 to 1.

    Returns:
        a score of the set, or infinity where even the highest is too low.

    Raises:
        ValueError: no negative, a score that is not finite, or a specificity out of range.
    """
    positive, scores = _checked(truth, score)
    if not 0 <= specificity <= 1:
        raise ValueError(f"specificity {specificity} is out of range; allowed: 0 to 1")
    if positive.all():
        raise ValueError("there is no negative; a specificity cannot be stated")
    steps = np.unique(scores)  # ascending
    below = np.searchsorted(np.sort(scores[~positive]), steps, side="left") / (~positive).sum()
    enough = steps[below >= specificity - 1e-12]
    return float(enough[0]) if enough.size else math.inf


def _interval(share: float, n: int) -> tuple[float, float]:
    found = share_interval(round(share * n), n, method="clopper-pearson")
    return found.low, found.high


def _checked(truth: ArrayLike, score: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    positive, scores = np.asarray(truth, dtype=bool), np.asarray(score, dtype=np.float64)
    if scores.shape != positive.shape or scores.ndim != 1:
        raise ValueError(f"scores {scores.shape} and truth {positive.shape} must be (N,) each")
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite; leave slides without a result out")
    return positive, scores
