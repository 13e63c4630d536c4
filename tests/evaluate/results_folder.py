"""Made results: folders as a screening leaves them, and a toy bundle that may have made them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from koilo.bundle import Bundle, write_bundle
from koilo.manifest import SlideEntry, write_manifest
from koilo.results import write_slide_result, write_slides_csv
from koilo.types import Adequacy, Cell, ImageQuality, SlideResult

CLASSES = ("NILM", "LSIL", "HSIL+SCC")


def _point(threshold: float) -> dict[str, object]:
    return {"threshold": threshold, "sensitivity": 0.95, "specificity": 0.5, "n": 9, "set": "toys"}


SPEC = {
    "name": "toy",
    "task": "cytology",
    "stages": {
        "detector": {"model": "centre", "config": {}, "mpp": 1.0, "tile_px": 512},
        "cells": {"model": "pooled", "mpp": 0.5, "classes": ["NILM", "LSIL", "HSIL", "SCC"]},
        "head": {"model": "mean", "config": {}, "classes": list(CLASSES)},
    },
    "operating_points": {
        "sens95": _point(0.4),
        "sens95_field": _point(0.3),
    },
    "not_assessed": ["organisms"],
    "trained_on": ["toys"],
    "provenance": {"commit": "abc"},
}  # fmt: skip


def toy_bundle(folder: Path, name: str = "toy") -> Bundle:
    random = np.random.default_rng(1)
    tensors = {stage: {"weight": random.normal(size=(2, 3))} for stage in SPEC["stages"]}
    return write_bundle(folder, {**SPEC, "name": name}, tensors, "# Card\n")


def result(
    slide_id: str,
    p: float | None,
    *,
    sha256: str = "",
    kind: str = "slide",
    threshold: float = 0.4,
    centre: str | None = None,
    n_cells: int = 40,
    score: float = 0.8,
    verdict: str = "ok",
    blurred: float = 0.1,
    synthetic: str | None = None,
) -> SlideResult:
    probabilities = {} if p is None else dict(zip(CLASSES, (1 - p, p * 0.7, p * 0.3), strict=True))
    positive = None if p is None else p >= threshold
    cells = [Cell(1, 2, 3, 4, score, {"NILM": 0.3, "LSIL": 0.7}, "LSIL")] * (2 if n_cells else 0)
    return SlideResult(
        slide_id,
        f"/slides/{slide_id}.svs",
        "done",
        label=None if p is None else "LSIL" if positive else "NILM",
        probabilities=probabilities,
        p_positive=p,
        positive=positive,
        threshold=threshold,
        n_cells=n_cells if p is not None else 0,
        cells=tuple(cells) if p is not None else (),
        image_quality=ImageQuality(verdict if p is not None else "rescan: no cells found", (),
                                   {"blurred_share": blurred, "blur_um_median": 0.4}),
        adequacy=Adequacy("adequate", 6000.0, 5000.0, 7000.0),
        slide={"kind": kind, "synthetic": synthetic, "case": {"centre": centre} if centre else {}},
        fingerprint="f",
        provenance={"bundle": "toy", "bundle_sha256": sha256, "koilo_version": "0"},
    )  # fmt: skip


def failed(slide_id: str) -> SlideResult:
    return SlideResult(slide_id, f"/slides/{slide_id}.svs", "failed", error="It is no slide.")


def write_results(folder: Path, results: Sequence[SlideResult]) -> Path:
    for each in results:
        write_slide_result(folder / each.slide_id, each)
    write_slides_csv(folder, results)
    return folder


def write_truth(path: Path, labels: dict[str, str | None], **more: dict[str, str]) -> Path:
    """A manifest with labels; ``more``: column -> slide_id -> value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_manifest(
        path,
        [
            SlideEntry(
                slide_id,
                path.parent / f"{slide_id}.svs",
                label=label,
                **{column: values.get(slide_id) for column, values in more.items()},
            )
            for slide_id, label in labels.items()
        ],
    )
    return path
