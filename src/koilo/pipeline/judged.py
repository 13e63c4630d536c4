"""What the models say of a slide's boxes: cells classified, the slide called, one row a nucleus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koilo.cells import read_crops
from koilo.cells.organisms import OrganismReader
from koilo.mil.removal import Boxes
from koilo.pipeline.carry import share_out
from koilo.pipeline.find import FoundCells
from koilo.pipeline.models import Models
from koilo.pipeline.one_a_cell import one_row_a_cell
from koilo.pipeline.verdict import Call, judge_slide
from koilo.pipeline.workers import Workers
from koilo.slides import Slide
from koilo.taxonomy import NEGATIVE
from koilo.types import Cell

Timer = Callable[[str], AbstractContextManager[None]]
"""Takes the time of the stage it is called with."""

_CHUNK = 64
"""Crops that a worker classifies at a time."""


@dataclass(frozen=True)
class Judged:
    """The slide's call and its cells; ``call`` is None where no cell was found.

    ``cells`` are the M rows that are written, ``features`` (M, D) and ``crops`` uint8 (M, P, P, 3)
    theirs; ``boxes`` is all that the slide head saw.
    """

    call: Call | None
    probabilities: Mapping[str, float]
    cells: tuple[Cell, ...]
    features: NDArray[np.float32]
    crops: NDArray[np.uint8]
    boxes: Boxes

    @property
    def positive(self) -> bool | None:
        """Whether the call is positive; None without one."""
        return self.call.positive if self.call else None


def judge_cells(
    slide: Slide, found: FoundCells[Any], models: Models, workers: Workers, timer: Timer
) -> Judged:
    """Classify the found boxes, call the slide by them, and keep one row a nucleus.

    Raises:
        SlideError: a place of the slide cannot be read.
    """
    centres_px0 = found.boxes_px0[:, :2] + found.boxes_px0[:, 2:] / 2
    classifier = models.classifier
    with timer("crops"):
        crops = read_crops(slide, centres_px0, classifier.mpp, classifier.input_px)
    with timer("cells"):
        features, p_cells = _classify(models, crops, workers)
    with timer("head"):
        call, probabilities, attention = _call(models, slide, features, p_cells)
        centres_um = centres_px0 / slide.downsample_at(1.0)
        kept, row = one_row_a_cell(centres_um, _suspicion(p_cells, classifier.classes))
        if attention is not None:
            attention = np.bincount(row, attention, len(kept)).astype(np.float32)
        boxes = Boxes(features, p_cells, row)
        shares = share_out(models, boxes)
    cells = tuple(_cells(found, p_cells, classifier.classes, kept, attention, shares))
    if models.organisms is not None:
        cells = with_organisms(cells, features[kept], models.organisms)
    return Judged(call, probabilities, cells, features[kept], crops[kept], boxes)


def _classify(
    models: Models, crops: NDArray[np.uint8], workers: Workers
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features (N, D) and probabilities (N, C) of crops (N, P, P, 3)."""
    chunks = [crops[start : start + _CHUNK] for start in range(0, max(len(crops), 1), _CHUNK)]
    parts = list(workers.map_in_order(models.classifier.predict, chunks))
    return np.concatenate([f for f, _ in parts]), np.concatenate([p for _, p in parts])


def _call(
    models: Models, slide: Slide, features: NDArray[np.float32], p_cells: NDArray[np.float32]
) -> tuple[Call | None, dict[str, float], NDArray[np.float32] | None]:
    """The slide's call, its class probabilities and each cell's attention; none without cells."""
    if not len(features):
        return None, {}, None
    p, attention = models.head.predict(features, p_cells)
    probabilities = {n: float(v) for n, v in zip(models.head.classes, p, strict=True)}
    return judge_slide(probabilities, models.threshold(slide.kind)), probabilities, attention


def _cells(
    found: FoundCells[Any],
    p_cells: NDArray[np.float32],
    classes: Sequence[str],
    kept: NDArray[np.int64],
    attention: NDArray[np.float32] | None,
    shares: NDArray[np.float32] | None,
) -> Iterator[Cell]:
    """The boxes ``kept``, best detector score first; ``attention`` and ``shares`` are of these."""
    for row, index in enumerate(kept.tolist()):
        p = p_cells[index]
        x_px0, y_px0, w_px0, h_px0 = (float(value) for value in found.boxes_px0[index])
        yield Cell(
            x_px0,
            y_px0,
            w_px0,
            h_px0,
            detector_score=float(found.scores[index]),
            probabilities={name: float(v) for name, v in zip(classes, p, strict=True)},
            label=classes[int(np.argmax(p))],
            attention=None if attention is None else float(attention[row]),
            contribution=None if shares is None or np.isnan(shares[row]) else float(shares[row]),
        )


def with_organisms(
    cells: Sequence[Cell], features: NDArray[np.float32], reader: OrganismReader
) -> tuple[Cell, ...]:
    """The cells with the probability that each organism shows in their crops, in their order."""
    p = reader.predict(features)  # (M, O)
    return tuple(
        replace(cell, organisms=dict(zip(reader.names, row, strict=True)))
        for cell, row in zip(cells, p.tolist(), strict=True)
    )


def count_organisms(
    cells: Sequence[Cell], reader: OrganismReader | None
) -> dict[str, dict[str, float]]:
    """Threshold and number of cells at or over it, by organism; none without a head."""
    if reader is None:
        return {}
    return {
        name: {"threshold": bound, "n_cells": sum(c.organisms[name] >= bound for c in cells)}
        for name, bound in zip(reader.names, reader.thresholds, strict=True)
    }


def _suspicion(p_cells: NDArray[np.float32], classes: Sequence[str]) -> NDArray[np.float32]:
    """Probability of any class but NILM, (N,)."""
    return 1 - p_cells[:, classes.index(NEGATIVE)]
