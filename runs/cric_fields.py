"""Train the slide head out of fold on CRIC fields and composed slides, lock thresholds, measure.

    python runs/cric_field_cells.py --data DATA/cric --detector D --cells C --out WORK/cells.npz
    python runs/cric_fields.py compare --data DATA/cric --cells WORK/cells.npz --work WORK
    python runs/cric_fields.py final   --data DATA/cric --cells WORK/cells.npz --work WORK

``compare`` tries every head and input on the same folds. ``final`` takes the chosen one: three
heads out of fold give the figures and the thresholds, a fourth on all bags ships. A field's class
is that of its most severe labelled cell. Composed slides are bags of real cells: `slide_bags.py`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cric_field_cells import stack
from koilo.datasets.cric import CLASSES, N_FOLDS, read_cric
from koilo.evaluate.intervals import bootstrap
from koilo.evaluate.operating_point import lock_operating_point, lock_threshold, specificity_at
from koilo.evaluate.scores import auc, confusion, sensitivity_specificity
from koilo.files import write_json
from koilo.mil import Bag, head_inputs
from koilo.train import LoopConfig, fit
from koilo.train.recipes.slide_head import (
    SlideHeadConfig,
    SlideHeadRecipe,
    predict_bags,
    score_bags,
)
from koilo.train.record import git_commit
from slide_bags import (
    SLIDE_CLASSES,
    TOP_K,
    Draw,
    Table,
    composed_bags,
    crop_bags,
    field_bags,
)

DATA = "CRIC Cervix (CC BY 4.0), 189 fields in 20 blocks, three folds of whole blocks"
SETS = ("fields", "crops", "composed")
LOOP = LoopConfig(steps=900, lr=1e-2, weight_decay=0.01, ema=0.98, threads=1, device="cpu",
                  checkpoint_every=10_000)  # fmt: skip
TRAIN_CROPS, TRAIN_COMPOSED, TEST_COMPOSED = 300, 500, 300


@dataclass(frozen=True)
class Choice:
    """A head, how long it learns and what it reads.

    ``honest`` takes training cells from models that never saw them, else from the very model whose
    fields are then judged: what over-fitted training cells cost.
    """

    head: str
    config: dict[str, float]
    steps: int = 900
    inputs: str = "log_p"
    honest: bool = True


SHIPPED = Choice("evidence", {"sharpness": 1.0, "shift": -2.0}, 300)
TRIED = {
    "evidence, sharpness 1": SHIPPED,
    "evidence, sharpness 2": Choice("evidence", {"sharpness": 2.0, "shift": -2.0}, 300),
    "evidence, sharpness 8": Choice("evidence", {"sharpness": 8.0, "shift": -2.0}, 300),
    "mean": Choice("mean", {}),
    "max": Choice("max", {}),
    "ABMIL": Choice("abmil", {"hidden": 16}),
    "the paper's": Choice("dense_attention", {"hidden": 16}),
}
DISHONEST = {
    "ABMIL, over-fitted training cells": Choice("abmil", {"hidden": 16}, honest=False),
    "ABMIL on features, over-fitted": Choice("abmil", {"hidden": 64}, 900, "features", False),
}


class Study:
    """The table of cells, the fields' truth, and the bags drawn from both."""

    def __init__(self, data: Path, cells: Sequence[Path]) -> None:
        self.fields = read_cric(data)
        self.table: Table = stack([dict(np.load(path)) for path in cells])
        self.labels = {
            f.field_id: max((c.label for c in f.cells), key=CLASSES.index) for f in self.fields
        }
        self.cells = {
            f.field_id: np.array([(c.x_px0, c.y_px0, CLASSES.index(c.label)) for c in f.cells])
            for f in self.fields
        }
        self.negative = [field for field, label in self.labels.items() if label == "NILM"]

    def draw(self, model: int, fold: int, seed: int) -> dict[str, list[Draw]]:
        """All bags of one fold as one model read it."""
        mine = (self.table["model"] == model) & (self.table["fold"] == fold)
        rows, rng = np.flatnonzero(mine), np.random.default_rng(seed)
        return {
            "fields": field_bags(self.table, self.labels, rows),
            "crops": crop_bags(self.table, self.cells, rows, TRAIN_CROPS, rng),
            "composed": composed_bags(self.table, self.negative, rows, TRAIN_COMPOSED, rng),
        }

    def bags(self, draws: Sequence[Draw], inputs: str) -> list[Bag]:
        """The bags as a head reads them."""
        x = head_inputs(self.table["features"], self.table["p"], inputs)
        return [
            Bag(draw.group, x[draw.rows][:TOP_K], SLIDE_CLASSES.index(draw.label)) for draw in draws
        ]


def train_head(
    study: Study, choice: Choice, folds: Sequence[int], test_fold: int | None, work: Path, name: str
) -> torch.nn.Module:
    """A head on the bags of ``folds``; of a dishonest choice as ``test_fold``'s model read them."""
    draws = [
        draw
        for fold in folds
        for part in study.draw(
            fold if choice.honest or test_fold is None else test_fold, fold, seed=fold
        ).values()
        for draw in part
    ]
    bags = study.bags(draws, choice.inputs)
    loop = dataclasses.replace(LOOP, steps=choice.steps)
    config = SlideHeadConfig(
        work, head=choice.head, head_config=choice.config, inputs=choice.inputs, loop=loop
    )
    recipe = SlideHeadRecipe(config, bags, [])
    shutil.rmtree(work / name, ignore_errors=True)  # bags may differ where the settings do not
    fit(recipe, loop, work / name, settings=config)
    return recipe.model


def out_of_fold(study: Study, choice: Choice, work: Path, name: str) -> dict[str, dict[str, Any]]:
    """Each fold's bags judged by a head that never saw their blocks: p (S, C), draws, by set."""
    result: dict[str, dict[str, Any]] = {s: {"p": [], "draws": []} for s in SETS}
    for fold in range(N_FOLDS):
        others = [other for other in range(N_FOLDS) if other != fold]
        head = train_head(study, choice, others, fold, work, f"{name}-{fold}")
        drawn = study.draw(fold, fold, seed=100 + fold)
        drawn["composed"] = drawn["composed"][:TEST_COMPOSED]
        for part in SETS:
            bags = study.bags(drawn[part], choice.inputs)
            result[part]["p"].append(predict_bags(head, bags, top_k=TOP_K))
            result[part]["draws"] += drawn[part]
    for part in SETS:
        result[part]["p"] = np.concatenate(result[part]["p"])
    return result


def compare(study: Study, work: Path) -> None:
    """Every head and input on the same folds, into WORK/heads.json."""
    rows = []
    every_field_by_every_model = len(np.unique(study.table["field_id"])) * N_FOLDS
    pairs = np.unique(np.stack([study.table["field_id"], study.table["model"]]), axis=1).shape[1]
    tried = TRIED | (DISHONEST if pairs == every_field_by_every_model else {})
    for name, choice in tried.items():
        started = time.process_time()
        judged = out_of_fold(study, choice, work, name.replace(" ", "-").replace("'", ""))
        row: list[Any] = [name]
        for part in SETS:
            truth = [SLIDE_CLASSES.index(draw.label) for draw in judged[part]["draws"]]
            values = score_bags(judged[part]["p"], truth, SLIDE_CLASSES)
            row += [round(values[key], 3) for key in ("auc", "spec@sens95", "macro_f1")]
        rows.append(row)
        print(row, f"{time.process_time() - started:.0f} s", flush=True)
        write_json(work / "heads.json", rows)


def final(study: Study, work: Path, out: Path) -> None:
    """The shipped head, its thresholds, and the figures of its out-of-fold twins."""
    started = time.time()
    judged = out_of_fold(study, SHIPPED, work, "shipped")
    train_head(study, SHIPPED, range(N_FOLDS), None, work, "final")
    points = {
        name: lock_operating_point(*scored(judged[part]), words).to_dict()
        for name, part, words in (
            ("sens95", "composed", "slides composed of CRIC cells, out of fold"),
            ("sens95_field", "fields", "CRIC fields, out of fold"),
        )
    }
    write_json(work / "operating_points.json", points)
    write_json(out, result_page(study, judged, points, work, time.time() - started))
    print(json.dumps(points, indent=1))


def scored(judged: dict[str, Any]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    truth = np.array([draw.label != "NILM" for draw in judged["draws"]])
    return truth, 1.0 - judged["p"][:, 0].astype(float)


def result_page(
    study: Study, judged: dict[str, Any], points: dict[str, Any], work: Path, seconds: float
) -> dict[str, Any]:
    fields = judged["fields"]["draws"]
    blocks = [draw.group for draw in fields]
    truth, score = scored(judged["fields"])
    figures = {f"field {name}": value for name, value in measures(truth, score, blocks).items()}
    threshold = points["sens95_field"]["threshold"]
    for place, name in enumerate(("sensitivity", "specificity")):
        figures[f"field {name} at the locked threshold"] = interval(
            lambda rows, i=place: sensitivity_specificity(truth[rows], score[rows], threshold)[i],
            blocks,
        )
    crossed = crossed_calls(study, fields, truth, score)
    figures["field sensitivity, threshold locked on the other folds"] = float(crossed[truth].mean())
    figures["field specificity, threshold locked on the other folds"] = float(
        (~crossed[~truth]).mean()
    )
    slide_truth, slide_score = scored(judged["composed"])
    figures["composed slide AUC"] = auc(slide_truth, slide_score)
    figures["composed slide spec@sens95"] = specificity_at(slide_truth, slide_score)
    return {
        "name": "cric_fields",
        "title": "Fields of CRIC and slides composed of its cells",
        "command": "python runs/cric_fields.py final --data DATA/cric --cells CELLS --work WORK",
        "commit": git_commit(),
        "data": DATA,
        "seed": LOOP.seed,
        "seconds": round(seconds),
        "figures": figures,
        "controls": controls(study, fields, truth, blocks),
        "tables": {
            "Fields by class at the locked threshold": by_class(fields, judged, threshold),
            "Suggested class of fields (rows: truth)": class_table(fields, judged, threshold),
            **heads_table(work),
        },
        "notes": [
            f"{int(truth.sum())} fields hold a labelled lesion cell and {int((~truth).sum())} do "
            "not: figures on negatives rest on few fields. Thresholds are locked on the same "
            "out-of-fold predictions, so sensitivity at the locked threshold is 95 % by making.",
            "Composed slides are bags of real cells of one fold, not pictures of slides: 100 to "
            "1,024 cells, none or 2 to 120 of them labelled lesions. They say how the head copes "
            "with few lesion cells among many, and nothing of prevalence or of other laboratories.",
        ],
    }


def interval(measure: Callable[[NDArray[np.intp]], float], blocks: Sequence[str]) -> dict[str, Any]:
    return bootstrap(measure, blocks, draws=1000).as_dict()


def measures(
    truth: NDArray[np.bool_], score: NDArray[np.float64], blocks: Sequence[str]
) -> dict[str, Any]:
    """AUC and spec@sens95 with intervals by block."""

    def specificity(rows: NDArray[np.intp]) -> float:
        drawn = truth[rows]
        return specificity_at(drawn, score[rows]) if 0 < drawn.sum() < len(drawn) else np.nan

    return {
        "AUC": interval(lambda rows: auc(truth[rows], score[rows]), blocks),
        "spec@sens95": interval(specificity, blocks),
    }


def crossed_calls(
    study: Study, fields: Sequence[Draw], truth: NDArray[np.bool_], score: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Calls of each fold's fields at the threshold locked on the two others."""
    fold = np.array([study.table["fold"][draw.rows[0]] for draw in fields])
    called = np.zeros(len(truth), dtype=bool)
    for each in range(N_FOLDS):
        mine = fold == each
        called[mine] = score[mine] >= lock_threshold(truth[~mine], score[~mine])
    return called


def controls(
    study: Study, fields: Sequence[Draw], truth: NDArray[np.bool_], blocks: Sequence[str]
) -> dict[str, Any]:
    """What no head is needed for."""
    table = study.table
    plain: dict[str, Callable[[NDArray[np.int64]], float]] = {
        "highest detector score": lambda rows: float(table["score"][rows].max()),
        "most suspicious cell (1 - p_NILM)": lambda rows: float(1 - table["p"][rows, 0].min()),
        "boxes over detector score 0.3": lambda rows: int((table["score"][rows] > 0.3).sum()),
    }
    result = {}
    for name, score_of in plain.items():
        score = np.array([score_of(draw.rows) for draw in fields], dtype=float)
        for measure, value in measures(truth, score, blocks).items():
            result[f"{name}: {measure}"] = value
    return result


def by_class(fields: Sequence[Draw], judged: dict[str, Any], threshold: float) -> dict[str, Any]:
    score = scored(judged["fields"])[1]
    rows = []
    for name in SLIDE_CLASSES:
        mine = np.array([draw.label == name for draw in fields])
        n_blocks = len({draw.group for draw in fields if draw.label == name})
        called = float((score[mine] >= threshold).mean())
        rows.append([name, int(mine.sum()), n_blocks, called, float(np.median(score[mine]))])
    columns = ["class", "fields", "blocks", "share called positive", "median p_positive"]
    return {"columns": columns, "rows": rows}


def class_table(fields: Sequence[Draw], judged: dict[str, Any], threshold: float) -> dict[str, Any]:
    p = judged["fields"]["p"]
    suggested = [
        SLIDE_CLASSES[1 + int(row[1:].argmax())] if 1 - row[0] >= threshold else "NILM" for row in p
    ]
    table = confusion([draw.label for draw in fields], suggested, SLIDE_CLASSES)
    rows = [[name, *map(int, row)] for name, row in zip(SLIDE_CLASSES, table, strict=True)]
    return {"columns": ["", *SLIDE_CLASSES], "rows": rows}


def heads_table(work: Path) -> dict[str, Any]:
    path = work / "heads.json"
    if not path.exists():
        return {}
    names = ("AUC", "spec@sens95", "macro-F1")
    columns = ["head", *(f"{part} {name}" for part in SETS for name in names)]
    return {
        "Heads compared out of fold": {"columns": columns, "rows": json.loads(path.read_text())}
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("compare", "final"))
    parser.add_argument("--data", type=Path, required=True, help="CRIC, in either layout")
    parser.add_argument(
        "--cells", type=Path, nargs="+", required=True, help="files of cric_field_cells.py"
    )
    parser.add_argument("--work", type=Path, required=True, help="folder outside the repository")
    parser.add_argument("--out", type=Path, default=Path("docs/results/cric_fields.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    study = Study(args.data, args.cells)
    args.work.mkdir(parents=True, exist_ok=True)
    if args.what == "compare":
        compare(study, args.work)
    else:
        final(study, args.work, args.out)


if __name__ == "__main__":
    main()
