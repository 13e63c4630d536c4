"""The paper's tables and figures of slides, made of the scores that runs/stride.sh left.

    python runs/stride_paper.py OUT [OUT…] --cohort COHORT [--smoke]

Nothing is trained. F1 by class with baseline, augmentation and SWIFT; ablations on the internal and
the unseen test; ROC curves, confusions at the locked threshold and at a specificity of .65; every
unseen centre, with its colours' distance; workload. Measures are averaged over the seeds found. F1,
kappa, predictive values and workload are brought to 21 % positive slides. ``--smoke`` draws few
resamples and claims nothing.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koilo.datasets.crop_store import CropStore, open_crop_store
from koilo.evaluate.comparison import mean_over_seeds, paired_difference
from koilo.evaluate.figures import draw_centres, draw_confusion, draw_roc
from koilo.evaluate.measures import EQUAL_SPECIFICITY
from koilo.evaluate.operating_point import specificity_at, threshold_at_specificity
from koilo.evaluate.predictive import predictive_table
from koilo.evaluate.scores import auc, sensitivity_specificity
from koilo.evaluate.workload import workload
from koilo.files import write_json
from koilo.train.record import git_commit
from stride import COLOUR, METHODS
from stride_centres import (
    DEPLOYED,
    by_distance,
    calls_table,
    centre_rows,
    centres_table,
    mean_count,
    missed_by_class,
    missed_table,
)
from stride_grades import (
    AUGMENTED,
    PREVALENCE,
    called_classes,
    count_calls,
    f1_table,
    mean_f1,
    most_probable,
    true_classes,
)
from stride_pictures import draw_auc_by_distance, draw_f1_by_size
from stride_scores import Table

DRAWS, SMOKE_DRAWS = 1000, 30
ABLATIONS = ("two_stage", "slide_ft", "swift_no_cam", "swift", *COLOUR)
CURVES = {
    "test": ("two_stage", "slide_ft", "swift_no_cam", "swift", "ceiling"),
    "unseen": ("two_stage", "swift", "continued", "stain_aug", "color_adv", "color_adv_stain"),
}
CONFUSIONS = ("two_stage", "swift")
BY_DISTANCE = ("two_stage", "swift", "color_adv")
FOREST = "swift"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("outs", type=Path, nargs="+", metavar="OUT")
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--smoke", action="store_true", help="few resamples; claims nothing")
    parser.add_argument("--page", type=Path, default=Path("docs/results/stride_paper.json"))
    options = parser.parse_args()
    started = time.time()
    draws = SMOKE_DRAWS if options.smoke else DRAWS
    table, store = Table(options.outs), open_crop_store(options.cohort)
    tables = paper_tables(table, store, draws)
    pictures = draw_pictures(table, store, options.page, draws)
    missing = [name for name in METHODS if name not in table.methods]
    page = {
        "name": options.page.stem,
        "title": "STRIDE's tables of slides on the multi-centre cohort (synthetic)",
        "command": "python runs/stride_paper.py OUT --cohort COHORT" + " --smoke" * options.smoke,
        "commit": git_commit(),
        "data": f"phantom cohort of {len(table.labels('test'))} test and "
        f"{len(table.labels('unseen'))} unseen slides, seed {store.facts.get('seed')}",
        "seed": ", ".join(map(str, table.all_seeds)),
        "seconds": round(time.time() - started),
        "figures": {},
        "controls": {
            "a score drawn at random: AUC": 0.5,
            "a score drawn at random: spec@sens95": 0.05,
            f"a score drawn at random: sensitivity at specificity {EQUAL_SPECIFICITY}": round(
                1 - EQUAL_SPECIFICITY, 2
            ),
            "a score drawn at random: NILM slides ruled out at sensitivity .95": 0.05,
        },
        "tables": tables,
        "notes": [*notes(table), f"Not run: {', '.join(missing) or 'nothing'}."],
        "pictures": pictures,
    }
    write_json(options.page, page)


def notes(table: Table) -> list[str]:
    return [
        "Synthetic slides: no clinical claim. Verdicts stand in the table of claims, none here; "
        "least of all for a centre.",
        "Called is what reaches the threshold that validation locked, unchanged on every centre. "
        f"F1, kappa, predictive values and workload are at {100 * PREVALENCE:.0f} % positive. F1 "
        "and its confusions are of the most probable class; confusions at a threshold are NILM "
        "below it, else the most probable of the others.",
        "Sensitivity and specificity of a centre have Wilson's interval on the mean count of the "
        "seeds, all else an interval over draws of slides within the truth. ROC curves and "
        f"confusions are those of seed {table.all_seeds[0]}.",
    ]


def paper_tables(table: Table, store: CropStore, draws: int) -> dict[str, Any]:
    """Title -> table; methods that did not run are said to be so."""
    sizes = training_sizes(store, table.classes)
    first = [name for name in CONFUSIONS if name in table.methods]
    return {
        "F1 of slide classes, test (S-23)": f1_table(table, "test", draws),
        "Slides to learn from": {"columns": list(sizes), "rows": [list(sizes.values())]},
        **{
            f"Most probable class, test, {method} (S-23)": confusion_table(
                table, "test", most_probable(table, method, "test")[0]
            )
            for method in first
        },
        **{
            f"Ablations, {split} (S-31)": ablation_table(table, split, draws)
            for split in ("test", "unseen")
        },
        **{
            f"At specificity {EQUAL_SPECIFICITY}, {split} (S-48)": equal_table(table, split, draws)
            for split in ("test", "unseen")
        },
        "Unseen centres, locked threshold (S-50, S-51)": centres_table(table, "unseen", draws),
        "Missed slides of unseen centres, locked threshold (S-51)": missed_table(table, "unseen"),
        "All slides of unseen centres, locked threshold (S-51)": calls_table(table, "unseen"),
        **{
            f"Workload at the locked threshold, {split} (S-54)": workload_table(table, split)
            for split in ("test", "unseen")
        },
    }


def draw_pictures(table: Table, store: CropStore, page: Path, draws: int) -> dict[str, str]:
    """Draw beside the page; file -> what it shows."""
    captions: dict[str, str] = {}

    def beside(what: str, caption: str) -> Path:
        path = page.with_name(f"{page.stem}_{what}.png")
        captions[path.name] = caption
        return path

    graded = [name for name in AUGMENTED if name in table.methods]
    draw_f1_by_size(
        beside("f1_by_size", "F1 of slide classes (test) against their number in training (S-23)"),
        training_sizes(store, table.classes),
        {name: mean_f1(table, name, "test") for name in graded},
        "slides of the class to learn from",
    )
    for split, methods in CURVES.items():
        draw_curves(table, split, methods, beside(f"roc_{split}", f"ROC curves, {split} (S-48)"))
    for method in (name for name in CONFUSIONS if name in table.methods):
        truth, run = true_classes(table, "test"), table.of(method, "test")[0]
        equal = threshold_at_specificity(table.positive("test"), run.p_positive, EQUAL_SPECIFICITY)
        for what, threshold, words in (
            ("locked", run.threshold, "the locked threshold"),
            ("spec65", equal, f"a specificity of {EQUAL_SPECIFICITY}"),
        ):
            calls = called_classes(run.p, threshold)
            path = beside(f"{method}_{what}", f"Classes called by {method} at {words}, test (S-48)")
            draw_confusion(path, count_calls(truth, calls, len(table.classes)), table.classes)
    shown = [name for name in BY_DISTANCE if name in table.methods]
    draw_auc_by_distance(
        beside("distance", "AUC of unseen centres against the distance of their colours (S-50)"),
        {name: by_distance(table, name, store.folder, draws) for name in shown},
    )
    if FOREST in table.methods:
        path = beside("centres", f"Unseen centres, {FOREST} at the locked threshold (S-51)")
        draw_centres(path, centre_rows(table, FOREST, "unseen", draws))
    return captions


def draw_curves(table: Table, split: str, methods: tuple[str, ...], path: Path) -> None:
    """ROC curves of the first seed, each with the point of its locked threshold."""
    positive = table.positive(split)
    runs = {name: table.of(name, split)[0] for name in methods if name in table.methods}
    points = {
        f"{name}, locked": sensitivity_specificity(positive, run.p_positive, run.threshold)
        for name, run in runs.items()
    }
    curves = {
        f"{name}, AUC {auc(positive, run.p_positive):.3f}": (positive, run.p_positive)
        for name, run in runs.items()
    }
    draw_roc(path, curves, points=points)


def training_sizes(store: CropStore, classes: tuple[str, ...]) -> dict[str, int]:
    labels = [slide.label for slide in store.of_split("train")]
    return {name: labels.count(name) for name in classes}


def confusion_table(table: Table, split: str, calls: NDArray[np.int64]) -> dict[str, Any]:
    counts = count_calls(true_classes(table, split), calls, len(table.classes))
    return {"classes": list(table.classes), "rows_are_truth": counts.astype(int).tolist()}


def ablation_table(table: Table, split: str, draws: int) -> dict[str, Any]:
    """Each method and what it has over SWIFT, on the same draws of slides."""
    columns = ["method", "seeds", "AUC", "AUC less swift's", "spec@sens95",
               "spec@sens95 less swift's", "locked sensitivity", "locked specificity"]  # fmt: skip
    positive, strata = table.positive(split), np.array(table.labels(split))
    rows: list[list[Any]] = []
    for method in ABLATIONS:
        if method not in table.methods:
            rows.append([method, "not run", *[None] * (len(columns) - 2)])
            continue
        scores, row = table.scores(method, split), [method, len(table.seeds(method))]
        for measure in (auc, specificity_at):
            found = mean_over_seeds(positive, scores, measure, strata=strata, draws=draws)
            row.append(found.as_dict())
            compared = method != "swift" and "swift" in table.methods
            row.append(
                paired_difference(positive, scores, table.scores("swift", split), measure,
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
    for method in dict.fromkeys((*CURVES["test"], *DEPLOYED)):
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


def workload_table(table: Table, split: str) -> dict[str, Any]:
    """What a reader is spared, and what a call means, averaged over seeds."""
    columns = ["method", "sensitivity", "NILM slides ruled out", "all slides ruled out",
               "positive among the ruled out", "PPV", "NPV", "missed of 1,000"]  # fmt: skip
    positive = table.positive(split)
    rows: list[list[Any]] = []
    for method in METHODS:
        if method not in table.methods:
            rows.append([method, "not run", *[None] * (len(columns) - 2)])
            continue
        values = []
        for called in table.margins(method, split) >= 0:
            sensitivity, specificity = sensitivity_specificity(positive, called, 0.5)
            spared = workload(positive, called, prevalence=PREVALENCE)
            (means,) = predictive_table(sensitivity, specificity, [PREVALENCE])
            values.append(
                [sensitivity, spared.negatives_ruled_out, spared.all_ruled_out,
                 spared.missed_of_ruled_out, means.ppv, means.npv, means.missed_per_1000]
            )  # fmt: skip
        averaged = np.mean(np.array(values, dtype=float), axis=0)
        rows.append([method, *(None if np.isnan(v) else round(float(v), 3) for v in averaged)])
    return {"columns": columns, "rows": rows}


if __name__ == "__main__":
    main()
