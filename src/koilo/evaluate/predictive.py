"""What a sensitivity and a specificity mean at a prevalence: predictive values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

PREVALENCES = (0.01, 0.05, 0.20)
"""screening of a low-risk population, of a high-risk one, and a referral clinic"""


@dataclass(frozen=True, slots=True)
class PredictiveRow:
    """One prevalence's predictive values and natural frequencies; None where undefined.

    ``ppv``: probability that a flagged slide is truly positive. ``npv``: that one below the
    threshold is truly negative. ``flagged_per_1000``, ``missed_per_1000``: slides of 1,000.
    """

    prevalence: float
    ppv: float | None
    npv: float | None
    flagged_per_1000: float
    missed_per_1000: float


def predictive_values(
    sensitivity: float, specificity: float, prevalence: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positive and negative predictive value by Bayes' rule.

    Args:
        sensitivity: share of positives at or above the threshold, 0 to 1.
        specificity: share of negatives below the threshold, 0 to 1.
        prevalence: share of positives in the population, 0 to 1, any shape S.

    Returns:
        ``(ppv, npv)``, each of shape S; NaN where no slide would be flagged (or none passed).

    Raises:
        ValueError: a share is outside 0 to 1.

    Example:
        >>> ppv, npv = predictive_values(0.95, 0.60, [0.01, 0.20])
        >>> ppv.round(3).tolist(), npv.round(4).tolist()
        ([0.023, 0.373], [0.9992, 0.9796])
    """
    shares = np.asarray(prevalence, dtype=np.float64)  # (S)
    for name, value in (
        ("sensitivity", sensitivity),
        ("specificity", specificity),
        ("prevalence", shares),
    ):
        if not np.all((np.asarray(value) >= 0) & (np.asarray(value) <= 1)):
            raise ValueError(f"{name} is {value}. It is a share from 0 to 1, not a percentage.")
    true_positive = sensitivity * shares
    false_positive = (1 - specificity) * (1 - shares)
    true_negative = specificity * (1 - shares)
    false_negative = (1 - sensitivity) * shares
    return (
        _ratio(true_positive, true_positive + false_positive),
        _ratio(true_negative, true_negative + false_negative),
    )


def predictive_table(
    sensitivity: float, specificity: float, prevalences: Sequence[float] = PREVALENCES
) -> tuple[PredictiveRow, ...]:
    """One ``PredictiveRow`` for each prevalence, in the order given.

    Raises:
        ValueError: a share is outside 0 to 1.
    """
    shares = np.asarray(prevalences, dtype=np.float64)  # (S)
    ppv, npv = predictive_values(sensitivity, specificity, shares)
    flagged = 1000 * (sensitivity * shares + (1 - specificity) * (1 - shares))
    missed = 1000 * (1 - sensitivity) * shares
    return tuple(
        PredictiveRow(
            prevalence=float(shares[row]),
            ppv=_number(ppv[row]),
            npv=_number(npv[row]),
            flagged_per_1000=float(flagged[row]),
            missed_per_1000=float(missed[row]),
        )
        for row in range(len(shares))
    )


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    empty = whole == 0
    return np.where(empty, np.nan, part / np.where(empty, 1.0, whole))


def _number(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)
