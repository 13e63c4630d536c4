"""Composed slides: real cells of a manifest dealt to phantom slides, truth carried along.

A positive slide holds real lesion cells of its class; every slide, negative ones too, holds about
as many real patches in all, so that a real patch does not betray the label. A source stays within
one split, and a cell lies on at most ten slides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from koilo.datasets import LabelledCell, read_cells
from koilo.errors import ManifestError
from koilo.manifest import SlideEntry, read_manifest
from koilo.phantom.cohort import SlidePlan, draw_lesions
from koilo.phantom.patch import Cut, Patch, cut_patch, glass_of
from koilo.phantom.scene import Scene
from koilo.slides import Slide, open_slide
from koilo.taxonomy import CYTOLOGY, NEGATIVE

MOST_SLIDES_A_CELL = 10
_PATCH_UM = (48.0, 105.0)
_REAL_SHARE = 0.03
_TRIES = 200


@dataclass(frozen=True)
class Sources:
    """The real pictures of a manifest, by slide_id, with the labelled cells of each."""

    entries: dict[str, SlideEntry]
    cells: dict[str, tuple[LabelledCell, ...]]

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits; one empty name where the manifest has none."""
        return tuple(dict.fromkeys(entry.split or "" for entry in self.entries.values()))

    def labels(self) -> tuple[str, ...]:
        """Bethesda classes of which there are cells in every split, NILM left out."""
        held: list[set[str]] = []
        for split in self.splits:
            held.append({cell.label for cell in self.of_split(split)})
        common = set.intersection(*held) if held else set()
        return tuple(name for name in CYTOLOGY if name in common and name != NEGATIVE)

    def of_split(self, split: str) -> list[LabelledCell]:
        """All labelled cells of a split, in the manifest's order."""
        return [
            cell
            for slide_id, entry in self.entries.items()
            if (entry.split or "") == split
            for cell in self.cells.get(slide_id, ())
        ]

    def clean(self, slide_id: str) -> bool:
        """True where a source holds no labelled lesion at all."""
        return all(cell.label == NEGATIVE for cell in self.cells.get(slide_id, ()))


def read_sources(manifest: Path) -> Sources:
    """Read ``manifest.csv`` and the ``cells.csv`` beside it.

    Raises:
        ManifestError: a list is malformed, a source has no pixel size, or a split has no NILM cell
            in a picture without lesions, or no lesion cell that all splits have.
    """
    entries = {entry.slide_id: entry for entry in read_manifest(manifest)}
    cells: dict[str, list[LabelledCell]] = {}
    for cell in read_cells(manifest.parent / "cells.csv", entries.keys()):
        cells.setdefault(cell.slide_id, []).append(cell)
    sources = Sources(entries, {slide_id: tuple(found) for slide_id, found in cells.items()})
    bare = [slide_id for slide_id in cells if entries[slide_id].mpp is None]
    if bare:
        raise ManifestError(
            f"{manifest} gives no mpp for {bare[0]} and {len(bare) - 1} more. Composing needs the "
            "pixel size of every source. Add the column mpp."
        )
    for split in sources.splits:
        if not any(sources.clean(cell.slide_id) for cell in sources.of_split(split)):
            raise ManifestError(
                f"{manifest} has no picture without lesions in split '{split}'. Negative slides "
                "need NILM cells of such pictures. Add some."
            )
    if not sources.labels():
        raise ManifestError(
            f"{manifest} has no lesion class with cells in every split. Positive slides need one. "
            "Add cells, or leave the column split out."
        )
    return sources


class Composer:
    """Deals real cells to slides one after the other; the same order for the same seed."""

    def __init__(self, sources: Sources, seed: int) -> None:
        self._sources = sources
        self._seed = seed
        self._used: Counter[LabelledCell] = Counter()

    def split_of(self, plan: SlidePlan) -> str:
        """The split whose sources a slide may hold: pairs of slides take turns."""
        return self._sources.splits[plan.index // 2 % len(self._sources.splits)]

    def compose(self, plan: SlidePlan, n_cells: int, scene: Scene) -> list[Patch]:
        """Patches around real cells for a slide, lesions first, each at a place of its own.

        Lesions are as many as a slide of the plan's class has; fewer where the split's cells are
        used up. No cell shows twice on a slide.
        """
        rng = np.random.default_rng(np.random.SeedSequence([self._seed, 0xC0, plan.index]))
        lesions = draw_lesions(rng, plan.label, n_cells)
        pool = self._sources.of_split(self.split_of(plan))
        total = int(np.clip(_REAL_SHARE * n_cells * rng.lognormal(0, 0.3), 6, 300))
        with ExitStack() as stack:
            table = _Table(self._sources, rng, scene, stack, {*lesions, NEGATIVE})
            for label, n in lesions.items():
                for cell in self._least_used(rng, [c for c in pool if c.label == label]):
                    if table.count(label) >= n:
                        break
                    self._used.update(table.add(cell))
            normal = [c for c in pool if self._sources.clean(c.slide_id)]
            for cell in self._least_used(rng, normal):
                if len(table.patches) >= max(total, len(lesions) + 2):
                    break
                self._used.update(table.add(cell))
        return table.patches

    def _least_used(
        self, rng: np.random.Generator, pool: Sequence[LabelledCell]
    ) -> list[LabelledCell]:
        """Cells that lie on fewer than ten slides, the least used first, else in random order."""
        shuffled = [pool[i] for i in rng.permutation(len(pool))]
        free = [cell for cell in shuffled if self._used[cell] < MOST_SLIDES_A_CELL]
        return sorted(free, key=lambda cell: self._used[cell])


class _Table:
    """One slide being composed: the patches so far and the cells that show on it."""

    def __init__(
        self,
        sources: Sources,
        rng: np.random.Generator,
        scene: Scene,
        stack: ExitStack,
        allowed: set[str],
    ) -> None:
        self._sources, self._rng, self._scene, self._stack = sources, rng, scene, stack
        self._allowed = allowed
        self._opened: dict[str, tuple[Slide, NDArray[np.float32]]] = {}
        self._shown: set[LabelledCell] = set()
        self.patches: list[Patch] = []

    def count(self, label: str) -> int:
        """Cells of a class that show so far."""
        return sum(cell.label == label for cell in self._shown)

    def add(self, cell: LabelledCell) -> list[LabelledCell]:
        """Cut and place a patch around a cell; gives the cells that it brings (none if no room)."""
        if cell in self._shown:
            return []
        source, glass = self._open(cell.slide_id)
        others = self._sources.cells[cell.slide_id]
        strangers = [c for c in others if c.label not in self._allowed or c in self._shown]
        cut = _cut_around(self._rng, cell, source, strangers)
        patch, carried = cut_patch(source, cut, others, self._scene.centre.mpp, glass, self._rng)
        if set(carried) & set(strangers) or cell not in carried:
            return []
        placed = _place(self._rng, patch, self._scene, self.patches)
        if placed is None:
            return []
        self.patches.append(placed)
        self._shown.update(carried)
        return carried

    def _open(self, slide_id: str) -> tuple[Slide, NDArray[np.float32]]:
        if slide_id not in self._opened:
            entry = self._sources.entries[slide_id]
            slide = self._stack.enter_context(open_slide(entry.path, mpp=entry.mpp))
            self._opened[slide_id] = slide, glass_of(slide)
        return self._opened[slide_id]


def _cut_around(
    rng: np.random.Generator,
    cell: LabelledCell,
    source: Slide,
    strangers: Sequence[LabelledCell],
) -> Cut:
    """A rectangle around a cell within its source, shrunk until no stranger lies in it."""
    width, height = source.dimensions
    x, y = cell.x_px0 + cell.w_px0 / 2, cell.y_px0 + cell.h_px0 / 2
    side = rng.uniform(*_PATCH_UM, 2) / float(source.mpp or 1)
    off = rng.uniform(-0.2, 0.2, 2)
    turns, mirrored = int(rng.integers(4)), bool(rng.random() < 0.5)
    while True:
        w, h = min(side[0], width), min(side[1], height)
        left = float(np.clip(x - w / 2 + off[0] * w, 0, width - w))
        top = float(np.clip(y - h / 2 + off[1] * h, 0, height - h))
        inside = any(
            left < other.x_px0 + other.w_px0 / 2 < left + w
            and top < other.y_px0 + other.h_px0 / 2 < top + h
            for other in strangers
        )
        if not inside or side.max() * float(source.mpp or 1) < _PATCH_UM[0] / 2:
            return Cut(cell.slide_id, (left, top, w, h), turns, mirrored)
        side, off = side * 0.85, off * 0.5


def _place(
    rng: np.random.Generator, patch: Patch, scene: Scene, taken: Sequence[Patch]
) -> Patch | None:
    """A patch at a free place inside the slide and its deposit; None where none was found."""
    h, w = patch.light.shape[:2]
    mpp = scene.centre.mpp
    if w >= scene.size_px[0] or h >= scene.size_px[1]:
        return None
    for _ in range(_TRIES):
        x = int(rng.integers(scene.size_px[0] - w))
        y = int(rng.integers(scene.size_px[1] - h))
        corners = [(x, y), (x + w, y), (x, y + h), (x + w, y + h)]
        if min(scene.deposit.depth_um(cx * mpp, cy * mpp) for cx, cy in corners) < 0:
            continue
        if not any(_overlap((x, y, w, h), other.rectangle_px0) for other in taken):
            return patch.at(x, y)
    return None


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]
