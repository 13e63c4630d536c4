"""Cells of a crop store as the baselines learn from them, are measured on them, and are left.

Labelled cells are the training split's ``given`` labels, drawn evenly over the classes; unlabelled
ones are the bags of its slides, labelled cells among them. What is measured is the truth where it
is known (phantoms), else the given label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from koilo.datasets.crop_store import CropStore
from koilo.errors import TrainingError
from koilo.evaluate.scores import auc, confusion, f1_by_class, macro_f1
from koilo.files import write_json
from koilo.taxonomy import check_classes
from koilo.train.checkpoint import write_weights
from koilo.train.joint import UNKNOWN, class_numbers


@dataclass(frozen=True)
class KnownCells:
    """Rows of a store and the class of each, ``(n,)`` both."""

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.rows)


def labelled_cells(store: CropStore, classes: Sequence[str]) -> KnownCells:
    """The training split's cells with a given label.

    Raises:
        TrainingError: fewer than two of the classes occur, or a label has no place in them.
    """
    rows = store.labelled("train")
    given = store.cells.given[rows]
    labels = class_numbers(given, classes)
    if strangers := sorted({str(name) for name in given[labels == UNKNOWN]}):
        raise TrainingError(
            f"Cells of {store.folder} are labelled {', '.join(strangers)}. Allowed by --classes: "
            f"{', '.join(classes)}, and what they contain. Correct the classes."
        )
    if len(set(labels.tolist())) < 2:
        raise TrainingError(
            f"The {len(rows)} labelled training cells of {store.folder} hold fewer than two "
            "classes. NILM cells and others are needed. Label cells in the training split."
        )
    return KnownCells(rows, labels)


def measured_cells(
    store: CropStore, classes: Sequence[str], *, split: str, limit: int, seed: int = 0
) -> KnownCells:
    """Cells of a split whose class is known, at most ``limit`` of them by chance; 0 = all."""
    inside = np.isin(store.cells.slide_id, [slide.slide_id for slide in store.of_split(split)])
    names = np.where(store.cells.truth != "", store.cells.truth, store.cells.given)
    labels = class_numbers(names, classes)
    rows = np.flatnonzero(inside & (labels != UNKNOWN))
    if limit and len(rows) > limit:
        rows = np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))
    return KnownCells(rows, labels[rows])


def bag_rows(store: CropStore, split: str = "train") -> NDArray[np.int64]:
    """Rows of all bags of a split's slides.

    Raises:
        TrainingError: there is none.
    """
    inside = np.isin(store.cells.slide_id, [slide.slide_id for slide in store.of_split(split)])
    rows = np.flatnonzero(inside & (store.cells.rank >= 0))
    if not len(rows):
        raise TrainingError(
            f"No slide of split {split!r} in {store.folder} has a bag. Unlabelled cells are "
            "needed. Check the store's manifest."
        )
    return rows


def draw_evenly(labels: NDArray[np.int64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Places of ``n`` cells, each class as likely as any other that occurs."""
    by_class = [np.flatnonzero(labels == name) for name in np.unique(labels)]
    return np.array([rng.choice(by_class[i]) for i in rng.integers(len(by_class), size=n)])


def read_images(store: CropStore, rows: NDArray[np.int64]) -> Tensor:
    """Crops uint8 ``(n, 3, P, P)``."""
    crops = torch.from_numpy(np.ascontiguousarray(store.crops[rows]))
    return crops.permute(0, 3, 1, 2).contiguous()


def score_cells(
    p: NDArray[np.float32], labels: NDArray[np.int64], classes: Sequence[str]
) -> dict[str, float]:
    """Macro-F1, F1 by class and AUC of NILM against all; leaves out what is undefined."""
    names = list(classes)
    table = confusion([names[i] for i in labels], [names[i] for i in p.argmax(1)], names)
    values = {"macro_f1": macro_f1(table), "lesion_auc": auc(labels > 0, 1 - p[:, 0])}
    by_class = zip(names, f1_by_class(table), strict=True)
    values |= {f"f1_{name}": float(value) for name, value in by_class}
    return {name: value for name, value in values.items() if np.isfinite(value)}


def write_cell_model(
    out: Path, net: nn.Module, store: CropStore, classes: Sequence[str], config: dict[str, Any]
) -> Path:
    """Leave a ``mean`` cell network as `koilo.cells` and a bundle's stage take it.

    ``cells.safetensors`` are its weights, ``cells.json`` the stage (model, config, classes, pixel
    size), ``trunk.safetensors`` the trunk alone, to start another training from.

    Raises:
        OutputError: the folder cannot be written.
    """
    weights = out / "cells.safetensors"
    write_weights(weights, net, {})
    write_weights(out / "trunk.safetensors", net.trunk, {})  # type: ignore[arg-type]
    stage = {
        "model": "mean",
        "config": config,
        "classes": list(classes),
        "mpp": store.mpp,
        "input_px": store.crop_px,
    }
    write_json(out / "cells.json", stage)
    return weights


def store_files(store: CropStore) -> list[Path]:
    """The files of a store whose hashes a run records; the crops themselves are too large."""
    return [store.folder / name for name in ("store.json", "manifest.csv", "cells.parquet")]


def class_problems(classes: Sequence[str]) -> list[str]:
    """What is wrong with a recipe's cell classes, in words; empty where nothing is."""
    try:
        check_classes(classes)
    except ValueError as error:
        return [f"classes: {error}"]
    return []
