"""Which cells a learner is told of: the labelled, and those that the readers overlooked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from koilo.phantom.multicentre.config import CELL_FOLDS, LABELLED_CENTRES, CohortConfig
from koilo.phantom.multicentre.ranked import RankedSlide
from koilo.taxonomy import NEGATIVE

Place = tuple[int, int]
"""Position of a slide in the cohort, and of a cell among the slide's ranked ones."""


@dataclass(frozen=True)
class CellLabels:
    """``given`` label by place; ``overlooked`` are the places of lesions labelled NILM.

    ``extra`` are labelled cells outside their slide's bag, in the order in which they are stored.
    """

    given: dict[Place, str]
    overlooked: frozenset[Place]
    extra: tuple[Place, ...]


def draw_labels(config: CohortConfig, slides: Sequence[RankedSlide]) -> CellLabels:
    """Label cells of the labelled centres' training slides, a fifth of the positives as NILM.

    Labels are dealt among the visible cells; a class with too few of them takes lesions that the
    detector did not rank among the best, as readers label tiles and not detections.
    """
    rng = np.random.default_rng(np.random.SeedSequence([config.seed, 0x1A]))
    visible: dict[str, list[Place]] = {fold: [] for fold in CELL_FOLDS}
    hidden: dict[str, list[Place]] = {fold: [] for fold in CELL_FOLDS}
    for number, slide in enumerate(slides):
        if slide.plan.split != "train" or slide.plan.centre >= LABELLED_CENTRES:
            continue
        for cell, fold in enumerate(slide.folds):
            (visible if cell < slide.n_visible else hidden)[fold].append((number, cell))
    given: dict[Place, str] = {}
    for fold in (name for name in CELL_FOLDS if name != NEGATIVE):
        wanted = config.labelled[fold]
        taken = _some(rng, visible[fold], wanted)
        taken += _some(rng, hidden[fold], wanted - len(taken))
        given |= dict.fromkeys(taken, fold)
    overlooked = _overlooked(rng, config, visible, given)
    given |= dict.fromkeys(overlooked, NEGATIVE)
    normal = _some(rng, visible[NEGATIVE], config.labelled[NEGATIVE] - len(overlooked))
    given |= dict.fromkeys(normal, NEGATIVE)
    extra = tuple(sorted(place for place in given if place[1] >= slides[place[0]].n_visible))
    return CellLabels(given, frozenset(overlooked), extra)


def _overlooked(
    rng: np.random.Generator,
    config: CohortConfig,
    visible: dict[str, list[Place]],
    given: dict[Place, str],
) -> list[Place]:
    """Visible lesions beside the labelled ones, so many that they are ``overlooked`` of all."""
    left = [p for fold, places in visible.items() if fold != NEGATIVE for p in places]
    n_seen = sum(place in given for place in left)
    left = [place for place in left if place not in given]
    return _some(rng, left, round(n_seen * config.overlooked / (1 - config.overlooked)))


def _some(rng: np.random.Generator, places: list[Place], n: int) -> list[Place]:
    picked = rng.permutation(len(places))[: max(n, 0)]
    return [places[i] for i in picked]
