"""What a threshold saves and what it misses: slides ruled out, and missed slides by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from koilo.evaluate.intervals import Interval
from koilo.evaluate.proportions import share_interval
from koilo.taxonomy import CYTOLOGY, NEGATIVE, fold_members

GROUPS = {
    "ASC-H+": frozenset({"ASC-H", "HSIL", "SCC"}),
    "HSIL+": frozenset({"HSIL", "SCC"}),
}
"""Squamous lesions from ASC-H and from HSIL up. AGC is glandular and counts in neither."""


@dataclass(frozen=True)
class Workload:
    """Slides below the threshold, as shares; NaN where a class is absent."""

    negatives_ruled_out: float
    """share of the negatives below the threshold (the specificity)"""
    all_ruled_out: float
    """share of all slides below the threshold"""
    missed_of_ruled_out: float
    """share of positives among the slides below the threshold; NaN where there is none"""
    prevalence: float


@dataclass(frozen=True)
class ClassRecall:
    """How many slides of a class were called positive."""

    name: str
    n: int
    n_missed: int
    sensitivity: Interval


def workload(truth: ArrayLike, called: ArrayLike, *, prevalence: float | None = None) -> Workload:
    """Share of slides that need no reader if those below the threshold are ruled out.

    Args:
        truth: (N,) booleans, True = positive.
        called: (N,) booleans, True = at or above the threshold.
        prevalence: share of positives to reweight to; None: that of the set.
    """
    positive, flagged = np.asarray(truth, dtype=bool), np.asarray(called, dtype=bool)
    missed = float((~flagged[positive]).mean()) if positive.any() else float("nan")
    ruled_out = float((~flagged[~positive]).mean()) if (~positive).any() else float("nan")
    share = float(positive.mean()) if prevalence is None else prevalence
    # A class with no share has no say, even where its rate is unknown.
    n_missed = share * missed if share > 0 else 0.0
    n_negative = (1 - share) * ruled_out if share < 1 else 0.0
    below = n_missed + n_negative
    return Workload(ruled_out, below, n_missed / below if below > 0 else float("nan"), share)


def recall_by_class(labels: Sequence[str], called: ArrayLike) -> tuple[ClassRecall, ...]:
    """Missed slides of each class that is there, mildest name first, NILM left out.

    Args:
        labels: (N,) true class or fold of each slide.
        called: (N,) booleans, True = called positive.
    """
    flagged = np.asarray(called, dtype=bool)
    names = sorted(set(labels) - {NEGATIVE}, key=lambda name: CYTOLOGY.index(fold_members(name)[0]))
    return tuple(_recall(name, np.array([label == name for label in labels]), flagged)
                 for name in names)  # fmt: skip


def recall_by_group(labels: Sequence[str], called: ArrayLike) -> tuple[ClassRecall, ...]:
    """Sensitivity for ASC-H+ and HSIL+ alone.

    A slide whose label is a fold counts in a group only if all of its classes do.

    Args:
        labels: (N,) true class or fold of each slide.
        called: (N,) booleans, True = called positive.
    """
    flagged = np.asarray(called, dtype=bool)
    members = [set(fold_members(label)) for label in labels]
    return tuple(
        _recall(name, np.array([own <= group for own in members], dtype=bool), flagged)
        for name, group in GROUPS.items()
    )


def _recall(name: str, chosen: ArrayLike, called: ArrayLike) -> ClassRecall:
    of_class = np.asarray(called, dtype=bool)[np.asarray(chosen, dtype=bool)]
    hits = int(of_class.sum())
    return ClassRecall(
        name, of_class.size, of_class.size - hits, share_interval(hits, of_class.size)
    )
