"""Which slides the cohort has: split, centre, class, number of cells, and the label it is given."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from koilo.phantom.cohort import LESION_COUNTS
from koilo.phantom.multicentre.config import (
    POSITIVE_SHARES,
    TRAINING_CENTRES,
    UNSEEN_DISTANCES,
    CohortConfig,
    SplitSize,
)
from koilo.taxonomy import NEGATIVE

_CELLS = (3_000, 20_000)
_MEDIAN_CELLS, _CELLS_SIGMA = 8_000, 0.5
_LEAST_LESIONS = {"ASC-US": 2, "AGC": 8}
"""AGC slides are so few that fewer cells could leave no 30 to label."""
_MOST_LESIONS = {"ASC-US": 30}
_SCC_SHARE = 0.25


@dataclass(frozen=True)
class PlannedSlide:
    """One slide; ``centre`` counts the training centres from 0 and the unseen ones after them.

    ``truth`` is its class, ``label`` what a learner is told. ``lesion_class`` is the plain class of
    its lesion cells ("" where there are none).
    """

    index: int
    slide_id: str
    split: str
    centre: int
    truth: str
    label: str
    lesion_class: str
    n_cells: int
    n_lesions: int


def plan_slides(config: CohortConfig) -> tuple[PlannedSlide, ...]:
    """Deal classes to centres so that each holds the same share of every class, then swap labels.

    Neither the number of cells nor the centre tells anything of the class.
    """
    slides: list[PlannedSlide] = []
    for number, (split, size) in enumerate(config.splits.items()):
        rng = np.random.default_rng(np.random.SeedSequence([config.seed, 0xC0, number]))
        unseen = split == "unseen"
        first = TRAINING_CENTRES if unseen else 0
        n_centres = len(UNSEEN_DISTANCES) if unseen else TRAINING_CENTRES
        for position, truth in enumerate(_classes(size)):
            lesion_class = _lesion_class(rng, truth)
            slides.append(
                PlannedSlide(
                    index=len(slides),
                    slide_id=f"{split}-{position + 1:04d}",
                    split=split,
                    centre=first + position % n_centres,
                    truth=truth,
                    label=truth,
                    lesion_class=lesion_class,
                    n_cells=_draw_cells(rng),
                    n_lesions=_draw_lesions(rng, lesion_class),
                )
            )
    return _with_swaps(config, slides)


def positive_counts(n: int) -> dict[str, int]:
    """How many of ``n`` positive slides are of each class: at least two, where ``n`` allows it.

    >>> positive_counts(400)
    {'ASC-US': 208, 'LSIL': 92, 'ASC-H': 48, 'HSIL+SCC': 36, 'AGC': 16}
    >>> positive_counts(20)
    {'ASC-US': 9, 'LSIL': 5, 'ASC-H': 2, 'HSIL+SCC': 2, 'AGC': 2}
    """
    counts = {name: max(2, round(share * n)) for name, share in POSITIVE_SHARES.items()}
    counts["ASC-US"] += n - sum(counts.values())
    return counts


def _classes(size: SplitSize) -> list[str]:
    positives = positive_counts(size.positive)
    return [
        *(name for name, n in positives.items() for _ in range(n)),
        *[NEGATIVE] * (size.slides - size.positive),
    ]


def _lesion_class(rng: np.random.Generator, truth: str) -> str:
    if truth == "HSIL+SCC":
        return "SCC" if rng.random() < _SCC_SHARE else "HSIL"
    return "" if truth == NEGATIVE else truth


def _draw_cells(rng: np.random.Generator) -> int:
    return int(np.clip(rng.lognormal(np.log(_MEDIAN_CELLS), _CELLS_SIGMA), *_CELLS))


def _draw_lesions(rng: np.random.Generator, lesion_class: str) -> int:
    if not lesion_class:
        return 0
    median, sigma = LESION_COUNTS["HSIL" if lesion_class == "SCC" else lesion_class]
    drawn = round(rng.lognormal(np.log(median), sigma))
    return int(
        np.clip(drawn, _LEAST_LESIONS.get(lesion_class, 3), _MOST_LESIONS.get(lesion_class, 300))
    )


def _with_swaps(config: CohortConfig, slides: list[PlannedSlide]) -> tuple[PlannedSlide, ...]:
    """Give a share of the ASC-US and of the NILM slides of training each other's label."""
    rng = np.random.default_rng(np.random.SeedSequence([config.seed, 0x5A]))
    out = list(slides)
    for truth, label in (("ASC-US", NEGATIVE), (NEGATIVE, "ASC-US")):
        mine = [slide.index for slide in slides if slide.split == "train" and slide.truth == truth]
        for index in rng.choice(mine, round(config.swapped * len(mine)), replace=False):
            out[index] = replace(out[index], label=label)
    return tuple(out)
