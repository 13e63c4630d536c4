"""The paper's tables and figures of slides, made of the scores that runs/stride.sh left.

    python runs/stride_paper.py OUT [OUT…] --cohort COHORT [--smoke]

Nothing is trained. F1 by class with baseline, augmentation and SWIFT; ablations on the internal and
the unseen test; ROC curves, confusions at the locked threshold and at a specificity of .65; every
unseen centre, with its colours' distance; workload. Measures are averaged over the seeds found. F1,
kappa, predictive values and workload are brought to 21 % positive slides. ``--smoke`` draws few
resamples, leaves its page in OUT and claims nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from koilo.datasets.crop_store import CropStore, open_crop_store
from koilo.evaluate.centres import CentreRow
from koilo.evaluate.figures import draw_centres, draw_confusion, draw_roc
from koilo.evaluate.measures import EQUAL_SPECIFICITY
from koilo.evaluate.operating_point import threshold_at_specificity
from koilo.evaluate.scores import auc, sensitivity_specificity
from koilo.files import write_json
from koilo.train.record import git_commit
from stride import METHODS
from stride_centres import (
    DEPLOYED,
    by_distance,
    calls_table,
    centre_rows,
    centres_table,
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
from stride_page import RANDOM_SCORE, page_path, run_script, smoke_notes
from stride_paper_tables import (
    INSIDE,
    OUTSIDE,
    ablation_table,
    confusion_table,
    equal_table,
    workload_table,
)
from stride_pictures import draw_auc_by_distance, draw_f1_by_size
from stride_scores import Table

DRAWS, SMOKE_DRAWS = 1000, 30
CONFUSIONS = ("two_stage", "swift")
BY_DISTANCE = ("two_stage", "swift", "color_adv")
FOREST = "swift"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("outs", type=Path, nargs="+", metavar="OUT")
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--smoke", action="store_true", help="few resamples; claims nothing")
    parser.add_argument("--page", type=Path, help="default: docs/results/stride_paper.json")
    options = parser.parse_args()
    options.page = page_path(options.page, "stride_paper", options.outs[0], smoke=options.smoke)
    started = time.time()
    draws = SMOKE_DRAWS if options.smoke else DRAWS
    table, store = Table(options.outs), open_crop_store(options.cohort)
    table.refuse_other_slides(store)
    centres = {
        name: centre_rows(table, name, "unseen", draws)
        for name in DEPLOYED
        if name in table.methods
    }
    tables = paper_tables(table, store, centres, draws)
    pictures = draw_pictures(table, store, centres, options.page)
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
            **RANDOM_SCORE,
            f"a score drawn at random: sensitivity at specificity {EQUAL_SPECIFICITY}": round(
                1 - EQUAL_SPECIFICITY, 2
            ),
            "a score drawn at random: NILM slides ruled out at sensitivity .95": 0.05,
        },
        "tables": tables,
        "notes": [
            *smoke_notes(options.smoke),
            *notes(table),
            f"Not run: {', '.join(missing) or 'nothing'}.",
        ],
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
        "seeds, its AUC one over draws of slides within the truth, all else over draws within "
        "classes. ROC curves and "
        f"confusions are those of seed {table.all_seeds[0]}.",
    ]


def paper_tables(
    table: Table, store: CropStore, centres: Mapping[str, list[CentreRow]], draws: int
) -> dict[str, Any]:
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
        "Unseen centres, locked threshold (S-50, S-51)": centres_table(centres),
        "Missed slides of unseen centres, locked threshold (S-51)": missed_table(table, "unseen"),
        "All slides of unseen centres, locked threshold (S-51)": calls_table(table, "unseen"),
        **{
            f"Workload at the locked threshold, {split} (S-54)": workload_table(table, split, draws)
            for split in ("test", "unseen")
        },
    }


def draw_pictures(
    table: Table, store: CropStore, centres: Mapping[str, list[CentreRow]], page: Path
) -> dict[str, str]:
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
    for split, methods in (("test", INSIDE), ("unseen", OUTSIDE)):
        draw_curves(table, split, methods, beside(f"roc_{split}", f"ROC curves, {split} (S-48)"))
    for method in (name for name in CONFUSIONS if name in table.methods):
        truth, run = true_classes(table, "test"), table.of(method, "test")[0]
        equal = threshold_at_specificity(table.positive("test"), run.p_positive, EQUAL_SPECIFICITY)
        for what, threshold, words in (
            ("locked", run.threshold, "the locked threshold"),
            ("spec65", equal, f"a specificity of {EQUAL_SPECIFICITY}"),
        ):
            calls = called_classes(run.p, run.p_positive >= threshold)
            path = beside(f"{method}_{what}", f"Classes called by {method} at {words}, test (S-48)")
            draw_confusion(path, count_calls(truth, calls, len(table.classes)), table.classes)
    shown = [name for name in BY_DISTANCE if name in centres]
    draw_auc_by_distance(
        beside("distance", "AUC of unseen centres against the distance of their colours (S-50)"),
        {name: by_distance(table, name, centres[name], store.folder) for name in shown},
    )
    if FOREST in centres:
        path = beside("centres", f"Unseen centres, {FOREST} at the locked threshold (S-51)")
        draw_centres(path, centres[FOREST])
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


if __name__ == "__main__":
    sys.exit(run_script(main))
