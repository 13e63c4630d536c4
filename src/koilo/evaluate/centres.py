"""One row a centre: slides, positives, AUC, sensitivity with specificity, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koilo.evaluate.comparison import mean_over_seeds
from koilo.evaluate.delong import auc_interval
from koilo.evaluate.intervals import Interval
from koilo.evaluate.operating_point import specificity_at
from koilo.evaluate.proportions import share_interval
from koilo.evaluate.scores import auc

UNKNOWN = "unknown"
"""The centre of slides for which none is given."""

NONE = Interval(float("nan"), float("nan"), float("nan"))
"""Where slides do not allow a figure."""


@dataclass(frozen=True)
class CentreRow:
    """One centre's figures; NaN where its slides do not allow one."""

    centre: str
    n: int
    n_positive: int
    auc: Interval
    sensitivity: Interval
    specificity: Interval
    spec_at_sens95: Interval
    """specificity at the threshold taken from this centre's own slides: not a locked one"""


def by_centre(
    centres: Sequence[str],
    truth: ArrayLike,
    score: ArrayLike,
    called: ArrayLike | None,
    *,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[CentreRow, ...]:
    """The table, centres by name, then one row ``all`` where there are several.

    Args:
        centres: (N,) names.
        truth: (N,) booleans, True = positive.
        score: (N,) higher = more suspicious.
        called: (N,) booleans, at or above the locked threshold; None where none is known.
        draws: resamples of the bootstrap, within positives and negatives.
        seed: of the draws.
    """
    names = np.asarray(centres, dtype=object)
    positive, scores = np.asarray(truth, dtype=bool), np.asarray(score, dtype=float)
    flags = None if called is None else np.asarray(called, dtype=bool)
    parts = [(str(name), names == name) for name in sorted(set(centres))]
    if len(parts) > 1:
        parts.append(("all", np.ones(positive.size, dtype=bool)))
    return tuple(
        _row(name, positive[own], scores[own], None if flags is None else flags[own], draws, seed)
        for name, own in parts
    )


def _row(
    centre: str,
    truth: NDArray[np.bool_],
    score: NDArray[np.float64],
    flags: NDArray[np.bool_] | None,
    draws: int,
    seed: int,
) -> CentreRow:
    n_positive = int(truth.sum())
    n_negative = truth.size - n_positive
    enough = min(n_positive, n_negative) >= 2
    area = auc(truth, score)
    return CentreRow(
        centre,
        truth.size,
        n_positive,
        auc_interval(truth, score) if enough else Interval(area, float("nan"), float("nan")),
        NONE if flags is None else share_interval(int(flags[truth].sum()), n_positive),
        NONE if flags is None else share_interval(int((~flags[~truth]).sum()), n_negative),
        mean_over_seeds(truth, score, specificity_at, draws=draws, seed=seed)
        if n_positive
        else NONE,
    )
