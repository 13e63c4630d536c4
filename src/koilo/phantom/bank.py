"""Banks: the cells that one centre's slides are made of, drawn once and placed many times."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context

import numpy as np

from koilo.phantom.bystanders import BYSTANDERS, draw_bystander
from koilo.phantom.drawing import draw_cell
from koilo.phantom.kinds import KINDS
from koilo.phantom.sprite import Sprite

FULL_BANK = 2000
"""Cells in the bank of a full slide; a smaller slide may draw fewer and says so."""

_BYSTANDER_SHARE = {
    "neutrophil": 0.05,
    "red_cell": 0.01,
    "debris": 0.03,
    "mucus": 0.01,
    "bacteria": 0.01,
    "yeast": 0.005,
}
_PARALLEL_FROM = 600


class Bank:
    """Sprites by kind. ``n_cells`` counts cells without bystanders."""

    def __init__(self, sprites: Sequence[Sprite]) -> None:
        self._by_kind: dict[str, list[Sprite]] = {}
        for sprite in sprites:
            self._by_kind.setdefault(sprite.kind, []).append(sprite)
        self.n_cells = sum(sprite.kind in KINDS for sprite in sprites)

    def __iter__(self) -> Iterator[Sprite]:
        return (sprite for sprites in self._by_kind.values() for sprite in sprites)

    def kinds(self) -> tuple[str, ...]:
        """Names of the kinds and bystanders that the bank holds."""
        return tuple(self._by_kind)

    def of_kind(self, kind: str) -> Sequence[Sprite]:
        """All sprites of a kind.

        Raises:
            KeyError: the bank holds none.
        """
        return self._by_kind[kind]

    def pick(self, rng: np.random.Generator, kind: str) -> Sprite:
        """A random sprite of a kind."""
        sprites = self._by_kind[kind]
        return sprites[int(rng.integers(len(sprites)))]


def bank_counts(n_cells: int) -> dict[str, int]:
    """How many sprites of each kind a bank of about ``n_cells`` holds: at least 3 of each.

    Rare kinds get more than their share (fourth root of their frequency), as lesions must vary
    most.
    """
    weights = {name: kind.weight**0.25 for name, kind in KINDS.items()}
    for name, kind in KINDS.items():
        if kind.label != "NILM":
            weights[name] *= 1.3
    total = sum(weights.values())
    counts = {name: max(3, round(n_cells * w / total)) for name, w in weights.items()}
    largest = max(counts, key=lambda name: counts[name])
    counts[largest] += max(0, n_cells - sum(counts.values()))
    return counts | {k: max(6, round(n_cells * share)) for k, share in _BYSTANDER_SHARE.items()}


def draw_bank(seed: Sequence[int], n_cells: int, *, workers: int | None = None) -> Bank:
    """Draw a bank; each sprite has its own seed, so that the number of processes changes nothing.

    Args:
        seed: entropy, such as ``(seed, centre_index)``.
        n_cells: about how many cells (see `bank_counts`).
        workers: processes; None takes the machine's cores, for large banks only.
    """
    jobs = [
        (name, (*seed, 0xBA, kind_index, i))
        for kind_index, (name, count) in enumerate(bank_counts(n_cells).items())
        for i in range(count)
    ]
    workers = workers if workers is not None else _default_workers(len(jobs))
    if workers <= 1:
        return Bank([_draw(job) for job in jobs])
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        return Bank(list(pool.map(_draw, jobs, chunksize=16)))


@lru_cache(maxsize=2)
def cached_bank(seed: tuple[int, ...], n_cells: int) -> Bank:
    """`draw_bank`, kept for the next call with the same arguments."""
    return draw_bank(seed, n_cells)


def _default_workers(n_jobs: int) -> int:
    return 1 if n_jobs < _PARALLEL_FROM else min(len(os.sched_getaffinity(0)), 8)


def _draw(job: tuple[str, tuple[int, ...]]) -> Sprite:
    name, seed = job
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    return draw_bystander(rng, name) if name in BYSTANDERS else draw_cell(rng, name)
