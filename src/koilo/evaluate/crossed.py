"""Bootstrap over slides and readers at once, for readings where several people read each slide.

Two readings of one slide are no two slides, and a hundred readings of one person are no hundred
persons. Slides and readers are each drawn with replacement, and a reading counts as often as its
slide and its reader were drawn together (the pigeonhole bootstrap [1], on the safe side). Where one
person reads, that person stays, and the interval holds for that person alone.

[1] Owen, Annals of Applied Statistics 1 (2007) 386-411.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koilo.evaluate.intervals import Interval
from koilo.evaluate.proportions import LEVEL

Weighted = Callable[[NDArray[np.int64]], float]
"""From how often each reading counts (N,) to a number; NaN where nothing is left to measure."""


def has_several_readings(slides: ArrayLike) -> bool:
    """Whether a slide stands more than once in (N,) names, so that readings are not independent."""
    names = np.asarray(slides)
    return len(np.unique(names)) < names.size


def crossed_bootstrap(
    measure: Weighted,
    slides: ArrayLike,
    readers: ArrayLike,
    *,
    strata: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """Percentile interval of ``measure`` with slides and readers drawn with replacement.

    Args:
        measure: of the readings' weights (N,), whole numbers from 0.
        slides: (N,) the slide of each reading.
        readers: (N,) who read it.
        strata: (N,) what slides are drawn within (their true class); None for one stratum.
        draws: number of resamples; those that give NaN are left out.
        seed: of the draws.
        level: share of the draws between the bounds.

    Raises:
        ValueError: shapes differ, or a slide lies in two strata.
    """
    slide_of, slide_strata = _slides(slides, strata)
    _, reader_of = np.unique(np.asarray(readers), return_inverse=True)
    if slide_of.shape != reader_of.shape:
        raise ValueError(f"{slide_of.shape} slides and {reader_of.shape} readers: one of each.")
    estimate = measure(np.ones(slide_of.size, dtype=np.int64))
    random = np.random.default_rng(seed)
    groups = [np.flatnonzero(slide_strata == name) for name in np.unique(slide_strata)]
    values = np.empty(draws)
    for draw in range(draws):
        of_slide = _counts(random, groups, slide_strata.size)
        weights = of_slide[slide_of] * _reader_counts(random, reader_of)[reader_of]  # (N,)
        values[draw] = measure(weights) if weights.any() else np.nan
    kept = values[~np.isnan(values)]
    if not kept.size:
        return Interval(estimate, float("nan"), float("nan"))
    tail = (1 - level) / 2
    low, high = np.quantile(kept, [tail, 1 - tail])
    return Interval(float(estimate), float(low), float(high))


def _slides(slides: ArrayLike, strata: ArrayLike | None) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """The slide of each reading as a number, and the stratum of each slide."""
    names, first, slide_of = np.unique(np.asarray(slides), return_index=True, return_inverse=True)
    of_reading = np.zeros(slide_of.size) if strata is None else np.asarray(strata)
    of_slide = of_reading[first]
    if (of_slide[slide_of] != of_reading).any():
        raise ValueError(f"one of {len(names)} slides lies in two strata: it must lie in one.")
    return slide_of, of_slide


def _counts(
    random: np.random.Generator, groups: list[NDArray[np.intp]], n_slides: int
) -> NDArray[np.int64]:
    drawn = np.concatenate([random.choice(group, size=group.size) for group in groups])
    return np.bincount(drawn, minlength=n_slides)


def _reader_counts(random: np.random.Generator, reader_of: NDArray[np.intp]) -> NDArray[np.int64]:
    n = int(reader_of.max(initial=0)) + 1
    return np.bincount(random.integers(n, size=n), minlength=n)
