"""Decision curves [1]: the net benefit of acting on a score, against acting on all or on none.

[1] A. J. Vickers, E. B. Elkin, Medical Decision Making 26 (2006) 565-574.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit at each threshold probability, all (T,); that of acting on none is 0."""

    threshold: Floats
    model: Floats
    treat_all: Floats


def decision_curve(
    truth: ArrayLike,
    p: ArrayLike,
    thresholds: ArrayLike | None = None,
    *,
    prevalence: float | None = None,
) -> DecisionCurve:
    """Net benefit = true positives - false positives · t / (1 - t), as shares of all slides.

    The threshold t is the probability from which on one would act; who acts at t holds a missed
    positive (1 - t) / t times as grave as a false alarm.

    Args:
        truth: (N,) booleans, True = positive.
        p: (N,) calibrated probabilities; at another prevalence, shifted to it.
        thresholds: (T,) between 0 and 1; None: 0.01 to 0.60 in steps of 0.01.
        prevalence: share of positives of the population; None: that of the set.

    Raises:
        ValueError: a threshold is not between 0 and 1, a p is no number, or the set lacks a class.
    """
    positive, values = np.asarray(truth, dtype=bool), np.asarray(p, dtype=float)
    steps = np.arange(1, 61) / 100 if thresholds is None else np.asarray(thresholds, dtype=float)
    if ((steps <= 0) | (steps >= 1)).any():
        raise ValueError("a threshold probability lies between 0 and 1, bounds left out.")
    if np.isnan(values).any():
        raise ValueError("a probability is no number; leave slides without a result out.")
    if positive.all() or not positive.any():
        raise ValueError("a decision curve needs positives and negatives.")
    share = float(positive.mean()) if prevalence is None else prevalence
    called = values[None, :] >= steps[:, None]  # (T, N)
    true_positive = called[:, positive].mean(axis=1) * share
    false_positive = called[:, ~positive].mean(axis=1) * (1 - share)
    odds = steps / (1 - steps)
    return DecisionCurve(steps, true_positive - false_positive * odds, share - (1 - share) * odds)
