"""A slide's ranked cells: the visible ones, best first, and after them the lesions that are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from koilo.phantom.multicentre.bank import CellBank
from koilo.phantom.multicentre.cells import SlideCells, draw_cells_of_slide
from koilo.phantom.multicentre.centres import CohortCentre
from koilo.phantom.multicentre.config import CELL_FOLDS, CohortConfig
from koilo.phantom.multicentre.kinds import COHORT_KINDS, NAMES
from koilo.phantom.multicentre.plan import PlannedSlide
from koilo.phantom.multicentre.scores import DetectorModel
from koilo.taxonomy import fold_members

BANK_OF = {"train": "train", "validation": "validation", "test": "test", "unseen": "test"}
"""The bank of each split: cells are drawn anew for validation and for the tests."""


def fold_of(label: str) -> str:
    """The folded cell class of a plain class."""
    return next(fold for fold in CELL_FOLDS if label in fold_members(fold))


FOLD_OF_KIND = np.array([fold_of(kind.kind.label) for kind in COHORT_KINDS.values()])


@dataclass(frozen=True)
class RankedSlide:
    """The ``n_visible`` best cells of a slide, then its invisible lesions (NaN: a missed one).

    ``rank`` counts among all found cells from 0; -1 where the detector missed the cell. ``kind``
    indexes `NAMES`.
    """

    plan: PlannedSlide
    cells: SlideCells
    n_visible: int
    rank: NDArray[np.int64]
    kind: NDArray[np.int64]

    @property
    def folds(self) -> NDArray[np.str_]:
        """Folded class of each cell."""
        return np.asarray(FOLD_OF_KIND[self.kind], np.str_)

    @property
    def kind_names(self) -> list[str]:
        """Name of each cell's kind."""
        return [NAMES[k] for k in self.kind]


def rank_slides(
    config: CohortConfig,
    plans: Sequence[PlannedSlide],
    banks: Mapping[str, CellBank],
    centres: Sequence[CohortCentre],
    model: DetectorModel,
) -> list[RankedSlide]:
    """Draw every slide's cells as attributes and keep those that are seen or sought."""
    return [
        _ranked(config, plan, banks[BANK_OF[plan.split]], centres[plan.centre], model)
        for plan in plans
    ]


def _ranked(
    config: CohortConfig,
    plan: PlannedSlide,
    bank: CellBank,
    centre: CohortCentre,
    model: DetectorModel,
) -> RankedSlide:
    rng = np.random.default_rng(np.random.SeedSequence([config.seed, 0xCC, plan.index]))
    cells = draw_cells_of_slide(
        rng, bank, centre, model,
        n_cells=plan.n_cells, lesion_class=plan.lesion_class, n_lesions=plan.n_lesions,
    )  # fmt: skip
    order = cells.best(len(cells.row))
    rank = np.full(len(cells.row), -1)
    rank[order] = np.arange(len(order))
    seen = order[: config.top_k]
    lesions = np.arange(plan.n_lesions)  # they come first
    kept = np.concatenate([seen, lesions[~np.isin(lesions, seen)]])
    few = cells.some(kept)
    return RankedSlide(plan, few, len(seen), rank[kept], bank.kind[few.row])
