"""Which real cells lie on which composed slide: at most ten slides a cell, no cell twice on one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from koilo.errors import ManifestError
from koilo.phantom.composed import MOST_SLIDES_A_CELL
from koilo.phantom.composed_cohort.config import (
    LESION_CELLS,
    ComposedConfig,
    positive_counts,
)
from koilo.phantom.composed_cohort.pools import RealCell
from koilo.phantom.multicentre.config import SplitSize
from koilo.taxonomy import NEGATIVE, fold_members

GROUNDS = ("real", "phantom")
_CELLS_SIGMA, _LESIONS_SIGMA = 0.2, 0.6


@dataclass(frozen=True)
class DealtSlide:
    """One slide: its label, what its ground is, and its cells, the lesions first."""

    slide_id: str
    split: str
    label: str
    ground: str
    cells: tuple[RealCell, ...]

    @property
    def n_lesions(self) -> int:
        """How many of the cells are lesions."""
        return sum(cell.label not in ("", NEGATIVE) for cell in self.cells)


def deal_slides(
    config: ComposedConfig, split: str, cells: Sequence[RealCell]
) -> tuple[DealtSlide, ...]:
    """Deal a pool's cells to the slides of its split.

    Number of cells, share of unlabelled ones and ground are drawn without a look at the label. A
    positive slide has lesion cells of its class alone. Slides are dealt in random order, so that
    the cells that lie on many slides lie on slides of either label.

    Raises:
        ManifestError: the pool's cells are used up.
    """
    rng = np.random.default_rng(np.random.SeedSequence([config.seed, 0xC2, config.folds[split]]))
    decks = {label: _Deck(rng, cells, members) for label, members in _members().items()}
    labels = _labels(config.splits[split])
    slides: list[DealtSlide | None] = [None] * len(labels)
    grounds = rng.permutation(np.arange(len(labels)) % len(GROUNDS))
    for position in rng.permutation(len(labels)):
        label = labels[position]
        n_cells = _log_normal(rng, config.cells[1], _CELLS_SIGMA, config.cells[0], config.cells[2])
        n_lesions = 0
        if label != NEGATIVE:
            n_lesions = _log_normal(rng, LESION_CELLS[label], _LESIONS_SIGMA, *config.lesions)
            # Two slides of a rare class need not show the same cells.
            n_lesions = min(n_lesions, max(config.lesions[0], decks[label].n_cells // 2))
        n_unlabelled = int(rng.binomial(n_cells - n_lesions, config.unlabelled))
        hand = decks[label].deal(n_lesions) if n_lesions else []
        hand += decks[""].deal(n_unlabelled)
        hand += decks[NEGATIVE].deal(n_cells - n_lesions - n_unlabelled)
        slides[position] = DealtSlide(
            f"composed-{split}-{position + 1:03d}",
            split,
            label,
            GROUNDS[grounds[position]],
            tuple(hand),
        )
    return tuple(slide for slide in slides if slide is not None)


def _members() -> dict[str, tuple[str, ...]]:
    return {"": ("",), **{label: fold_members(label) for label in (NEGATIVE, *LESION_CELLS)}}


def _labels(size: SplitSize) -> list[str]:
    positives = [label for label, n in positive_counts(size.positive).items() for _ in range(n)]
    return positives + [NEGATIVE] * (size.slides - size.positive)


def _log_normal(
    rng: np.random.Generator, median: float, sigma: float, least: int, most: int
) -> int:
    return int(np.clip(round(rng.lognormal(np.log(median), sigma)), least, most))


class _Deck:
    """The cells of some classes, the least used dealt first, else in random order."""

    def __init__(
        self, rng: np.random.Generator, cells: Sequence[RealCell], labels: tuple[str, ...]
    ) -> None:
        self._rng, self._labels = rng, labels
        self._cells = [cell for cell in cells if cell.label in labels]
        self._used: Counter[int] = Counter()

    @property
    def n_cells(self) -> int:
        """How many different cells the deck has."""
        return len(self._cells)

    def deal(self, n: int) -> list[RealCell]:
        """``n`` different cells, each on fewer than ten slides so far.

        Raises:
            ManifestError: there are not so many.
        """
        order = self._rng.permutation(len(self._cells)).tolist()
        free = [i for i in order if self._used[i] < MOST_SLIDES_A_CELL]
        if len(free) < n:
            raise ManifestError(
                f"A composed slide needs {n} cells of {' or '.join(self._labels) or 'no label'}, "
                f"and {len(free)} of {len(self._cells)} are left: a cell may lie on "
                f"{MOST_SLIDES_A_CELL} slides. Compose fewer slides, or of the whole collection."
            )
        chosen = sorted(free, key=self._used.__getitem__)[:n]
        self._used.update(chosen)
        return [self._cells[i] for i in chosen]
