"""Where each crop of the cohort lies in the store: bags, then twins' bags, then single cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from koilo.datasets.crop_store import StoredCells
from koilo.phantom.multicentre.labels import CellLabels, Place
from koilo.phantom.multicentre.ranked import RankedSlide

TWIN_SUFFIX = "-twin"


@dataclass(frozen=True)
class CropRows:
    """First rows of bags and twins by the slide's position; rows of single cells by place."""

    bag: dict[int, int]
    twin: dict[int, int]
    single: dict[Place, int]
    n_visible: dict[int, int]
    total: int

    def of(self, place: Place) -> int:
        """The row of a cell; -1 where it is not drawn."""
        number, cell = place
        if cell < self.n_visible[number]:
            return self.bag[number] + cell
        return self.single.get(place, -1)


def lay_rows(slides: Sequence[RankedSlide], labels: CellLabels) -> CropRows:
    """Give every crop its row."""
    n_visible = {number: slide.n_visible for number, slide in enumerate(slides)}
    bag, total = _running(n_visible, 0)
    unseen = {number: n for number, n in n_visible.items() if slides[number].plan.split == "unseen"}
    twin, total = _running(unseen, total)
    single = {place: total + i for i, place in enumerate(labels.extra)}
    return CropRows(bag, twin, single, n_visible, total + len(single))


def stored_cells(slides: Sequence[RankedSlide], rows: CropRows, labels: CellLabels) -> StoredCells:
    """The table of all crops; a twin's cells carry no given label, as its slide's carry none."""
    names, ranks, scores, given, truth = [], [], [], [], []
    for number, suffix in [(n, "") for n in rows.bag] + [(n, TWIN_SUFFIX) for n in rows.twin]:
        slide, n = slides[number], rows.n_visible[number]
        names.append(np.full(n, slide.plan.slide_id + suffix))
        ranks.append(np.arange(n))
        scores.append(slide.cells.score[:n])
        given.append(np.array([labels.given.get((number, cell), "") for cell in range(n)], np.str_))
        truth.append(slide.folds[:n])
    for number, cell in labels.extra:
        slide = slides[number]
        names.append(np.array([slide.plan.slide_id]))
        ranks.append(np.array([-1]))
        scores.append(np.nan_to_num(slide.cells.score[cell : cell + 1]))
        given.append(np.array([labels.given[number, cell]]))
        truth.append(slide.folds[cell : cell + 1])
    return StoredCells(
        slide_id=np.concatenate(names),
        rank=np.concatenate(ranks),
        detector_score=np.concatenate(scores).astype(np.float32),
        given=np.concatenate(given),
        truth=np.concatenate(truth),
    )


def _running(counts: dict[int, int], start: int) -> tuple[dict[int, int], int]:
    first = {}
    for number, n in counts.items():
        first[number] = start
        start += n
    return first, start
