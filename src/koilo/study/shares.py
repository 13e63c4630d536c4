"""Sensitivity and specificity under both conditions: intervals, tests, margins, readers, arms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koilo.evaluate.agreement import clustered_mcnemar, mcnemar
from koilo.evaluate.crossed import crossed_bootstrap, has_several_readings
from koilo.evaluate.intervals import Interval
from koilo.evaluate.paired_shares import Pairs, difference_interval, p_above
from koilo.evaluate.proportions import share_interval
from koilo.study.compared import Compared
from koilo.study.record import Reading

Values = dict[str, Any]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Settings:
    """What the statistics of a study take from its configuration."""

    superiority_margin: float
    noninferiority_margin: float
    draws: int
    seed: int


def compare_shares(compared: Compared, settings: Settings) -> Values:
    """Sensitivity and specificity, each with its difference; None where the class is absent."""
    truth = compared.truth
    return {
        "sensitivity": _compare(compared, truth, settings),
        "specificity": _compare(compared, ~truth, settings),
    }


def share_rows(
    compared: Compared, settings: Settings, of: Callable[[Reading], str]
) -> list[Values]:
    """The same for each reader or arm.

    Args:
        compared: the pairs.
        settings: margins and resampling.
        of: from a reading to the name of its row.
    """
    names = np.array([of(reading) for reading in compared.readings])
    return [
        {
            "name": name,
            "sensitivity": _compare(compared, (names == name) & compared.truth, settings),
            "specificity": _compare(compared, (names == name) & ~compared.truth, settings),
        }
        for name in sorted(set(names.tolist()))
    ]


def _compare(compared: Compared, rows: Bools, settings: Settings) -> Values | None:
    if not rows.any():
        return None
    first, second = _right(compared, rows)
    pairs = Pairs.of(first, second)
    slides, readers = compared.slides[rows], compared.readers[rows]
    clustered = has_several_readings(slides)
    n_slides = len(np.unique(slides))

    def interval(values: NDArray[np.float64], narrowest: Interval) -> Interval:
        """By resampling; where nothing varies that has no width, and slides alone give one."""
        found = crossed_bootstrap(
            lambda weights: float(np.average(values, weights=weights)),
            slides, readers, draws=settings.draws, seed=settings.seed,
        )  # fmt: skip
        if found.low < found.high:
            return found
        return Interval(found.estimate, narrowest.low, narrowest.high)

    one = share_interval(int(first.sum()), pairs.n)
    two = share_interval(int(second.sum()), pairs.n)
    gap = difference_interval(pairs)
    if clustered:
        one = interval(first.astype(float), share_interval(first.mean() * n_slides, n_slides))
        two = interval(second.astype(float), share_interval(second.mean() * n_slides, n_slides))
        gap = interval(second - first.astype(float), difference_interval(Pairs(n_slides, 0, 0)))
    return {
        "n_readings": pairs.n,
        "n_slides": n_slides,
        "clustered": clustered,
        "first": one,
        "second": two,
        "difference": gap,
        "only_first_right": pairs.lost,
        "only_second_right": pairs.gained,
        "mcnemar": _mcnemar(first, second, slides),
        "claims": _claims(pairs, gap, settings, clustered=clustered),
    }


def _right(compared: Compared, rows: Bools) -> tuple[Bools, Bools]:
    """Whether each call agrees with gold on positive or not, under both conditions."""
    truth = compared.truth
    first, second = compared.called(0) == truth, compared.called(1) == truth
    return first[rows], second[rows]


def _mcnemar(first: Bools, second: Bools, slides: NDArray[np.str_]) -> Values:
    if not has_several_readings(slides):
        test = mcnemar(first, second)
        return {"test": "exact", "statistic": test.statistic, "p": test.p_exact,
                "p_corrected": test.p_corrected}  # fmt: skip
    _, of_slide = np.unique(slides, return_inverse=True)
    gained = np.bincount(of_slide, weights=~first & second)
    lost = np.bincount(of_slide, weights=first & ~second)
    statistic, p = clustered_mcnemar(gained, lost, np.bincount(of_slide))
    return {"test": "by slides (Durkalski); readers as they are", "statistic": statistic, "p": p,
            "p_corrected": None}  # fmt: skip


def _claims(pairs: Pairs, gap: Interval, settings: Settings, *, clustered: bool) -> list[Values]:
    """Each claim, its margin, and whether the interval of the difference lies above it."""
    margins = {
        "not inferior": settings.noninferiority_margin,
        "superior": 0.0,
        "superior by the margin": settings.superiority_margin,
    }
    return [
        {
            "claim": claim,
            "margin": margin,
            "shown": bool(gap.low > margin),
            "p_one_sided": None if clustered else p_above(pairs, margin),
        }
        for claim, margin in margins.items()
    ]
