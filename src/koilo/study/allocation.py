"""Who reads which slide in which arm and order: balanced over classes and readers, by seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from koilo.study.words import GROUPS

PERIODS = (1, 2)


@dataclass(frozen=True)
class Assignment:
    """One reader's slide: its arm, and its place in the order of each period, from 1."""

    reader: str
    slide_id: str
    group: str
    place_1: int
    place_2: int

    def place(self, period: int) -> int:
        """The place in the order of a period."""
        return self.place_1 if period == PERIODS[0] else self.place_2

    def with_ai(self, period: int) -> bool:
        """Whether the AI's result is shown: arm A sees it in period 2, arm B in period 1."""
        return (self.group == GROUPS[0]) == (period == PERIODS[1])


def allocate(
    slides: Sequence[tuple[str, str]],
    readers: Sequence[str],
    *,
    readers_a_slide: int | None = None,
    seed: int = 0,
) -> tuple[Assignment, ...]:
    """Arms and orders of a crossover.

    Each reader has as many slides of each class in arm A as in arm B, give or take one; where
    everybody reads everything, each slide has as many readers in A as in B, give or take one.

    Args:
        slides: (id, class or hospital and class) of each slide: what is balanced.
        readers: their names.
        readers_a_slide: how many read each slide; None: all.
        seed: of the lots; the same seed gives the same plan.

    Returns:
        by reader, then by place in period 1.

    Raises:
        ValueError: there is no slide, or more readers a slide than readers.
    """
    per_slide = len(readers) if readers_a_slide is None else readers_a_slide
    if not slides or not 1 <= per_slide <= len(readers):
        raise ValueError(f"{len(slides)} slides and {per_slide} of {len(readers)} readers each.")
    random = np.random.default_rng(seed)
    lots = random.permutation(len(slides))
    shuffled = sorted((slides[lot] for lot in lots), key=lambda slide: slide[1])
    by_lot = [readers[lot] for lot in random.permutation(len(readers))]
    arms: dict[tuple[str, str], str] = {}
    # The k-th slide of a reader is of arm A or B by turns; readers begin with A and B by turns.
    turn = Counter({reader: number % 2 for number, reader in enumerate(by_lot)})
    for number, (slide_id, _) in enumerate(shuffled):
        for step in range(per_slide):
            reader = by_lot[(number * per_slide + step) % len(by_lot)]
            arms[reader, slide_id] = GROUPS[turn[reader] % 2]
            turn[reader] += 1
    found: list[Assignment] = []
    for reader in readers:
        mine = [slide_id for slide_id, _ in slides if (reader, slide_id) in arms]
        places = [random.permutation(len(mine)) + 1 for _ in PERIODS]
        rows = [
            Assignment(reader, slide_id, arms[reader, slide_id], int(one), int(two))
            for slide_id, one, two in zip(mine, *places, strict=True)
        ]
        found += sorted(rows, key=lambda row: row.place_1)
    return tuple(found)
