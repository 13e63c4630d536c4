"""Are the right cells on top: Precision@Top-32 by slide class, recall among the best K."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koilo.evaluate.intervals import Interval, bootstrap
from koilo.taxonomy import CYTOLOGY, fold_members

TOP = 32


@dataclass(frozen=True)
class RankedSlide:
    """One slide's cells with their truth."""

    label: str
    """class of the slide"""
    positive: ArrayLike
    """(N,) booleans, True = a lesion cell"""
    score: ArrayLike
    """(N,) what the cells are ranked by, higher = more suspicious"""
    n_positive: int | None = None
    """lesion cells of the slide, those that were not kept too; None: those in ``positive``"""


@dataclass(frozen=True)
class TopPrecision:
    """Mean precision over the slides of one class; slides without a cell are left out."""

    label: str
    n_slides: int
    precision: Interval
    """by bootstrap of these slides"""


def precision_at_top(positive: ArrayLike, score: ArrayLike, top: int = TOP) -> float:
    """Share of lesion cells among the ``top`` best cells of a slide, or all where it has fewer.

    NaN where it has none. Equal scores keep their order.

    >>> precision_at_top([True, False, True], [0.9, 0.8, 0.7], top=2)
    0.5
    """
    best = _best_first(positive, score)[:top]
    return float(best.mean()) if best.size else float("nan")


def precision_by_class(
    slides: Iterable[RankedSlide], top: int = TOP, *, draws: int = 1000, seed: int = 0
) -> tuple[TopPrecision, ...]:
    """Precision@Top of the slides of each class, in koilo's order of classes (NILM first).

    Read NILM's the other way: any lesion cell on top of a negative slide would be a mislabel.
    """
    found: dict[str, list[float]] = {}
    for slide in slides:
        precision = precision_at_top(slide.positive, slide.score, top)
        if not np.isnan(precision):
            found.setdefault(slide.label, []).append(precision)
    order = sorted(found, key=lambda name: CYTOLOGY.index(fold_members(name)[0]))
    return tuple(
        TopPrecision(name, len(found[name]), _mean(found[name], draws, seed)) for name in order
    )


def top_k_recall(
    slides: Sequence[RankedSlide], ks: Sequence[int], *, draws: int = 1000, seed: int = 0
) -> tuple[Interval, ...]:
    """For each K the share of all lesion cells that are among the best K of their slide.

    By bootstrap of the slides; NaN where there is no lesion cell.
    """
    best = [_best_first(slide.positive, slide.score) for slide in slides]
    hits = np.array([[row[:k].sum() for k in ks] for row in best], float).reshape(-1, len(ks))
    every = zip(slides, best, strict=True)
    total = np.array([row.sum() if s.n_positive is None else s.n_positive for s, row in every])

    def recall(rows: NDArray[np.intp], column: int) -> float:
        cells = total[rows].sum()
        return float(hits[rows, column].sum() / cells) if cells else float("nan")

    places = np.arange(len(slides))
    return tuple(
        bootstrap(partial(recall, column=column), places, draws=draws, seed=seed)
        for column in range(len(ks))
    )


def _mean(shares: Sequence[float], draws: int, seed: int) -> Interval:
    values = np.asarray(shares)  # (N,)
    return bootstrap(
        lambda rows: float(values[rows].mean()), np.arange(values.size), draws=draws, seed=seed
    )


def _best_first(positive: ArrayLike, score: ArrayLike) -> np.ndarray:
    order = np.argsort(-np.asarray(score, dtype=float), kind="stable")
    return np.asarray(positive, dtype=bool)[order]
