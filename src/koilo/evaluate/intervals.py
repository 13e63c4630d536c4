"""Bootstrap intervals, resampling whole blocks (cases, fields, slides), never single cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Measure = Callable[[NDArray[np.intp]], float]


@dataclass(frozen=True)
class Interval:
    """An estimate with the bounds of its interval (95 % unless said otherwise)."""

    estimate: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float | None]:
        """Plain numbers for JSON; None for what could not be computed."""
        values = {"estimate": self.estimate, "low": self.low, "high": self.high}
        return {k: None if np.isnan(v) else round(float(v), 4) for k, v in values.items()}


def bootstrap(
    measure: Measure,
    blocks: ArrayLike,
    *,
    strata: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    centred: bool = False,
) -> Interval:
    """Percentile interval of ``measure``, drawing blocks with replacement.

    Args:
        measure: takes row indices (M,) and returns a number; NaN draws are left out.
        blocks: (N,) the block of each row; rows of one block are drawn together.
        strata: (N,) drawn within each stratum (each block must lie in one); None for one stratum.
        draws: number of resamples.
        seed: of the draws, so that several methods share the same ones.
        level: share of the draws between the bounds.
        centred: move the draws so that their mean is the estimate; for a measure that any
            resampling raises, whose estimate can lie below all but few of its draws.
    """
    names, inverse = np.unique(np.asarray(blocks), return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(inverse))[:-1])
    groups = _groups(len(names), members, strata)
    alone = len(names) == inverse.size
    random = np.random.default_rng(seed)
    values = []
    for _ in range(draws):
        chosen = np.concatenate([random.choice(group, size=len(group)) for group in groups])
        rows = order[chosen] if alone else np.concatenate([members[index] for index in chosen])
        values.append(measure(rows))
    kept = np.asarray(values)[~np.isnan(values)]
    estimate = measure(np.arange(inverse.size))
    if not kept.size:
        return Interval(estimate, float("nan"), float("nan"))
    tail = (1 - level) / 2
    moved = estimate - kept.mean() if centred else 0.0
    low, high = np.quantile(kept, [tail, 1 - tail]) + moved
    return Interval(estimate, float(low), float(high))


def _groups(
    n_blocks: int, members: list[NDArray[np.intp]], strata: ArrayLike | None
) -> list[NDArray[np.intp]]:
    if strata is None:
        return [np.arange(n_blocks)]
    of_row = np.asarray(strata)
    of_block = np.array([of_row[rows[0]] for rows in members])
    for rows, stratum in zip(members, of_block, strict=True):
        if (of_row[rows] != stratum).any():
            raise ValueError("a block lies in two strata: a block must lie in one.")
    return [np.flatnonzero(of_block == stratum) for stratum in np.unique(of_block)]
