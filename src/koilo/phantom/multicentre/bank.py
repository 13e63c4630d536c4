"""The cells from which slides are dealt theirs: drawn once, measured, told apart by split."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from koilo.files import atomic_path
from koilo.phantom.bystanders import draw_bystander
from koilo.phantom.drawing import draw_kind
from koilo.phantom.multicentre.kinds import (
    COHORT_KINDS,
    LESIONS,
    MIMICS,
    NAMES,
    NORMAL,
    plain,
    textured,
)
from koilo.phantom.sprite import Sprite

MEASURES = (
    "nucleus_um2", "cell_um2", "nc_area", "n_nuclei", "contour", "elongation", "nuclear_density",
    "chromatin", "halo_um2", "nucleoli", "vacuoles",
)  # fmt: skip
BACKGROUND = "background"
"""Normal cells of plain texture that lie around the cells that crops are about."""
_ROLE_SHARES = {"lesion": 0.4, "mimic": 0.4, "normal": 0.2}
_BYSTANDERS = {
    "neutrophil": 60,
    "debris": 40,
    "red_cell": 10,
    "mucus": 8,
    "bacteria": 8,
    "yeast": 6,
    BACKGROUND: 200,
}
_LEAST_A_KIND = 3
_CELLS_FOR_ALL_BYSTANDERS = 400


@dataclass(frozen=True)
class CellBank:
    """Sprites with their kinds and measures, one entry a sprite: (S,).

    ``rows_of[k]`` are the sprites of kind ``k``, an index into `NAMES`.
    """

    sprites: tuple[Sprite, ...]
    kind: NDArray[np.int64]
    texture: NDArray[np.str_]
    measured: dict[str, NDArray[np.float64]]
    bystanders: dict[str, tuple[Sprite, ...]]

    @property
    def rows_of(self) -> tuple[NDArray[np.int64], ...]:
        """Rows of the sprites of each kind."""
        return tuple(np.flatnonzero(self.kind == k) for k in range(len(NAMES)))


Job = tuple[str, tuple[int, ...], bool]


def bank_jobs(seed: Sequence[int], n_cells: int, *, fine: bool = False) -> list[Job]:
    """What to draw for a bank of about ``n_cells``: name, seed, and whether to keep fine pixels."""
    jobs = []
    for number, name in enumerate((*NAMES, *_BYSTANDERS)):
        n = _count(name, n_cells)
        jobs += [(name, (*seed, 0xBB, number, i), fine) for i in range(n)]
    return jobs


def draw_job(job: Job) -> tuple[Sprite, str]:
    """One sprite and its texture; the same whatever else is drawn."""
    name, seed, fine = job
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    if name == BACKGROUND:
        sprite, texture = _draw_background(rng), ""
    elif name in _BYSTANDERS:
        sprite, texture = draw_bystander(rng, name), ""
    else:
        kind, texture = textured(COHORT_KINDS[name], rng)
        sprite = draw_kind(rng, kind)
    return (sprite if fine else _without_fine_pixels(sprite)), texture


def bank_of(drawn: Iterable[tuple[Sprite, str]]) -> CellBank:
    """The bank of what `draw_job` drew."""
    pairs = list(drawn)
    cells = [(sprite, texture) for sprite, texture in pairs if sprite.kind in COHORT_KINDS]
    return CellBank(
        sprites=tuple(sprite for sprite, _ in cells),
        kind=np.array([NAMES.index(sprite.kind) for sprite, _ in cells]),
        texture=np.array([texture for _, texture in cells]),
        measured={
            name: np.array([sprite.measured[name] for sprite, _ in cells]) for name in MEASURES
        },
        bystanders={
            name: tuple(sprite for sprite, _ in pairs if sprite.kind == name)
            for name in _BYSTANDERS
        },
    )


def write_bank(path: Path, bank: CellBank) -> None:
    """Keep a bank for the processes of a run."""
    with atomic_path(path) as part, open(part, "wb") as handle:
        pickle.dump(bank, handle, pickle.HIGHEST_PROTOCOL)


def read_bank(path: Path) -> CellBank:
    """A bank that `write_bank` kept."""
    with open(path, "rb") as handle:
        bank = pickle.load(handle)
    assert isinstance(bank, CellBank)
    return bank


def _count(name: str, n_cells: int) -> int:
    if name in _BYSTANDERS:
        share = min(n_cells / _CELLS_FOR_ALL_BYSTANDERS, 1.0)
        return max(_LEAST_A_KIND, round(_BYSTANDERS[name] * share))
    kind = COHORT_KINDS[name]
    group = {"lesion": LESIONS, "mimic": MIMICS, "normal": NORMAL}[kind.role]
    total = sum(COHORT_KINDS[other].weight ** 0.5 for other in group)
    share = kind.weight**0.5 / total
    return max(_LEAST_A_KIND, round(n_cells * _ROLE_SHARES[kind.role] * share))


def _draw_background(rng: np.random.Generator) -> Sprite:
    weights = np.array([COHORT_KINDS[name].weight for name in NORMAL])
    kind = COHORT_KINDS[NORMAL[int(rng.choice(len(NORMAL), p=weights / weights.sum()))]].kind
    return replace(draw_kind(rng, plain(kind)), kind=BACKGROUND)


def _without_fine_pixels(sprite: Sprite) -> Sprite:
    """Only the rasters that crops of 0.75 µm a pixel read: a fifth of the memory."""
    return replace(sprite, dyes=np.empty((0, 0, 4), np.uint8))
