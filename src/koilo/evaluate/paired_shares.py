"""Two shares measured on the same slides: their difference, its interval, tests against a margin.

Sensitivity with and without help is read from the same positives, so the two shares are correlated
and an interval of each says little. Tango's score method [1] needs only the pairs that differ; at a
margin of 0 its statistic is McNemar's without correction.

[1] Tango, Statistics in Medicine 17 (1998) 891-908.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from koilo.evaluate.intervals import Interval
from koilo.evaluate.proportions import LEVEL

_HALVINGS = 60


@dataclass(frozen=True)
class Pairs:
    """The same slides judged twice: how many there are and on how many just one reading is right.

    ``gained``: wrong in the first reading, right in the second; ``lost``: the other way round.
    """

    n: int
    gained: int
    lost: int

    @classmethod
    def of(cls, first_right: ArrayLike, second_right: ArrayLike) -> Pairs:
        """Count two arrays (N,) of booleans, True where that reading is right.

        Raises:
            ValueError: the two have not the same length.
        """
        first, second = np.asarray(first_right, dtype=bool), np.asarray(second_right, dtype=bool)
        if first.shape != second.shape:
            raise ValueError(f"{first.shape} and {second.shape}: pairs need the same slides.")
        return cls(first.size, int((~first & second).sum()), int((first & ~second).sum()))

    @property
    def difference(self) -> float:
        """Share right in the second reading less that in the first; NaN without a pair."""
        return (self.gained - self.lost) / self.n if self.n else float("nan")


def score_statistic(pairs: Pairs, margin: float = 0.0) -> float:
    """Tango's z of the difference against ``margin``; high speaks for a difference above it.

    Raises:
        ValueError: the margin does not lie between -1 and 1.

    >>> score_statistic(Pairs(100, 15, 5)) == (15 - 5) / (15 + 5) ** 0.5
    True
    """
    if not -1 < margin < 1:
        raise ValueError(f"margin {margin:g}: a difference of shares lies between -1 and 1.")
    if pairs.n == 0:
        return 0.0
    gap = pairs.gained - pairs.lost - pairs.n * margin
    variance = pairs.n * (2 * _lost_share(pairs, margin) + margin * (1 - margin))
    if variance <= 0:
        return 0.0 if gap == 0 else math.copysign(math.inf, gap)
    return gap / math.sqrt(variance)


def p_above(pairs: Pairs, margin: float) -> float:
    """One-sided p of "the difference is ``margin`` or less"; NaN without a pair.

    Non-inferiority is a p under 0.025 with a negative margin, superiority with 0, superiority by a
    margin with a positive one.
    """
    from scipy.stats import norm

    return float(norm.sf(score_statistic(pairs, margin))) if pairs.n else float("nan")


def difference_interval(pairs: Pairs, level: float = LEVEL) -> Interval:
    """The difference with its score interval: the margins that the two-sided test does not reject.

    The bounds lie within -1 and 1 and have a width where no pair differs, unlike Wald's.
    """
    from scipy.stats import norm

    if pairs.n == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    z = float(norm.ppf(0.5 + level / 2))
    estimate = pairs.difference
    return Interval(estimate, _bound(pairs, z, -1.0), _bound(pairs, -z, 1.0))


def _lost_share(pairs: Pairs, margin: float) -> float:
    """The most likely share of lost pairs where the difference is ``margin`` (never negative)."""
    a = 2 * pairs.n
    b = -pairs.gained - pairs.lost + (2 * pairs.n - pairs.gained + pairs.lost) * margin
    c = -pairs.lost * margin * (1 - margin)
    root = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    return max(root, 0.0, -margin)


def _bound(pairs: Pairs, z: float, end: float) -> float:
    """The margin between the estimate and ``end`` at which the statistic is ``z``."""
    inner, outer = pairs.difference, end
    for _ in range(_HALVINGS):  # the statistic falls as the margin grows
        middle = (inner + outer) / 2
        found = score_statistic(pairs, middle) if abs(middle) < 1 else -math.copysign(math.inf, end)
        within = found < z if z > 0 else found > z
        inner, outer = (middle, outer) if within else (inner, middle)
    return outer
