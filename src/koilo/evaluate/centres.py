"""One row a centre: slides, positives, AUC, sensitivity with specificity, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from koilo.evaluate.delong import auc_interval
from koilo.evaluate.intervals import Interval
from koilo.evaluate.operating_point import specificity_at
from koilo.evaluate.proportions import share_interval
from koilo.evaluate.scores import auc

UNKNOWN = "unknown"
"""The centre of slides for which none is given."""

_NONE = Interval(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class CentreRow:
    """One centre's figures; NaN where its slides do not allow one."""

    centre: str
    n: int
    n_positive: int
    auc: Interval
    sensitivity: Interval
    specificity: Interval
    spec_at_sens95: float
    """specificity at the threshold taken from this centre's own slides: not a locked one"""


def by_centre(
    centres: Sequence[str], truth: ArrayLike, score: ArrayLike, called: ArrayLike | None
) -> tuple[CentreRow, ...]:
    """The table, centres by name, then one row ``all`` where there are several.

    Args:
        centres: (N,) names.
        truth: (N,) booleans, True = positive.
        score: (N,) higher = more suspicious.
        called: (N,) booleans, at or above the locked threshold; None where none is known.
    """
    names = np.asarray(centres, dtype=object)
    positive, scores = np.asarray(truth, dtype=bool), np.asarray(score, dtype=float)
    flags = None if called is None else np.asarray(called, dtype=bool)
    rows = [
        _row(str(name), positive[own], scores[own], None if flags is None else flags[own])
        for name in sorted(set(centres))
        for own in [names == name]
    ]
    return (*rows, _row("all", positive, scores, flags)) if len(rows) > 1 else tuple(rows)


def _row(centre: str, positive: ArrayLike, score: ArrayLike, called: ArrayLike | None) -> CentreRow:
    truth, flags = np.asarray(positive), None if called is None else np.asarray(called)
    n_positive = int(truth.sum())
    n_negative = truth.size - n_positive
    enough = min(n_positive, n_negative) >= 2
    area = auc(truth, score)
    return CentreRow(
        centre,
        truth.size,
        n_positive,
        auc_interval(truth, score) if enough else Interval(area, float("nan"), float("nan")),
        _NONE if flags is None else share_interval(int(flags[truth].sum()), n_positive),
        _NONE if flags is None else share_interval(int((~flags[~truth]).sum()), n_negative),
        specificity_at(truth, score) if n_positive else float("nan"),
    )
