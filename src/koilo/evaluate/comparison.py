"""Compare two methods on the same slides: the same draws for both, measures averaged over seeds.

A difference of two measures each with its own interval says little: both move with the slides
drawn. Here slides are drawn within their strata once a draw, and both methods are measured on them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koilo.evaluate.intervals import Interval, bootstrap

ScoreMeasure = Callable[[NDArray[np.bool_], NDArray[np.float64]], float]
"""From truth (M,) and score (M,) to a number, such as `koilo.evaluate.scores.auc`.

For a threshold locked elsewhere give scores less the threshold, and measure at 0: s >= t and
s - t >= 0 are the same in floating point.
"""


def mean_over_seeds(
    truth: ArrayLike,
    scores: ArrayLike,
    measure: ScoreMeasure,
    *,
    strata: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Interval:
    """A measure averaged over the seeds of one method, with its stratified bootstrap interval.

    Args:
        truth: (N,) booleans, True = positive.
        scores: (S, N) a row for each seed; (N,) for one.
        measure: of truth and score.
        strata: (N,) what slides are drawn within (class, centre); None: the truth.
        draws: number of resamples.
        seed: of the draws.

    Raises:
        ValueError: shapes do not fit.
    """
    positive, rows = _checked(truth, scores)
    return bootstrap(
        lambda drawn: _mean(measure, positive, rows, drawn),
        np.arange(positive.size),
        strata=positive if strata is None else strata,
        draws=draws,
        seed=seed,
    )


def paired_difference(
    truth: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    measure: ScoreMeasure,
    *,
    strata: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Interval:
    """First less second, each averaged over its seeds, on the same draws of slides.

    Args:
        truth: (N,) booleans, True = positive.
        first: (S, N) scores, a row for each seed; (N,) for one.
        second: (S', N) the same of the other method.
        measure: of truth and score.
        strata: (N,) what slides are drawn within (class, centre); None: the truth.
        draws: number of resamples.
        seed: of the draws.

    Returns:
        the difference; it holds where the interval excludes 0.

    Raises:
        ValueError: shapes do not fit.
    """
    positive, ours = _checked(truth, first)
    _, theirs = _checked(truth, second)

    def gap(drawn: NDArray[np.intp]) -> float:
        return _mean(measure, positive, ours, drawn) - _mean(measure, positive, theirs, drawn)

    return bootstrap(
        gap,
        np.arange(positive.size),
        strata=positive if strata is None else strata,
        draws=draws,
        seed=seed,
    )


def _mean(
    measure: ScoreMeasure,
    truth: NDArray[np.bool_],
    scores: NDArray[np.float64],
    drawn: NDArray[np.intp],
) -> float:
    return float(np.mean([measure(truth[drawn], row[drawn]) for row in scores]))


def _checked(truth: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    positive, rows = np.asarray(truth, dtype=bool), np.atleast_2d(np.asarray(scores, dtype=float))
    if rows.ndim != 2 or rows.shape[1:] != positive.shape:
        raise ValueError(
            f"scores {np.shape(scores)} and truth {positive.shape}: (seeds, N) and (N) are needed."
        )
    return positive, rows
