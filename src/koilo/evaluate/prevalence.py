"""Bring an enriched set to the prevalence of a population: weights of slides, counts of classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def prevalence_weights(truth: ArrayLike, prevalence: float) -> Floats:
    """Weights (N,) under which the share of positives is ``prevalence``; their mean is 1.

    Args:
        truth: (N,) booleans, True = positive.
        prevalence: wanted share, 0 to 1.

    Raises:
        ValueError: a share outside 0-1, or a class is wanted that the set does not hold.

    >>> prevalence_weights([True, True, False, False], 0.25).tolist()
    [0.5, 0.5, 1.5, 1.5]
    """
    positive = np.asarray(truth, dtype=bool)
    n_positive = int(positive.sum())
    _check(prevalence, n_positive, positive.size - n_positive)
    of_positive = prevalence * positive.size / n_positive if n_positive else 0.0
    of_negative = (1 - prevalence) * positive.size / max(positive.size - n_positive, 1)
    return np.where(positive, of_positive, of_negative)


def counts_at_prevalence(counts: ArrayLike, positive: ArrayLike, prevalence: float) -> Floats:
    """Class counts (C,) at another share of positives; the total and the mix within stay.

    For `koilo.evaluate.scores.reweighted`: F1 and kappa of an enriched set at a stated prevalence.

    Args:
        counts: (C,) slides of each class.
        positive: (C,) booleans, which classes are positive.
        prevalence: wanted share, 0 to 1.

    Raises:
        ValueError: a share outside 0-1, or a class is wanted that the set does not hold.
    """
    numbers, of_positive = np.asarray(counts, dtype=float), np.asarray(positive, dtype=bool)
    n_positive, n_negative = numbers[of_positive].sum(), numbers[~of_positive].sum()
    _check(prevalence, n_positive, n_negative)
    total = n_positive + n_negative
    up = prevalence * total / n_positive if n_positive else 0.0
    down = (1 - prevalence) * total / n_negative if n_negative else 0.0
    return numbers * np.where(of_positive, up, down)


def _check(prevalence: float, n_positive: float, n_negative: float) -> None:
    if not 0 <= prevalence <= 1:
        raise ValueError(f"prevalence is {prevalence}. It is a share from 0 to 1.")
    if (prevalence > 0 and not n_positive) or (prevalence < 1 and not n_negative):
        raise ValueError(
            f"prevalence {prevalence:g} needs slides that this set does not hold "
            f"({n_positive:g} positives, {n_negative:g} negatives)."
        )
