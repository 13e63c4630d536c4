"""How well classes are called: confusion, F1 and kappa with intervals, at any prevalence."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koilo.evaluate.agreement import cohen_kappa
from koilo.evaluate.grades import place_in, shared_classes
from koilo.evaluate.intervals import Interval, bootstrap
from koilo.evaluate.prevalence import counts_at_prevalence
from koilo.evaluate.scores import confusion, f1_by_class, macro_f1, reweighted
from koilo.taxonomy import NEGATIVE

Counts = NDArray[Any]
Measure = Callable[[Counts], float]
"""Of a confusion table (C, C)."""

_MEASURES: dict[str, Measure] = {
    "macro_f1": macro_f1,
    "kappa": cohen_kappa,
    "kappa_linear": lambda table: cohen_kappa(table, "linear"),
    "kappa_quadratic": lambda table: cohen_kappa(table, "quadratic"),
}


def measure_grading(
    labels: Sequence[str],
    calls: Sequence[str],
    known: Collection[str],
    *,
    prevalence: float | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Measures of called classes; classes that either side folds are folded.

    Intervals draw slides within their true classes.

    Args:
        labels: (N,) true class or fold of each slide.
        calls: (N,) what was called.
        known: the classes that can be called.
        prevalence: share of positives to which slides are reweighted as well; None: not.
        draws: resamples of the bootstrap.
        seed: of the draws.
    """
    classes = shared_classes([*labels, *known])
    truth = np.array([classes.index(place_in(name, classes)) for name in labels])  # (N,)
    called = np.array([classes.index(place_in(name, classes)) for name in calls])  # (N,)

    def drawn(measure: Measure) -> Interval:
        def of_rows(rows: NDArray[np.intp]) -> float:
            flat = np.bincount(truth[rows] * len(classes) + called[rows], minlength=table.size)
            return measure(flat.reshape(table.shape))

        return bootstrap(of_rows, np.arange(truth.size), strata=truth, draws=draws, seed=seed)

    table = confusion([classes[i] for i in truth], [classes[i] for i in called], classes)
    can_be_called = {place_in(name, classes) for name in known}
    values: dict[str, Any] = {
        "classes": classes,
        "never_called": [name for name in classes if name not in can_be_called],
        "table": table,
        "f1": [drawn(_f1_of(place)) for place in range(len(classes))],
        **{name: drawn(measure) for name, measure in _MEASURES.items()},
        "always_negative": {"macro_f1": macro_f1(_always_negative(table))},
    }
    if prevalence is not None:
        positive = np.array([name != NEGATIVE for name in classes])
        counts = counts_at_prevalence(table.sum(axis=1), positive, prevalence)
        values["at_prevalence"] = {
            "prevalence": prevalence,
            "f1": f1_by_class(reweighted(table, counts)),
            **{name: drawn(_at(counts, measure)) for name, measure in _MEASURES.items()},
        }
    return values


def _f1_of(place: int) -> Measure:
    return lambda table: float(f1_by_class(table)[place])


def _at(class_counts: Counts, measure: Measure) -> Measure:
    """A measure of tables that are brought to other class counts (C,)."""
    return lambda table: measure(reweighted(table, class_counts))


def _always_negative(table: Counts) -> Counts:
    """The confusion of one who calls every slide NILM, the first class: the control."""
    counts = np.zeros_like(table)
    counts[:, 0] = table.sum(axis=1)
    return counts
