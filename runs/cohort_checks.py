r"""Check a drawn cohort: what true attributes say of a slide, and what must say nothing.

    python runs/cohort_checks.py DIR [--top-k 64] [--random-trunk OUT]

Prints the AUC on the internal test of an oracle that sees the true attributes of a slide's top
cells (bar: at least 0.99), of centre, number of cells and mean colour (bar: at most 0.55), and of
the mean detector score. The oracle learns cells from their true class and calls a slide by its
worst cells, as a slide head does. With --random-trunk a head is trained in OUT on the features of
the comparison's trunk as it is before any weights are loaded (bar: at most 0.75). Two-stage and
ceiling are methods of runs/stride.sh.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cohort_facts import ATTRIBUTES, facts_of, read_columns
from koilo.datasets.crop_store import CropStore, open_crop_store
from koilo.errors import ManifestError
from koilo.evaluate.scores import auc
from koilo.taxonomy import NEGATIVE
from koilo.train.stages import build_model, fit_head, score_store
from stride import cpu_plan
from stride_page import run_script

ORACLE_CELLS = 120_000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--top-k", type=int, default=64, help="cells of a slide that are seen")
    parser.add_argument("--random-trunk", type=Path, metavar="OUT", help="train a head there")
    options = parser.parse_args()
    store = open_crop_store(options.folder)
    if not store.of_split("unseen_twin"):
        raise ManifestError(
            f"{options.folder} has no unseen centres: these checks are of cohorts that "
            "runs/cohort.sh drew. Give the folder of one."
        )
    for line in facts_of(store):
        print(line)
    print(f"oracle on true attributes: AUC {oracle(store, options.top_k):.4f}")
    for name, value in nothing(store).items():
        print(f"label from {name}: AUC {value:.3f}")
    if options.random_trunk:
        print(f"head on a random trunk: AUC {random_trunk(store, options.random_trunk):.3f}")


def random_trunk(store: CropStore, out: Path) -> float:
    """Slide AUC on the internal test of the paper's head on features that nothing was taught."""
    plan = cpu_plan(smoke=False, threads=1)
    model = build_model(plan.net, 1)
    loop = replace(plan.long_head, seed=1)
    fit_head(model, store, plan.net, top_k=plan.settings.top_k, loop=loop, out=out)
    model.head_average.load_state_dict(model.head.state_dict())
    classes, top_k = plan.net.classes, plan.settings.top_k
    scores = score_store(model, store, classes, top_k, ("validation", "test"))
    rows = [i for i, slide in enumerate(scores.slides) if slide.split == "test"]
    truth = [scores.slides[i].label != NEGATIVE for i in rows]
    return float(auc(truth, scores.p_positive[rows]))


def oracle(store: CropStore, top_k: int) -> float:
    """Slide AUC on the internal test by the worst cells of a bag, told by their attributes."""
    slides, cells = read_columns(store, "slides"), read_columns(store, "cells")
    seen = cells["visible"] & (cells["rank"] < top_k)
    split = dict(zip(slides["slide_id"].tolist(), slides["split"].tolist(), strict=True))
    of_cell = np.array([split[name] for name in cells["slide_id"].tolist()])
    attributes = np.column_stack([cells[name] for name in ATTRIBUTES])
    lesion = cells["truth"] != NEGATIVE
    train = np.flatnonzero(seen & (of_cell == "train"))
    train = np.random.default_rng(0).permutation(train)[:ORACLE_CELLS]
    model = HistGradientBoostingClassifier(max_iter=150, class_weight="balanced", random_state=0)
    model.fit(attributes[train], lesion[train])
    test = np.flatnonzero(seen & (of_cell == "test"))
    p = model.predict_proba(attributes[test])[:, 1]
    _, first = np.unique(cells["slide_id"][test], return_index=True)
    order = np.sort(first)
    worst = [np.sort(part)[-2:].sum() for part in np.split(p, order[1:])]
    truth = dict(zip(slides["slide_id"].tolist(), slides["truth"].tolist(), strict=True))
    positive = np.array([truth[name] != NEGATIVE for name in cells["slide_id"][test][order]])
    return float(auc(positive, np.array(worst)))


def nothing(store: CropStore) -> dict[str, float]:
    """Slide AUC on the internal test of what must not tell the label, each learnt in training."""
    slides = read_columns(store, "slides")
    known = dict(zip(slides["slide_id"].tolist(), range(len(slides["slide_id"])), strict=True))
    centres = list(dict.fromkeys(slide.centre for slide in store.of_split("train")))
    parts: dict[str, list[NDArray[Any]]] = {"train": [], "test": []}
    for split, rows in parts.items():
        for slide in store.of_split(split):
            bag = store.bag(slide.slide_id)
            colour = store.crops[bag].mean((0, 1, 2)) / 255
            place = known[slide.slide_id]
            centre = [float(slide.centre == name) for name in centres]
            score = store.cells.detector_score[bag].mean()
            positive = slides["truth"][place] != NEGATIVE
            count = np.log(slides["n_cells"][place])
            rows.append(np.array([positive, *centre, count, *colour, score]))
    train, test = (np.stack(parts[split]) for split in ("train", "test"))
    n = 1 + len(centres)
    columns = {
        "centre": slice(1, n),
        "number of cells": slice(n, n + 1),
        "mean colour": slice(n + 1, n + 4),
        "centre, number of cells and mean colour": slice(1, n + 4),
        "mean detector score": slice(n + 4, n + 5),
    }
    out = {}
    for name, chosen in columns.items():
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        model.fit(train[:, chosen], train[:, 0] > 0)
        out[name] = float(auc(test[:, 0] > 0, model.predict_proba(test[:, chosen])[:, 1]))
    return out


if __name__ == "__main__":
    sys.exit(run_script(main))
