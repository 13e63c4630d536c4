"""Split conformal sets of a slide's call: which of negative and positive cannot be ruled out.

Each call is ruled out by a bound of its own, locked on slides of known truth that trained nothing
(conformal by class): a positive slide keeps ``positive`` in its set with the coverage wanted, and a
negative one ``negative``, whatever the prevalence, as long as new slides are drawn as those were
[1]. Slides of another laboratory are not, so that the coverage there has to be measured.

The positives' coverage is that of the locked threshold. Then the bound ``low`` never lies above it,
and no slide that is called positive is ever certain to be negative.

[1] Vovk, Gammerman, Shafer: Algorithmic Learning in a Random World, 2005, section 4.5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from koilo.evaluate.intervals import Interval
from koilo.evaluate.operating_point import SENSITIVITY
from koilo.evaluate.proportions import share_interval

NEGATIVES = 0.9
"""Coverage of negatives: at .95 far more slides are left open (docs/results.md)."""

CALLS = ("negative", "positive")


@dataclass(frozen=True)
class DoubtBounds:
    """Scores between which a slide's call is open; a bundle carries it as a dictionary."""

    low: float
    """below it, positive is ruled out"""
    high: float
    """above it, negative is ruled out"""
    coverage_positive: float
    coverage_negative: float
    n_positive: int
    n_negative: int
    set: str
    """what it was locked on, in words"""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as bundle.json holds them."""
        return asdict(self)


@dataclass(frozen=True)
class Coverage:
    """What bounds do on slides of known truth."""

    positives: Interval
    """share of positives whose set holds ``positive``"""
    negatives: Interval
    """share of negatives whose set holds ``negative``"""
    left_to_human: float
    """share of all slides whose set is not one call"""
    errors_among_certain: Interval
    """share of slides with one call whose call is wrong"""
    missed_among_certain: int
    """positives whose only call is negative"""


def lock_bounds(
    truth: ArrayLike,
    score: ArrayLike,
    set_name: str,
    *,
    coverage_positive: float = SENSITIVITY,
    coverage_negative: float = NEGATIVES,
) -> DoubtBounds:
    """Lock the bounds on slides of known truth.

    With n slides of a class and coverage c, at most the ⌊(1 - c)(n + 1)⌋ most unlike it fall
    outside; where that is none, the class is never ruled out.

    Args:
        truth: (N,) booleans, True = positive.
        score: (N,) p_positive.
        set_name: the set in words.
        coverage_positive: above 0, below 1.
        coverage_negative: above 0, below 1.

    Raises:
        ValueError: one class is absent, a score is not finite, or a coverage is out of range.
    """
    positive, scores = np.asarray(truth, dtype=bool), np.asarray(score, dtype=np.float64)
    if positive.shape != scores.shape or positive.all() or not positive.any():
        raise ValueError("bounds need as many scores as truths, with both classes among them")
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite; leave slides without a result out")
    if not (0 < coverage_positive < 1 and 0 < coverage_negative < 1):
        raise ValueError("a coverage lies above 0 and below 1")
    return DoubtBounds(
        _bound(scores[positive], coverage_positive),
        -_bound(-scores[~positive], coverage_negative),
        coverage_positive,
        coverage_negative,
        int(positive.sum()),
        int((~positive).sum()),
        set_name,
    )


def read_bounds(point: Mapping[str, Any]) -> DoubtBounds | None:
    """The bounds of an operating point of bundle.json; None where it has none.

    Raises:
        TypeError, ValueError: they are malformed.
    """
    if "doubt" not in point:
        return None
    bounds = DoubtBounds(**point["doubt"])
    if not (math.isfinite(float(bounds.low)) and math.isfinite(float(bounds.high))):
        raise ValueError("doubt: low and high must be finite")
    return bounds


def possible_calls(p_positive: float, bounds: DoubtBounds) -> tuple[str, ...]:
    """The calls that are not ruled out; none of them where the score is like neither class.

    >>> bounds = DoubtBounds(0.3, 0.6, 0.95, 0.9, 20, 20, "made")
    >>> possible_calls(0.2, bounds), possible_calls(0.5, bounds), possible_calls(0.7, bounds)
    (('negative',), ('negative', 'positive'), ('positive',))
    """
    open_ = (p_positive <= bounds.high, p_positive >= bounds.low)
    return tuple(call for call, may_be in zip(CALLS, open_, strict=True) if may_be)


def measure_coverage(truth: ArrayLike, sets: Sequence[Sequence[str]]) -> Coverage:
    """Coverage by class, and the workload that sets leave.

    Args:
        truth: (N,) booleans, True = positive.
        sets: N sets of calls.
    """
    positive = np.asarray(truth, dtype=bool)
    holds = np.array([[call in own for call in CALLS] for own in sets]).reshape(-1, 2)  # (N, 2)
    right = np.where(positive, holds[:, 1], holds[:, 0])
    certain = holds.sum(axis=1) == 1
    n_wrong = int((certain & ~right).sum())
    return Coverage(
        share_interval(int(right[positive].sum()), int(positive.sum())),
        share_interval(int(right[~positive].sum()), int((~positive).sum())),
        float((~certain).mean()) if len(certain) else float("nan"),
        share_interval(n_wrong, int(certain.sum())),
        int((certain & ~right & positive).sum()),
    )


def _bound(scores: np.ndarray, coverage: float) -> float:
    """The lowest score that is still like its class; one below all of them where none may fall."""
    ordered = np.sort(scores)
    n_outside = math.floor(round((1 - coverage) * (len(ordered) + 1), 9))
    return float(ordered[n_outside - 1]) if n_outside else float(ordered[0]) - 1.0
