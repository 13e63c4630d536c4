"""Tables of whole slides for runs/stride_paper.py: ablations, equal specificity, workload."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koilo.evaluate.comparison import mean_over_seeds, paired_difference
from koilo.evaluate.measures import EQUAL_SPECIFICITY
from koilo.evaluate.operating_point import specificity_at, threshold_at_specificity
from koilo.evaluate.predictive import PredictiveRow, predictive_table
from koilo.evaluate.scores import auc, sensitivity_specificity
from koilo.evaluate.workload import Workload, workload
from stride import METHODS
from stride_centres import mean_count, missed_by_class
from stride_grades import PREVALENCE, count_calls, true_classes
from stride_scores import Table

Bools = NDArray[np.bool_]

INSIDE = ("two_stage", "slide_ft", "swift_no_cam", "swift", "ceiling")
OUTSIDE = ("two_stage", "swift", "continued", "stain_aug", "color_adv", "color_adv_stain")
"""Methods shown on the internal test and on unseen centres."""


def confusion_table(table: Table, split: str, calls: NDArray[np.int64]) -> dict[str, Any]:
    counts = count_calls(true_classes(table, split), calls, len(table.classes))
    return {"classes": list(table.classes), "rows_are_truth": counts.astype(int).tolist()}


def ablation_table(table: Table, split: str, draws: int) -> dict[str, Any]:
    """Each method and what it has over SWIFT, on the same draws of slides."""
    columns = ["method", "seeds", "AUC", "AUC less swift's", "spec@sens95",
               "spec@sens95 less swift's", "locked sensitivity", "locked specificity"]  # fmt: skip
    positive, strata = table.positive(split), np.array(table.labels(split))
    rows: list[list[Any]] = []
    for method in METHODS:
        if method not in table.methods:
            rows.append([method, "not run", *[None] * (len(columns) - 2)])
            continue
        scores, row = table.scores(method, split), [method, len(table.seeds(method))]
        for measure in (auc, specificity_at):
            found = mean_over_seeds(positive, scores, measure, strata=strata, draws=draws)
            row.append(found.as_dict())
            compared = method != "swift" and table.common_seeds(method, "swift")
            row.append(
                paired_difference(positive, *table.scores_of_both(method, "swift", split), measure,
                                  strata=strata, draws=draws).as_dict() if compared else None
            )  # fmt: skip
        for place in (0, 1):
            found = mean_over_seeds(
                positive,
                table.margins(method, split),
                lambda truth, margin, place=place: sensitivity_specificity(truth, margin, 0)[place],
                strata=strata,
                draws=draws,
            )
            row.append(found.as_dict())
        rows.append(row)
    return {"columns": columns, "rows": rows}


def sensitivity_at_equal(truth: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    """Sensitivity at the lowest threshold with a specificity of .65 on this very set."""
    threshold = threshold_at_specificity(truth, score, EQUAL_SPECIFICITY)
    return sensitivity_specificity(truth, score, threshold)[0]


def equal_table(table: Table, split: str, draws: int) -> dict[str, Any]:
    """Sensitivity where every method passes 65 % of the NILM slides, and whom it misses then."""
    labels, positive = table.labels(split), table.positive(split)
    names = [name for name in table.classes[1:] if name in labels]
    columns = ["method", "sensitivity", *(f"missed {n} (of {labels.count(n)})" for n in names)]
    rows: list[list[Any]] = []
    for method in dict.fromkeys((*INSIDE, *OUTSIDE)):
        if method not in table.methods:
            rows.append([method, "not run", *[None] * len(names)])
            continue
        scores = table.scores(method, split)
        found = mean_over_seeds(positive, scores, sensitivity_at_equal,
                                strata=np.array(labels), draws=draws)  # fmt: skip
        thresholds = [threshold_at_specificity(positive, s, EQUAL_SPECIFICITY) for s in scores]
        missed = missed_by_class(labels, scores >= np.array(thresholds)[:, None])
        rows.append([method, found.as_dict(), *(mean_count(missed[name]) for name in names)])
    return {"columns": columns, "rows": rows}


def workload_table(table: Table, split: str, draws: int) -> dict[str, Any]:
    """What a reader is spared, and what a call means, averaged over seeds."""
    rows: list[list[Any]] = []
    positive, strata = table.positive(split), np.array(table.labels(split))
    for method in METHODS:
        if method not in table.methods:
            rows.append([method, "not run", *[None] * (len(AT_WORK) - 1)])
            continue
        margins = table.margins(method, split)
        found = [
            mean_over_seeds(
                positive,
                margins,
                lambda truth, margin, measure=measure: measure(truth, margin >= 0),
                strata=strata,
                draws=draws,
            )
            for measure in AT_WORK.values()
        ]
        rows.append([method, *(each.as_dict() for each in found)])
    return {"columns": ["method", *AT_WORK], "rows": rows}


def _spared(truth: Bools, called: Bools) -> Workload:
    return workload(truth, called, prevalence=PREVALENCE)


def _meaning(truth: Bools, called: Bools) -> PredictiveRow:
    (row,) = predictive_table(*sensitivity_specificity(truth, called, 0.5), [PREVALENCE])
    return row


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


AT_WORK: dict[str, Callable[[Bools, Bools], float]] = {
    "sensitivity": lambda *of: sensitivity_specificity(*of, 0.5)[0],
    "NILM slides ruled out": lambda *of: _spared(*of).negatives_ruled_out,
    "all slides ruled out": lambda *of: _spared(*of).all_ruled_out,
    "positive among the ruled out": lambda truth, called: (
        _spared(truth, called).missed_of_ruled_out
    ),
    "PPV": lambda *of: _number(_meaning(*of).ppv),
    "NPV": lambda *of: _number(_meaning(*of).npv),
    "missed of 1,000": lambda *of: _meaning(*of).missed_per_1000,
}
"""Measures of truth (N,) and calls (N,), at `PREVALENCE`."""
