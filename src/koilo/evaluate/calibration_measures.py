"""Whether p_positive means what it says on one set: ECE, Brier score, temperature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koilo.evaluate.calibration import (
    brier_score,
    ece_by_chance,
    fit_temperature,
    reliability,
    shift_prevalence,
    temper,
    why_no_temperature,
)
from koilo.evaluate.intervals import Interval, bootstrap
from koilo.evaluate.prevalence import prevalence_weights

BINS = 10

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


def measure_calibration(
    truth: NDArray[np.bool_],
    p: Floats,
    prevalence: float | None = None,
    *,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Any] | None:
    """Reliability of p_positive; at a prevalence p is shifted to it and slides are weighted.

    Intervals draw slides within positives and negatives. Slides drawn twice scatter more, which
    every ECE takes for a gap: its draws are centred on its estimate, which lay below the bounds of
    30 % of sets of 46 slides with right p. None where there is no slide.

    Args:
        truth: (N,) True = positive.
        p: (N,) probabilities of being positive.
        prevalence: share of positives of the population; None: as the set is.
        draws: resamples of the bootstrap.
        seed: of the draws.
    """
    if not truth.size:
        return None
    weights: Floats | None = None
    if prevalence is not None and 0 < prevalence < 1:
        p = shift_prevalence(p, float(truth.mean()), prevalence)
        weights = prevalence_weights(truth, prevalence)

    def drawn(measure: Callable[..., float], *, centred: bool = False, **settings: Any) -> Interval:
        def of_rows(rows: Rows) -> float:
            return measure(
                truth[rows], p[rows], weights=None if weights is None else weights[rows], **settings
            )

        found = bootstrap(
            of_rows, np.arange(truth.size), strata=truth, draws=draws, seed=seed, centred=centred
        )
        return replace(found, low=max(found.low, 0.0))

    return {
        "ece_equal_mass": drawn(_ece, centred=True, scheme="mass"),
        "ece_by_chance": ece_by_chance(p, bins=BINS) if weights is None else None,
        "ece_equal_width": drawn(_ece, centred=True, scheme="width"),
        "brier": drawn(brier_score),
        **_temperature(truth, p, weights),
        "diagram": reliability(truth, p, bins=BINS, weights=weights),
        "prevalence": prevalence,
    }


def _ece(truth: NDArray[np.bool_], p: Floats, **settings: Any) -> float:
    return reliability(truth, p, bins=BINS, **settings).ece


def _temperature(
    truth: NDArray[np.bool_], p: Floats, weights: Floats | None
) -> dict[str, float | str | None]:
    """The temperature that fits, and the ECE with it on the same slides; or why there is none."""
    both = np.stack([1 - p, p], axis=1)  # (N, 2)
    temperature = fit_temperature(both, truth.astype(int), weights)
    one_kind = bool(truth.all() or not truth.any())
    why_none = "a class is absent" if one_kind else why_no_temperature(temperature)
    if why_none:
        return {
            "temperature": None,
            "no_temperature": why_none,
            "ece_equal_mass_at_temperature": None,
        }
    cooled = temper(both, temperature)[:, 1]
    return {
        "temperature": temperature,
        "no_temperature": None,
        "ece_equal_mass_at_temperature": _ece(truth, cooled, weights=weights),
    }
