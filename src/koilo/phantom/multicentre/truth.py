"""What is true of the cohort, as files: slides, drawn cells and hidden lesion cells, centres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from koilo.files import atomic_path, write_json
from koilo.phantom.multicentre.bank import MEASURES, CellBank
from koilo.phantom.multicentre.centres import CohortCentre
from koilo.phantom.multicentre.kinds import NAMES
from koilo.phantom.multicentre.labels import CellLabels
from koilo.phantom.multicentre.ranked import BANK_OF, RankedSlide
from koilo.phantom.multicentre.rows import CropRows


def write_truth(
    folder: Path,
    slides: Sequence[RankedSlide],
    rows: CropRows,
    labels: CellLabels,
    banks: Mapping[str, CellBank],
    centres: Sequence[CohortCentre],
) -> None:
    """Write ``slides.parquet``, ``cells.parquet`` and ``centres.json`` into a folder."""
    _write_table(folder / "slides.parquet", [_slide(slide, centres) for slide in slides])
    tables = [
        _cells(number, slide, rows, labels, banks[BANK_OF[slide.plan.split]])
        for number, slide in enumerate(slides)
    ]
    joined = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    with atomic_path(folder / "cells.parquet") as path:
        pq.write_table(pa.table(joined), path, compression="zstd")
    write_json(folder / "centres.json", [_centre(each) for each in centres])


def _slide(slide: RankedSlide, centres: Sequence[CohortCentre]) -> dict[str, Any]:
    plan = slide.plan
    lesions = slide.folds != "NILM"
    return {
        "slide_id": plan.slide_id,
        "split": plan.split,
        "centre": centres[plan.centre].name,
        "truth": plan.truth,
        "label": plan.label,
        "swapped": plan.label != plan.truth,
        "lesion_class": plan.lesion_class,
        "n_cells": plan.n_cells,
        "n_lesions": plan.n_lesions,
        "n_visible_lesions": int(lesions[: slide.n_visible].sum()),
    }


def _cells(
    number: int, slide: RankedSlide, rows: CropRows, labels: CellLabels, bank: CellBank
) -> dict[str, Any]:
    """Columns of one slide's visible cells and invisible lesions."""
    cells, n = slide.cells, len(slide.kind)
    measured = {name: bank.measured[name][cells.row] for name in MEASURES}
    for name in ("nucleus_um2", "cell_um2", "halo_um2"):
        measured[name] = measured[name] * cells.scale**2
    measured["nuclear_density"] = measured["nuclear_density"] * cells.gain
    marks = [_mark((number, cell), labels) for cell in range(n)]
    return {
        "slide_id": np.full(n, slide.plan.slide_id),
        "rank": slide.rank,
        "visible": np.arange(n) < slide.n_visible,
        "crop": np.array([rows.of((number, cell)) for cell in range(n)]),
        "detector_score": cells.score.astype(np.float32),
        "kind": np.array(slide.kind_names),
        "texture": bank.texture[cells.row],
        "truth": slide.folds,
        "given": np.array([labels.given.get((number, cell), "") for cell in range(n)]),
        "mark": np.array(marks),
        "sprite": cells.row.astype(np.int32),
        "scale": cells.scale.astype(np.float32),
        "defocus_um": cells.defocus_um.astype(np.float32),
        **{name: values.astype(np.float32) for name, values in measured.items()},
    }


def _mark(place: tuple[int, int], labels: CellLabels) -> str:
    if place in labels.overlooked:
        return "overlooked"
    return "labelled" if place in labels.given else ""


def _centre(each: CohortCentre) -> dict[str, Any]:
    look = {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in vars(each.centre).items()
        if name != "mimic_rates"
    }
    return {
        "name": each.name,
        "mimic_share": each.mimic_share,
        "score_shift": each.score_shift,
        "distance": each.distance,
        "nearest": f"T{each.nearest + 1}" if each.nearest >= 0 else "",
        "rates": {name: float(rate) for name, rate in zip(NAMES, each.rates, strict=True)},
        "look": look,
    }


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    with atomic_path(path) as part:
        pq.write_table(pa.Table.from_pylist(rows), part, compression="zstd")
