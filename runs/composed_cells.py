"""Does end-to-end training give a better cell model than the one that ships? Real cells say.

    python runs/composed_cells.py CRIC WORK COHORT OUT [--seed 1] [--fold 2] [--held-out]

WORK is that of runs/cric_cells.py (its fold models were trained as the shipped one, without the
blocks they are judged on), COHORT a composed cohort, OUT what runs/stride.sh trained on it. All are
measured on the labelled cells of CRIC's validation blocks. A method that is better there with an
interval of the difference above 0 earns one reading of the held-out blocks (``--held-out``), and
with it the place of the default; nothing else does.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cric_cells import OUTPUTS
from cric_cells_report import high_auc, lesion_auc
from koilo.cells import read_crops
from koilo.cells.predict import BACKGROUND, CellClassifier, output_folding
from koilo.datasets.cric import CLASSES, read_cric
from koilo.datasets.crop_store import CropStore, open_crop_store
from koilo.errors import ManifestError
from koilo.evaluate.intervals import Interval, bootstrap
from koilo.files import write_json
from koilo.progress import log, start_logging
from koilo.slides import open_slide
from koilo.taxonomy import fold_members
from koilo.train.record import git_commit
from stride import Study, cpu_plan, tuned_rates
from stride_page import run_script
from stride_readings import has_run

METHODS = ("two_stage", "slide_ft", "swift")
SHIPPED = "shipped recipe, without these blocks"
DARKNESS = "darkness of the middle 5 µm (control)"
Measure = Callable[[NDArray[np.int64], NDArray[np.floating]], float]
MEASURES: dict[str, Measure] = {
    "lesion AUC": lesion_auc,
    "high-grade AUC": high_auc,
}


@dataclass(frozen=True)
class RealCells:
    """Labelled cells of one fold of CRIC."""

    crops: NDArray[np.uint8]
    label: NDArray[np.int64]
    """(N,) places in CRIC's `CLASSES`"""
    block: NDArray[np.int64]
    p_shipped: NDArray[np.floating]
    """(N, 6) by the fold's model of the shipped recipe, one view"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cric", type=Path, metavar="CRIC", help="CRIC, in either layout")
    parser.add_argument("work", type=Path, metavar="WORK", help="of runs/cric_cells.py")
    parser.add_argument("cohort", type=Path, metavar="COHORT", help="a composed cohort")
    parser.add_argument("out", type=Path, metavar="OUT", help="of runs/stride.sh on it")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--held-out", action="store_true", help="read the test blocks, once")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--page", type=Path, default=Path("docs/results/composed_cells.json"))
    options = parser.parse_args()
    start_logging()
    torch.set_num_threads(options.threads)
    started = time.time()
    try:
        store = open_crop_store(options.cohort)
        plan = cpu_plan(smoke=False, threads=options.threads)
        study = Study(store, plan, options.out, options.seed, tuned_rates(options.out))
        split = "test" if options.held_out else "validation"
        fold = int(store.facts["config"]["folds"][split])
        cells = read_real_cells(options.cric, options.work / f"oof{fold}.npz", fold, store)
    except (OSError, KeyError) as error:
        raise ManifestError(
            f"{error!r}: a composed cohort, and the folds that runs/cric_cells.py leaves in WORK, "
            "are needed. Make them first, or correct the paths."
        ) from error
    found = {SHIPPED: cells.p_shipped, DARKNESS: darkness(cells.crops)}
    for method in METHODS:
        if has_run(study, method):
            log.info("reading %s", method)
            found[method] = judge(study, method, store, cells.crops)
    rows = [row_of(name, p, cells) for name, p in found.items()]
    page = {
        "name": options.page.stem,
        "title": "Cell models trained end to end on composed slides, on real cells",
        "command": f"python runs/composed_cells.py CRIC WORK COHORT OUT --seed {options.seed}"
        + " --held-out" * options.held_out,
        "commit": git_commit(),
        "data": f"CRIC (CC BY 4.0), the {len(cells.label)} labelled cells of fold {fold} "
        f"({split}), {int((cells.label > 0).sum())} lesions in "
        f"{len(np.unique(cells.block))} blocks; composed cohort, seed {store.facts.get('seed')}",
        "seed": options.seed,
        "seconds": round(time.time() - started),
        "figures": {
            f"{name} over the shipped recipe, lesion AUC": difference(p, cells).as_dict()
            for name, p in found.items()
            if name in METHODS
        },
        "tables": {
            f"Cells of CRIC's {split} blocks": {
                "columns": ["cell model", *MEASURES, "over the shipped recipe"],
                "rows": rows,
            }
        },
        "notes": [
            "Intervals draw blocks, which are few. The composed cohort shows a quarter of one "
            "fold's labels; the shipped recipe has two folds' and phantoms. A method becomes the "
            "default only where the interval of its difference lies above 0."
        ],
    }
    write_json(options.page, page)
    for row in rows:
        print(*row)


def read_real_cells(cric: Path, oof: Path, fold: int, store: CropStore) -> RealCells:
    """The labelled cells of a fold, cut as the store's crops are."""
    stored = np.load(oof)
    field_ids = stored["cell_field_id"]
    places = np.stack([stored["cell_x_px0"], stored["cell_y_px0"]], 1) + 0.5
    shape = (len(field_ids), store.crop_px, store.crop_px, 3)
    crops = np.zeros(shape, np.uint8)
    for each in read_cric(cric):
        mine = field_ids == each.field_id
        if each.fold == fold and mine.any():
            with open_slide(each.path, mpp=each.mpp) as slide:
                crops[mine] = read_crops(slide, places[mine], store.mpp, store.crop_px)
    p = stored["cell_p_outputs"] @ output_folding(OUTPUTS, CLASSES, {BACKGROUND: "NILM"})
    return RealCells(crops, stored["cell_label"], stored["cell_block"], p)


def judge(
    study: Study, method: str, store: CropStore, crops: NDArray[np.uint8]
) -> NDArray[np.floating]:
    """Probabilities (N, 6) in CRIC's order; folded classes count for the first of their members."""
    net, _ = study.judged(method)
    names = study.plan.net.classes.cells
    classifier = CellClassifier(
        net,
        outputs=names,
        classes=names,
        folds={},
        mpp=store.mpp,
        input_px=store.crop_px,
        device=torch.device("cpu"),
    )
    p = classifier.predict(crops)[1]
    result = np.zeros((len(p), len(CLASSES)))
    for column, name in enumerate(names):
        members = [CLASSES.index(c) for c in fold_members(name) if c in CLASSES]
        if members:
            result[:, members[0]] += p[:, column]
    # What CRIC has no class for (AGC) is no lesion of its labels, but no NILM either.
    result[:, -1] += 1 - result.sum(1)
    return result


def darkness(crops: NDArray[np.uint8]) -> NDArray[np.floating]:
    """A score that needs no learning, as (N, 6): red light lost in the middle."""
    side = crops.shape[1]
    low, high = side // 2 - 3, side // 2 + 4
    middle = crops[:, low:high, low:high, 0].astype(np.float64)
    lost = -np.log((middle + 1) / 256).mean((1, 2))
    p = np.zeros((len(crops), len(CLASSES)))
    p[:, 0], p[:, CLASSES.index("HSIL")] = 1 - lost, lost
    return p


def difference(p: NDArray[np.floating], cells: RealCells) -> Interval:
    """Lesion AUC less that of the shipped recipe's model, blocks drawn for both alike."""
    return bootstrap(
        lambda rows: (
            lesion_auc(cells.label[rows], p[rows])
            - lesion_auc(cells.label[rows], cells.p_shipped[rows])
        ),
        cells.block,
    )


def row_of(name: str, p: NDArray[np.floating], cells: RealCells) -> list[str]:
    """A row of the table."""
    values = [
        bootstrap(partial(on_rows, measure, cells.label, p), cells.block)
        for measure in MEASURES.values()
    ]
    gap = "" if name == SHIPPED else told(difference(p, cells), sign=True)
    return [name, *(told(value) for value in values), gap]


def on_rows(
    measure: Measure, labels: NDArray[np.int64], p: NDArray[np.floating], rows: NDArray[np.int64]
) -> float:
    """A measure of some cells."""
    return measure(labels[rows], p[rows])


def told(value: Interval, *, sign: bool = False) -> str:
    """An estimate with its interval."""
    form = "+.3f" if sign else ".3f"
    return f"{value.estimate:{form}} ({value.low:{form}} – {value.high:{form}})"


if __name__ == "__main__":
    sys.exit(run_script(main))
