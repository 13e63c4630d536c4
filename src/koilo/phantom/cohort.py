"""What each slide of a phantom set is: its centre, its label and how many lesion cells it holds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from koilo.taxonomy import CYTOLOGY

LESION_COUNTS = {  # median and log-deviation of lesion cells a slide; SCC is a choice
    "ASC-US": (6.0, 0.7),
    "ASC-H": (8.0, 0.7),
    "AGC": (10.0, 0.7),
    "HSIL": (20.0, 0.8),
    "LSIL": (40.0, 0.8),
    "SCC": (40.0, 0.8),
}
"""After the project's cohort (log-normal counts, ASC-US from 2 to 30)."""

_COMPANIONS = {  # milder cells that lie beside a lesion, with their median number
    "LSIL": {"ASC-US": 5.0},
    "ASC-H": {"ASC-US": 3.0},
    "HSIL": {"ASC-H": 4.0, "LSIL": 8.0, "ASC-US": 3.0},
    "SCC": {"HSIL": 12.0, "ASC-H": 4.0},
    "AGC": {"ASC-US": 2.0},
}
_MIX = {"HSIL": 0.26, "LSIL": 0.24, "ASC-US": 0.2, "ASC-H": 0.12, "AGC": 0.1, "SCC": 0.08}
_SPLITS = {"train": 0.6, "validation": 0.2, "test": 0.2}


@dataclass(frozen=True)
class SlidePlan:
    """One slide to draw: its number from 0, its centre's index, label and split."""

    index: int
    centre_index: int
    label: str
    split: str


def plan_cohort(
    n_slides: int, n_centres: int, positive: Collection[str] = tuple(_MIX)
) -> tuple[SlidePlan, ...]:
    """Deal labels, centres and splits so that any number of slides holds a fair share of each.

    Every second slide is NILM; the first is HSIL where ``positive``, the classes to deal, has it. A
    slide is a case of its own, so that splits by slide are splits by case.

    >>> [plan.label for plan in plan_cohort(4, 1)]
    ['HSIL', 'NILM', 'LSIL', 'NILM']
    """
    mix = {name: share for name, share in _MIX.items() if name in positive}
    positives = _dealt({k: v / sum(mix.values()) for k, v in mix.items()}, (n_slides + 1) // 2)
    plans = []
    for index in range(n_slides):
        label = "NILM" if index % 2 else positives[index // 2]
        plans.append((index, (index // 2) % n_centres, label))
    order: dict[str, int] = {}
    out = []
    for index, centre_index, label in plans:
        rank = order.setdefault(label, 0)
        order[label] += 1
        out.append(SlidePlan(index, centre_index, label, _dealt(_SPLITS, rank + 1)[rank]))
    return tuple(out)


def draw_lesions(rng: np.random.Generator, label: str, n_cells: int) -> dict[str, int]:
    """Lesion cells of each class on a slide of a class: none on NILM, else at least two.

    At most a quarter of the cells are lesions.

    Raises:
        ValueError: the class is none of Bethesda's, or fewer than 8 cells are to be drawn.
    """
    if label not in CYTOLOGY:
        raise ValueError(f"{label!r} is no class. Use one of {', '.join(CYTOLOGY)}.")
    if n_cells < 8:
        raise ValueError(f"{n_cells} cells are too few for a slide: at least 8. Ask for more.")
    if label == "NILM":
        return {}
    median, sigma = LESION_COUNTS[label]
    room = n_cells // 4
    lesions = {label: int(np.clip(round(rng.lognormal(np.log(median), sigma)), 2, room))}
    for companion, usual in _COMPANIONS.get(label, {}).items():
        left = room - sum(lesions.values())
        n = round(rng.lognormal(np.log(usual), 0.7)) if rng.random() < 0.6 else 0
        if min(n, left) > 0:
            lesions[companion] = min(n, left)
    return lesions


def _dealt(shares: dict[str, float], n: int) -> Sequence[str]:
    """``n`` names so that after each the counts are as near to the shares as can be."""
    counts = dict.fromkeys(shares, 0)
    dealt = []
    for i in range(n):
        name = max(shares, key=lambda key: shares[key] * (i + 1) - counts[key])
        counts[name] += 1
        dealt.append(name)
    return dealt
