"""Measure what carries a call in cells: removal test, the orders it could take, saliency.

Parts of `doubt_report.py`, which writes what they give into docs/results/doubt.json.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cric_fields import SHIPPED, Study
from doubt import load_fold_head
from koilo.bundle import load_bundle
from koilo.cells import CellClassifier, load_classifier, read_crops
from koilo.datasets.cric import N_FOLDS
from koilo.evaluate.detection import centre_distances
from koilo.evaluate.scores import auc
from koilo.manifest import SlideEntry
from koilo.mil import SlideHead, head_inputs
from koilo.mil.cam import cell_maps
from koilo.mil.removal import Boxes, find_removal
from koilo.phantom.truth_files import read_truth_parquet
from koilo.report.outline import OUTLINE_AT
from koilo.slides import open_slide
from koilo.taxonomy import NEGATIVE
from koilo.types import SlideResult
from slide_bags import SLIDE_CLASSES, TOP_K

HIT_UM = 6.0
MOST_LESIONS = 20
"""Lesion cells of a slide whose saliency is tried."""

SLIDES_A_FOLD = 40


def lesion_rows(truth: Path, reading: SlideResult) -> NDArray[np.bool_]:
    """Which kept cells (N,) lie on a true lesion cell."""
    truths = read_truth_parquet(truth)
    places = np.array([[*each.point_px, 0.0, 0.0] for each in truths])
    boxes = np.array([[c.x_px0, c.y_px0, c.w_px0, c.h_px0] for c in reading.cells]).reshape(-1, 4)
    near = centre_distances(boxes, places)  # (N, M)
    best = near.argmin(axis=1)
    hit = near[np.arange(len(boxes)), best] * float(reading.slide["mpp"]) <= HIT_UM
    return hit & np.array([truths[row].label != NEGATIVE for row in best])


def removal_rows(
    entries: Sequence[SlideEntry], readings: Sequence[SlideResult], truth: Path
) -> list[list[Any]]:
    """A positive call a row: what was removed, and how much of it is lesion beside chance."""
    rows = []
    for entry, reading in zip(entries, readings, strict=True):
        if reading.removal is None:
            continue
        lesions = lesion_rows(truth / f"{entry.slide_id}.parquet", reading)
        cells = list(reading.removal.cells)
        rows.append([
            entry.slide_id, entry.label, reading.p_positive, reading.removal.turned, len(cells),
            float(lesions[cells].mean()) if cells else None, float(lesions.mean()),
            reading.removal.p_positive,
        ])  # fmt: skip
    return rows


def orders_table(study: Study, work: Path) -> dict[str, Any]:
    """What ranks the lesion cells of composed slides, and what the removal test makes of it."""
    threshold = json.loads((work / "operating_points.json").read_text())["sens95"]["threshold"]
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in ORDERS}
    for fold in range(N_FOLDS):
        head = SlideHead(
            load_fold_head(work, fold), classes=SLIDE_CLASSES, inputs=SHIPPED.inputs, top_k=TOP_K,
            device=torch.device("cpu"),
        )  # fmt: skip
        drawn = study.draw(fold, fold, seed=100 + fold)["composed"]
        for draw in [each for each in drawn if each.n_lesions][:SLIDES_A_FOLD]:
            features, p = (study.table[name][draw.rows] for name in ("features", "p"))
            lesions = study.table["label"][draw.rows] > 0
            boxes = Boxes(features, p, np.arange(len(p)))
            if 1 - head.predict(features, p)[0][0] < threshold:
                continue
            for name, order in ORDERS.items():
                scores = order(head, features, p)
                removal = find_removal(head, boxes, scores, threshold)
                cells = list(removal.cells)
                found[name].append((
                    auc(lesions, scores), removal.turned, len(cells) if cells else np.nan,
                    lesions[cells].mean() if cells else np.nan, lesions.mean(),
                ))  # fmt: skip
    rows = [[name, len(each), *np.nanmean(np.array(each), axis=0)] for name, each in found.items()]
    columns = ["order", "slides", "AUC of lesion cells", "share turned", "cells removed",
               "lesion among them", "lesion among all cells"]  # fmt: skip
    return {"columns": columns, "rows": [[*row[:2], *map(float, row[2:])] for row in rows]}


def _gradcam(
    head: SlideHead, features: NDArray[np.floating], p: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Grad-CAM against NILM's logit."""
    x = torch.tensor(head_inputs(features, p, head.inputs)).unsqueeze(0).requires_grad_()
    mask = torch.ones(x.shape[:2], dtype=torch.bool)
    logits, _ = head.model(x, mask)
    return -cell_maps(logits, x, mask, torch.tensor([0]), "gradcam")[0].numpy()


def _integrated(
    head: SlideHead, features: NDArray[np.floating], p: NDArray[np.floating]
) -> NDArray[np.floating]:
    shares = head.contributions(features, p)
    assert shares is not None
    return shares


def _attention(
    head: SlideHead, features: NDArray[np.floating], p: NDArray[np.floating]
) -> NDArray[np.floating]:
    attention = head.predict(features, p)[1]
    assert attention is not None
    return attention


ORDERS = {"integrated gradients (shipped)": _integrated, "Grad-CAM": _gradcam,
          "attention": _attention}  # fmt: skip


def saliency_figures(
    entries: Sequence[SlideEntry], readings: Sequence[SlideResult], truth: Path, model: str
) -> dict[str, Any]:
    """What painting over the outlined part of true lesion cells does, beside another part."""
    classifier = load_classifier(load_bundle(model), torch.device("cpu"))
    drops = [
        _drops(classifier, entry, reading, truth / f"{entry.slide_id}.parquet")
        for entry, reading in zip(entries, readings, strict=True)
        if entry.label != NEGATIVE
    ]
    inside, elsewhere, share = np.concatenate(drops, axis=1)
    return {
        "saliency: lesion cells tried": len(inside),
        f"saliency: share of the crop inside the line (at {OUTLINE_AT})": float(share.mean()),
        "saliency: p of lesion falls by, inside painted over": float(inside.mean()),
        "saliency: p of lesion falls by, as much elsewhere painted over": float(elsewhere.mean()),
        "saliency: cells where inside counts more": float((inside > elsewhere).mean()),
    }


def _drops(
    classifier: CellClassifier, entry: SlideEntry, reading: SlideResult, truth: Path
) -> NDArray[np.float64]:
    """(3, N): fall of p inside, elsewhere, and the share inside, of the likeliest lesion cells."""
    lesions = np.flatnonzero(lesion_rows(truth, reading))
    p = np.array([1 - reading.cells[row].probabilities[NEGATIVE] for row in lesions])
    chosen = lesions[np.argsort(-p)][:MOST_LESIONS]
    if not len(chosen):
        return np.zeros((3, 0))
    centres = np.array([reading.cells[row].centre_px0 for row in chosen])
    with open_slide(entry.path, mpp=entry.mpp) as slide:
        crops = read_crops(slide, centres, classifier.mpp, classifier.input_px)
    maps = classifier.lesion_maps(crops)
    assert maps is not None
    masks = maps >= OUTLINE_AT  # (N, P, P)
    moved = np.roll(masks, (crops.shape[1] // 2,) * 2, axis=(1, 2))
    before = classifier.predict(crops)[1][:, 0]
    falls = [classifier.predict(_painted(crops, each))[1][:, 0] - before for each in (masks, moved)]
    return np.stack([*falls, masks.mean((1, 2))]).astype(np.float64)


def _painted(crops: NDArray[np.uint8], masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The crops with the median colour of each in the mask's place."""
    colour = np.median(crops, axis=(1, 2), keepdims=True).astype(np.uint8)  # (N, 1, 1, 3)
    return np.where(masks[..., None], colour, crops)
