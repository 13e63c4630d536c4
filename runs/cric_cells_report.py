"""What `cric_cells.py report` writes: out-of-fold figures of cells, controls, outside data."""

from __future__ import annotations

import csv
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.torch import load_file

from koilo.cells.model import PooledCellNet
from koilo.cells.predict import BACKGROUND, CellClassifier, output_folding
from koilo.cells.verb import read_cell_image
from koilo.datasets.cric import CLASSES, N_FOLDS
from koilo.evaluate.intervals import bootstrap
from koilo.evaluate.scores import auc, confusion, f1_by_class, macro_f1, reweighted
from koilo.files import write_json
from koilo.train.record import git_commit

OUTPUTS = (*CLASSES, BACKGROUND)
FOLD_NAMES = ("NILM", "ASC-US", "LSIL", "ASC-H+HSIL+SCC")
THREE = ("NILM", "ASC-US+LSIL", "ASC-H+HSIL+SCC")
WHOLE_CRIC = (6779, 606, 1360, 925 + 1703 + 161)
"""Cells a class in the authors' whole collection of 11,534, of which ours is a part."""
LEAST_FIELDS = 5
SIPAKMED_MPP = 0.2
"""Assumed: the data set states none; intermediate nuclei measure about 7 µm at this."""


def report(work: Path, out: Path, data: Path, model: dict[str, Any]) -> None:
    started = time.time()
    cells = pooled(work, "cell")
    figures, tables = cell_figures(cells)
    figures["background"] = background_figures(cells, pooled(work, "background"))
    final = work / "final" / "model.safetensors"
    if final.exists():
        classifier = load(final, model)
        figures["phantom_unseen_centres"] = phantom_figures(work, classifier)
        figures["crops_per_second_one_core"] = speed(work, classifier)
        outside = data.parent / "sipakmed"
        if outside.is_dir():
            figures["sipakmed_final_model"] = sipakmed_figures(outside, classifier)
    seconds = [training_seconds(work / f"fold{fold}") for fold in range(N_FOLDS)]
    write_json(
        out,
        {
            "name": "cric_cells",
            "command": "python runs/cric_cells.py report --data DATA/cric --work WORK",
            "commit": git_commit(),
            "data": "CRIC Cervix (CC BY 4.0), our copy: 189 fields, 4,742 cells; folds of "
            "src/koilo/datasets/cric_folds.csv; phantom crops of 16 centres in training",
            "seed": 0,
            "seconds": {"training_a_fold": seconds, "report": round(time.time() - started, 1)},
            "figures": figures,
            "controls": controls(work, cells),
            "tables": tables,
        },
    )
    print(json.dumps(figures, indent=1))


def pooled(work: Path, prefix: str) -> dict[str, np.ndarray]:
    parts = [np.load(work / f"oof{fold}.npz") for fold in range(N_FOLDS)]
    names = [key.removeprefix(f"{prefix}_") for key in parts[0] if key.startswith(f"{prefix}_")]
    return {n: np.concatenate([part[f"{prefix}_{n}"] for part in parts]) for n in names}


def cell_figures(cells: dict[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, Any]]:
    figures: dict[str, Any] = {}
    for views, key in (("1_view", "p_outputs"), ("8_views", "p_outputs_8views")):
        p = classes_of(cells[key])
        figures[views] = {
            name: bootstrap(lambda rows, m=m, p=p: m(cells["label"][rows], p[rows]),
                            cells["block"]).as_dict()
            for name, m in MEASURES.items()
        }  # fmt: skip
    p = classes_of(cells["p_outputs_8views"])
    six = table_of(cells["label"], p, np.eye(6))
    f1 = f1_by_class(six)
    per_class = []
    for index, name in enumerate(CLASSES):
        n_fields = len(np.unique(cells["field_id"][cells["label"] == index]))
        claim = round(float(f1[index]), 3) if n_fields >= LEAST_FIELDS else "no claim"
        n = int(six[index].sum())
        per_class.append({"class": name, "f1": claim, "cells": n, "fields": n_fields})
    blocks = [
        {
            "block": int(block),
            "fold": int(cells["fold"][cells["block"] == block][0]),
            "cells": int((cells["block"] == block).sum()),
            "lesions": int((cells["label"][cells["block"] == block] > 0).sum()),
            "lesion_auc": number(lesion_auc(*pick(cells, p, cells["block"] == block))),
        }
        for block in np.unique(cells["block"])
    ]
    tables = {
        "per_class_8_views": per_class,
        "confusion_8_views": {"classes": list(CLASSES), "rows_are_truth": six.tolist()},
        "per_block_8_views": blocks,
    }
    return figures, tables


def pick(cells: dict[str, np.ndarray], p: np.ndarray, rows: np.ndarray) -> tuple[Any, Any]:
    return cells["label"][rows], p[rows]


def classes_of(p_outputs: np.ndarray) -> np.ndarray:
    return p_outputs @ output_folding(OUTPUTS, CLASSES, {BACKGROUND: "NILM"})  # (N, 6)


def folding(names: tuple[str, ...]) -> np.ndarray:
    return np.array([[float(c in name.split("+")) for name in names] for c in CLASSES])


def table_of(labels: np.ndarray, p: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Confusion after summing probabilities into folds; ``fold`` (6, C)."""
    names = [str(index) for index in range(fold.shape[1])]
    truth = fold[labels].argmax(1)
    called = (p @ fold).argmax(1)
    return confusion([str(t) for t in truth], [str(c) for c in called], names)


def macro(names: tuple[str, ...]) -> Callable[[np.ndarray, np.ndarray], float]:
    return lambda labels, p: macro_f1(table_of(labels, p, folding(names)))


def lesion_auc(labels: np.ndarray, p: np.ndarray) -> float:
    return auc(labels > 0, 1 - p[:, 0])


def high_auc(labels: np.ndarray, p: np.ndarray) -> float:
    return auc(labels >= 3, p[:, 3:].sum(1))


def macro_reweighted(labels: np.ndarray, p: np.ndarray) -> float:
    return macro_f1(reweighted(table_of(labels, p, folding(FOLD_NAMES)), WHOLE_CRIC))


MEASURES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "six_class_macro_f1": macro(CLASSES),
    "folded_macro_f1": macro(FOLD_NAMES),
    "folded_macro_f1_reweighted_to_whole_cric": macro_reweighted,
    "three_class_macro_f1": macro(THREE),
    "lesion_auc": lesion_auc,
    "high_grade_auc": high_auc,
}


def background_figures(
    cells: dict[str, np.ndarray], places: dict[str, np.ndarray]
) -> dict[str, Any]:
    p_cells, p_places = (1 - classes_of(x["p_outputs_8views"])[:, 0] for x in (cells, places))
    lesions = p_cells[cells["label"] > 0]
    truth = np.r_[np.ones(len(lesions)), np.zeros(len(p_places))]
    return {
        "places": len(p_places),
        "called_lesion_at_half": number((p_places > 0.5).mean()),
        "lesion_against_background_auc": number(auc(truth, np.r_[lesions, p_places])),
    }


def controls(work: Path, cells: dict[str, np.ndarray]) -> dict[str, Any]:
    """What needs no learning: always NILM, and how dark the middle 5 µm are."""
    always = np.eye(6)[np.zeros(len(cells["label"]), int)]
    stored = np.load(work / "cric.npz")
    middle = stored["0/patch"][cells["row"]][:, 75:85, 75:85, 0].astype(np.float32)
    darkness = -np.log((middle + 1) / 256).mean((1, 2))
    return {
        "always_nilm": {
            name: number(MEASURES[name](cells["label"], always)) for name in list(MEASURES)[:4]
        },
        "nuclear_darkness_lesion_auc": number(auc(cells["label"] > 0, darkness)),
        "nuclear_darkness_high_grade_auc": number(auc(cells["label"] >= 3, darkness)),
    }


def load(path: Path, model: dict[str, Any]) -> CellClassifier:
    net = PooledCellNet(len(OUTPUTS), **model)
    net.load_state_dict(load_file(path))
    return CellClassifier(
        net,
        outputs=OUTPUTS,
        classes=CLASSES,
        folds={BACKGROUND: "NILM"},
        mpp=0.5,
        input_px=96,
        device=torch.device("cpu"),
    )


def phantom_figures(work: Path, classifier: CellClassifier) -> dict[str, Any]:
    from cric_cells import PHANTOM_TEST, cached, draw_phantoms

    crops = cached(work / "phantom_test.npz", lambda: draw_phantoms(*PHANTOM_TEST))[0]
    p = classifier.predict(np.ascontiguousarray(crops["patch"][:, 32:128, 32:128]))[1]
    measured = {name: number(measure(crops["label"], p)) for name, measure in MEASURES.items()}
    f1 = f1_by_class(table_of(crops["label"], p, np.eye(6)))
    per_class = {name: number(value) for name, value in zip(CLASSES, f1, strict=True)}
    return {"crops": len(p), "centres": PHANTOM_TEST[2], **measured, "f1": per_class}


def sipakmed_figures(folder: Path, classifier: CellClassifier) -> dict[str, Any]:
    """The half of SIPaKMeD's groups that no choice was made on; never trained on."""
    classifier.views = 8
    with open(folder / "cells.csv", encoding="utf-8", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if half(row["group"]) == 1]
    crops = [
        read_cell_image(folder / row["image"], SIPAKMED_MPP, classifier.mpp, classifier.input_px)
        for row in rows
    ]
    p_lesion = 1 - classifier.predict(np.stack(crops))[1][:, 0]
    labels = np.array([row["label"] for row in rows])
    abnormal = np.isin(labels, ["Koilocytotic", "Dyskeratotic"])
    koilocytotic = labels == "Koilocytotic"
    kept = koilocytotic | ~abnormal
    return {
        "cells": len(rows),
        "assumed_mpp": SIPAKMED_MPP,
        "koilocytotic_and_dyskeratotic_auc": number(auc(abnormal, p_lesion)),
        "koilocytotic_auc": number(auc(koilocytotic[kept], p_lesion[kept])),
        "mean_p_lesion": {n: number(p_lesion[labels == n].mean()) for n in np.unique(labels)},
    }


def half(group: str) -> int:
    return int(hashlib.sha256(group.encode()).hexdigest(), 16) % 2


def speed(work: Path, classifier: CellClassifier) -> float:
    """Crops a second of one core, by CPU time, so that a busy machine does not show."""
    cv2.setNumThreads(1)
    crops = np.ascontiguousarray(np.load(work / "cric.npz")["0/patch"][:256, 32:128, 32:128])
    classifier.predict(crops[:64])
    started = time.process_time()
    classifier.predict(crops)
    return round(len(crops) / (time.process_time() - started), 1)


def training_seconds(folder: Path) -> float:
    return float(json.loads((folder / "metrics.json").read_text())["seconds"])


def number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)
