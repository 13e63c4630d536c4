"""How the comparison's methods name the class of a slide: F1 by class, kappa, confusions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koilo.evaluate.agreement import cohen_kappa
from koilo.evaluate.intervals import Interval, bootstrap
from koilo.evaluate.prevalence import counts_at_prevalence
from koilo.evaluate.scores import f1_by_class, macro_f1, reweighted
from stride_scores import Table

PREVALENCE = 0.21
"""The share of positive slides to which the enriched splits are brought."""
AUGMENTED = ("two_stage", "stain_aug", "swift")
"""Baseline, with augmentation, SWIFT."""

Counts = NDArray[np.float64]


def called_classes(
    p: NDArray[np.float64], positive: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """The class that is called, as a number; NILM is 0.

    Args:
        p: (N, C) of the slide classes, NILM first.
        positive: (N,) whether p_positive reaches the threshold (1 - p_NILM, both rounded, may miss
            it by the last digit). None: the most probable class is called.

    Returns:
        (N,); with a threshold NILM below it, else the most probable of the others, as a results
        folder calls it.
    """
    if positive is None:
        return p.argmax(axis=1)
    return np.where(positive, 1 + p[:, 1:].argmax(axis=1), 0)


def count_calls(truth: NDArray[np.int64], calls: NDArray[np.int64], n_classes: int) -> Counts:
    """Counts (C, C) of true and called classes (N,); rows are the truth."""
    flat = np.bincount(truth * n_classes + calls, minlength=n_classes**2)
    return flat.reshape(n_classes, n_classes).astype(float)


def at_prevalence(counts: Counts) -> Counts:
    """A confusion whose positives are `PREVALENCE` of all; NILM is the first class."""
    positive = np.arange(len(counts)) > 0
    return reweighted(counts, counts_at_prevalence(counts.sum(axis=1), positive, PREVALENCE))


def f1_table(table: Table, split: str, draws: int) -> dict[str, Any]:
    """A row a method, and two that know nothing but how frequent the classes are."""
    columns = ["method", *table.classes, "macro-F1", "kappa", "quadratic kappa"]
    rows: list[list[Any]] = []
    for method in AUGMENTED:
        if method not in table.methods:
            rows.append([method, "not run", *[None] * (len(columns) - 2)])
            continue
        truth, calls = true_classes(table, split), most_probable(table, method, split)
        rows.append([method, *_intervals(truth, calls, len(table.classes), draws)])
    frequency = at_prevalence(np.diag(np.bincount(true_classes(table, split)).astype(float)))
    n = np.diag(frequency)
    always = np.zeros_like(frequency)
    always[:, 0] = n
    for name, control in (
        ("control: always NILM", always),
        ("control: drawn by class frequency", np.outer(n, n) / n.sum()),
    ):
        rows.append([name, *(round(float(v), 4) for v in _measures(control))])
    return {"columns": columns, "rows": rows}


def true_classes(table: Table, split: str) -> NDArray[np.int64]:
    """(N,) the true class of each slide of a split, as a number."""
    return np.array([table.classes.index(label) for label in table.labels(split)])


def most_probable(table: Table, method: str, split: str) -> list[NDArray[np.int64]]:
    """The most probable class of each slide, (N,) a seed."""
    return [called_classes(run.p) for run in table.of(method, split)]


def mean_f1(table: Table, method: str, split: str) -> list[float]:
    """F1 of each class at `PREVALENCE`, averaged over seeds."""
    truth = true_classes(table, split)
    n = len(table.classes)
    tables = [count_calls(truth, call, n) for call in most_probable(table, method, split)]
    return [float(v) for v in np.mean([f1_by_class(at_prevalence(t)) for t in tables], axis=0)]


def _measures(confusion: Counts) -> Counts:
    """F1 of each class, their mean, kappa, quadratic kappa."""
    rest = [macro_f1(confusion), cohen_kappa(confusion), cohen_kappa(confusion, "quadratic")]
    return np.array([*f1_by_class(confusion), *rest])


def _intervals(
    truth: NDArray[np.int64], calls: list[NDArray[np.int64]], n_classes: int, draws: int
) -> list[dict[str, float | None]]:
    """Each of `_measures` at `PREVALENCE` over draws of slides, averaged over seeds."""
    cache: dict[bytes, Counts] = {}

    def values(drawn: NDArray[np.intp]) -> Counts:
        key = drawn.tobytes()
        if key not in cache:
            tables = [count_calls(truth[drawn], call[drawn], n_classes) for call in calls]
            cache[key] = np.mean([_measures(at_prevalence(t)) for t in tables], axis=0)
        return cache[key]

    def one(place: int) -> Callable[[NDArray[np.intp]], float]:
        return lambda drawn: float(values(drawn)[place])

    found: list[Interval] = [
        bootstrap(one(place), np.arange(len(truth)), strata=truth, draws=draws)
        for place in range(n_classes + 3)
    ]
    return [interval.as_dict() for interval in found]
