r"""Screen phantom slides of an unseen seed and unseen centres, and hold the calls to their truth.

    python runs/phantom_slides.py --work WORK [--model cytology] [--slides 24] [--centres 4]

Draws the slides (kept in WORK), screens them with the bundle, and leaves
docs/results/phantom_slides.json: slide AUC, specificity at 95 % sensitivity and at the locked
threshold, F1 of the kept cells by class, and the share of lesion cells that are kept. Phantoms are
synthetic: these figures say that the machinery works and carry no clinical claim.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from koilo.bundle import load_bundle
from koilo.evaluate.detection import centre_distances
from koilo.evaluate.intervals import bootstrap
from koilo.evaluate.operating_point import specificity_at
from koilo.evaluate.scores import auc, confusion, f1_by_class, sensitivity_specificity
from koilo.manifest import SlideEntry, read_manifest
from koilo.phantom.truth_files import read_truth_parquet
from koilo.phantom.verb import PhantomConfig, phantom
from koilo.progress import start_logging
from koilo.results import read_slide_result
from koilo.screen.run import ScreenConfig, screen
from koilo.taxonomy import NEGATIVE
from koilo.train.record import git_commit
from koilo.types import SlideResult

RESULT = Path(__file__).resolve().parents[1] / "docs" / "results" / "phantom_slides.json"
HIT_UM = 6.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for slides and readings")
    parser.add_argument("--model", default="cytology", help="a bundle's name or folder")
    parser.add_argument("--slides", type=int, default=24)
    parser.add_argument("--centres", type=int, default=4)
    parser.add_argument("--seed", type=int, default=900, help="used for no training")
    parser.add_argument("--size-px", type=int, default=5_000)
    parser.add_argument("--cells", type=int, default=500)
    options = parser.parse_args()
    start_logging()
    started = time.monotonic()
    slides, results = options.work / "slides", options.work / "results"
    if not (slides / "manifest.csv").exists():
        phantom(
            PhantomConfig(
                "cytology", slides, options.slides, options.centres, options.seed,
                options.size_px, options.cells,
            )
        )  # fmt: skip
    screen(ScreenConfig((slides / "manifest.csv",), results, options.model))
    entries = read_manifest(slides / "manifest.csv")
    readings = [read_slide_result(results / entry.slide_id) for entry in entries]
    page = measure(entries, readings, slides / "truth", options.model)
    page["command"] = (
        f"python runs/phantom_slides.py --work WORK --slides {options.slides} "
        f"--centres {options.centres} --seed {options.seed}"
    )
    page |= {"seed": options.seed, "seconds": round(time.monotonic() - started, 1)}
    RESULT.write_text(json.dumps(page, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def measure(
    entries: tuple[SlideEntry, ...], readings: list[SlideResult], truth: Path, model: str
) -> dict:
    """The whole page of figures but its command, seed and seconds."""
    positive = np.array([entry.label != NEGATIVE for entry in entries])
    score = np.array([reading.p_positive or 0.0 for reading in readings])
    locked = float(load_bundle(model).operating_point("sens95")["threshold"])
    at_locked = sensitivity_specificity(positive, score, locked)
    slides = np.arange(len(entries))
    cells = [
        kept_cells(truth / f"{e.slide_id}.parquet", r)
        for e, r in zip(entries, readings, strict=True)
    ]
    interval = bootstrap(lambda rows: auc(positive[rows], score[rows]), slides, strata=positive)
    counts = [reading.n_cells for reading in readings]
    return {
        "name": "phantom_slides",
        "title": "Phantom slides of an unseen seed and unseen centres (synthetic)",
        "commit": git_commit(),
        "data": f"{len(entries)} phantom slides ({int(positive.sum())} positive) of "
        f"{len({entry.centre for entry in entries})} centres",
        "notes": ["Synthetic: no clinical claim rests on these figures. AGC slides count as "
                  "positive although the model has no such class."],
        "figures": {
            "slide AUC": interval.as_dict(),
            "spec@sens95 (threshold on this set)": specificity_at(positive, score),
            "sensitivity at the locked threshold": at_locked[0],
            "specificity at the locked threshold": at_locked[1],
            "lesion cells kept among the top K": kept_share(cells),
        },
        "controls": {"AUC of the number of cells kept": auc(positive, counts)},
        "tables": {
            "cells kept, matched with their truth": cell_table(cells),
            "slides": {
                "columns": ["slide", "centre", "truth", "suggested", "p_positive"],
                "rows": [
                    [e.slide_id, e.centre, e.label, r.label, round(float(r.p_positive or 0), 3)]
                    for e, r in zip(entries, readings, strict=True)
                ],
            },
        },
    }  # fmt: skip


def kept_cells(path: Path, reading: SlideResult) -> tuple[list[str], list[str], list[bool]]:
    """True and called classes of the kept cells near a true nucleus; which lesions were kept."""
    truths = read_truth_parquet(path)
    mpp = float(reading.slide["mpp"])
    centres = np.array([[*truth.point_px, 0.0, 0.0] for truth in truths])
    boxes = np.array([[c.x_px0, c.y_px0, c.w_px0, c.h_px0] for c in reading.cells]).reshape(-1, 4)
    near = centre_distances(boxes, centres)
    best = near.argmin(axis=1)
    hits = near[np.arange(len(boxes)), best] * mpp <= HIT_UM
    true = [truths[index].label for index in best[hits]]
    called = [cell.label for cell, hit in zip(reading.cells, hits, strict=True) if hit]
    kept = set(best[hits].tolist())
    return true, called, [i in kept for i, t in enumerate(truths) if t.label != NEGATIVE]


def kept_share(cells: list[tuple[list[str], list[str], list[bool]]]) -> float:
    """Share of all true lesion cells that lie under a kept cell."""
    return float(np.mean([kept for each in cells for kept in each[2]]))


def cell_table(cells: list[tuple[list[str], list[str], list[bool]]]) -> dict:
    """F1 and number of the kept cells by class."""
    true = [name for each in cells for name in each[0]]
    called = [name for each in cells for name in each[1]]
    classes = list(dict.fromkeys([NEGATIVE, *sorted(set(true) | set(called))]))
    f1 = f1_by_class(confusion(true, called, classes))
    rows = [[n, true.count(n), called.count(n), None if np.isnan(f) else round(float(f), 3)]
            for n, f in zip(classes, f1, strict=True)]  # fmt: skip
    return {"columns": ["class", "cells", "called", "F1"], "rows": rows}


if __name__ == "__main__":
    main()
