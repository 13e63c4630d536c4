"""Measures of the kept cells: Precision@Top-32, top-K recall, and where cells belie their slide."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koilo.errors import ManifestError
from koilo.evaluate.detection import HIT_UM, match_centres
from koilo.evaluate.ranking import TOP, RankedSlide, precision_by_class, top_k_recall
from koilo.evaluate.slide_scores import SlideScore
from koilo.files import read_csv_rows
from koilo.manifest import given_slide_id
from koilo.results import RESULT, read_slide_result
from koilo.taxonomy import NEGATIVE, fold_members
from koilo.types import Cell, SlideResult

KS = (32, 256, 1024)
_BOX = ("x_px0", "y_px0", "w_px0", "h_px0")

Boxes = NDArray[np.float64]


def measure_cells(
    folder: Path,
    slides: Sequence[SlideScore],
    cells: Path | None,
    *,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Any] | None:
    """Measures of the cells of judged slides; None where there are no result folders.

    Args:
        folder: a results folder.
        slides: judged slides with their true class.
        cells: ``cells.csv`` with every labelled cell of these slides; a slide without a row has no
            lesion cell. None: only what slides and cells say of each other.
        draws: resamples of the bootstrap, of slides within their class.
        seed: of the draws.

    Raises:
        ManifestError: ``cells`` is malformed, of other slides, or given where there are no result
            folders.
        OutputError: a slide's cells cannot be read.
    """
    read = [slide for slide in slides if (folder / slide.slide_id / RESULT).is_file()]
    if not read:
        if cells is not None:
            raise ManifestError(
                f"{folder} is no results folder with cells. --cells compares kept cells with "
                "labelled ones. Name the results folder itself."
            )
        return None
    results = {slide.slide_id: read_slide_result(folder / slide.slide_id) for slide in read}
    values: dict[str, Any] = {"mismatch": _mismatch(read, results)}
    if cells is not None:
        values |= _against_truth(read, results, _read_lesions(cells, {*results}), draws, seed)
    return values


def _mismatch(
    slides: Sequence[SlideScore], results: Mapping[str, SlideResult]
) -> list[dict[str, Any]]:
    """For each true slide class how often which class leads among the most suspicious cells."""
    leading: dict[str, Counter[str]] = defaultdict(Counter)
    for slide in slides:
        best = sorted(results[slide.slide_id].cells, key=_lesion, reverse=True)[:TOP]
        lesions = Counter(cell.label for cell in best if cell.label != NEGATIVE)
        leading[str(slide.label)][lesions.most_common(1)[0][0] if lesions else NEGATIVE] += 1
    return [
        {"slide": truth, "leading_cell": cell, "n": n}
        for truth, counts in leading.items()
        for cell, n in counts.most_common()
    ]


def _against_truth(
    slides: Sequence[SlideScore],
    results: Mapping[str, SlideResult],
    lesions: Mapping[str, Boxes],
    draws: int,
    seed: int,
) -> dict[str, Any]:
    by_detector: list[RankedSlide] = []
    by_class: list[RankedSlide] = []
    unsized: list[str] = []
    for slide in slides:
        result = results[slide.slide_id]
        mpp, truth = result.slide.get("mpp"), lesions.get(slide.slide_id, np.zeros((0, 4)))
        if not mpp:
            unsized.append(slide.slide_id)
            continue
        boxes = np.array(
            [[getattr(cell, name) for name in _BOX] for cell in result.cells], dtype=float
        ).reshape(-1, 4)
        for ranking, ranked in (
            ([cell.detector_score for cell in result.cells], by_detector),
            ([_lesion(cell) for cell in result.cells], by_class),
        ):
            scores = np.array(ranking, dtype=float)
            hit = match_centres(boxes, scores, truth, reach_px=HIT_UM / mpp) >= 0
            ranked.append(RankedSlide(str(slide.label), hit, scores, len(truth)))
    recalls = top_k_recall(by_detector, KS, draws=draws, seed=seed)
    return {
        f"precision_at_top_{TOP}": {
            "by_detector_score": precision_by_class(by_detector, draws=draws, seed=seed),
            "by_cell_class": precision_by_class(by_class, draws=draws, seed=seed),
        },
        "top_k_recall": dict(zip(map(str, KS), recalls, strict=True)),
        "n_lesion_cells": sum(int(slide.n_positive or 0) for slide in by_detector),
        "without_pixel_size": unsized,
    }


def _lesion(cell: Cell) -> float:
    """Probability that a cell is not NILM."""
    return 1 - cell.probabilities.get(NEGATIVE, 1.0)


def _read_lesions(path: Path, slide_ids: set[str]) -> dict[str, Boxes]:
    """The boxes (n, 4) of lesion cells by slide; a fold with NILM in it is no certain lesion."""
    try:
        _, rows = read_csv_rows(path)
        found: dict[str, list[list[float]]] = {}
        for row in rows:
            boxes = found.setdefault(given_slide_id(row), [])
            if NEGATIVE not in fold_members(row["label"].strip()):
                boxes.append([float(row[name]) for name in _BOX])
    except (OSError, KeyError, ValueError) as error:
        raise ManifestError(
            f"{path} cannot be read as labelled cells ({type(error).__name__}: {error}). It is a "
            f"CSV with slide_id, {', '.join(_BOX)}, label. Check the file."
        ) from error
    if found and not set(found) & slide_ids:
        raise ManifestError(
            f"{path} has no cell of the {len(slide_ids)} judged slides. Slides without a row count "
            "as without a lesion cell. Name the cells of these slides, with their slide_id."
        )
    return {slide_id: np.array(boxes).reshape(-1, 4) for slide_id, boxes in found.items()}
