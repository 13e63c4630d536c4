"""Composed slides: real cells or whole fields dealt to phantom slides, truth carried along.

A positive slide holds real lesion cells of its class; every slide, negative ones too, holds about
as many real patches in all, so that a real patch does not betray the label. A source stays within
one split, and a cell lies on at most ten slides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from koilo.datasets import LabelledCell
from koilo.errors import ManifestError
from koilo.phantom.cohort import SlidePlan, draw_lesions
from koilo.phantom.patch import Cut, Patch, cut_patch, glass_of
from koilo.phantom.scene import Scene
from koilo.phantom.sources import Sources
from koilo.slides import Slide, open_slide
from koilo.taxonomy import NEGATIVE

MOST_SLIDES_A_CELL = 10
_PATCH_UM = (48.0, 105.0)
_REAL_SHARE = 0.03
_FIELD_SHARE = 0.12
"""Of the slide's area, where whole fields are set in."""
_MOST_FIELDS = 40
_TRIES = 200


class Composer:
    """Deals real cells, or whole fields, to slides one after the other; the same for one seed."""

    def __init__(self, sources: Sources, seed: int, *, whole_fields: bool = False) -> None:
        self._sources = sources
        self._seed = seed
        self._whole_fields = whole_fields
        self._used: Counter[LabelledCell] = Counter()

    def split_of(self, plan: SlidePlan) -> str:
        """The split whose sources a slide may hold."""
        return self._sources.split_of_slide(plan.index)

    def compose(self, plan: SlidePlan, n_cells: int, scene: Scene) -> list[Patch]:
        """Real patches for a slide, those with lesions first, each at a place of its own.

        Lesions are as many as a slide of the plan's class has; fewer where the split's cells are
        used up. No cell shows twice on a slide.

        Raises:
            ManifestError: no cell of the slide's class is left, or none finds room.
        """
        rng = np.random.default_rng(np.random.SeedSequence([self._seed, 0xC0, plan.index]))
        lesions = draw_lesions(rng, plan.label, n_cells)
        with ExitStack() as stack:
            table = _Table(self._sources, rng, scene, stack, {*lesions, NEGATIVE})
            if self._whole_fields:
                self._set_fields(table, rng, plan, lesions.get(plan.label, 0), scene)
            else:
                self._set_cells(table, rng, plan, lesions, n_cells)
        if plan.label != NEGATIVE and not table.count(plan.label):
            raise ManifestError(
                f"No {plan.label} cell is left for composed slide {plan.index + 1}: each may lie "
                f"on {MOST_SLIDES_A_CELL} slides, and its patch has to fit. Compose fewer or "
                "larger slides, or of more pictures."
            )
        return table.patches

    def _set_cells(
        self,
        table: _Table,
        rng: np.random.Generator,
        plan: SlidePlan,
        lesions: dict[str, int],
        n_cells: int,
    ) -> None:
        """Patches around single cells: the lesions wanted, then NILM cells of clean pictures."""
        pool = self._sources.of_split(self.split_of(plan))
        total = int(np.clip(_REAL_SHARE * n_cells * rng.lognormal(0, 0.3), 6, 300))
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

    def _set_fields(
        self,
        table: _Table,
        rng: np.random.Generator,
        plan: SlidePlan,
        n_lesions: int,
        scene: Scene,
    ) -> None:
        """Whole fields: those whose gravest class is the slide's, then clean ones."""
        pool = self._sources.of_split(self.split_of(plan))
        fields = list(dict.fromkeys(cell.slide_id for cell in pool))
        fitting = [i for i in fields if self._sources.gravest(i) == plan.label != NEGATIVE]
        width, height = scene.size_px
        share = _FIELD_SHARE * rng.lognormal(0, 0.3)
        for field in self._least_used_fields(rng, fitting):
            if table.count(plan.label) >= n_lesions or len(table.patches) >= _MOST_FIELDS - 1:
                break
            self._used.update(table.add_field(field))
        for field in self._least_used_fields(rng, [i for i in fields if self._sources.clean(i)]):
            covered = table.area_px / (width * height)
            if table.patches and (covered >= share or len(table.patches) >= _MOST_FIELDS):
                break
            self._used.update(table.add_field(field))

    def _least_used_fields(self, rng: np.random.Generator, fields: Sequence[str]) -> list[str]:
        """Fields that lie on fewer than ten slides, the least used first, else in random order."""
        used = {i: max(self._used[cell] for cell in self._sources.cells[i]) for i in fields}
        shuffled = [fields[i] for i in rng.permutation(len(fields))]
        free = [field for field in shuffled if used[field] < MOST_SLIDES_A_CELL]
        return sorted(free, key=used.__getitem__)

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

    @property
    def area_px(self) -> int:
        """Pixels of the slide that real patches cover so far."""
        return sum(patch.light.shape[0] * patch.light.shape[1] for patch in self.patches)

    def add_field(self, slide_id: str) -> list[LabelledCell]:
        """Place a whole field; gives the cells that it brings (none if there is no room)."""
        source, glass = self._open(slide_id)
        turns, mirrored = int(self._rng.integers(4)), bool(self._rng.random() < 0.5)
        cut = Cut(slide_id, (0, 0, *source.dimensions), turns, mirrored, straight=True)
        return self._set(source, cut, glass)

    def add(self, cell: LabelledCell) -> list[LabelledCell]:
        """Cut and place a patch around a cell; gives the cells that it brings (none if no room)."""
        if cell in self._shown:
            return []
        source, glass = self._open(cell.slide_id)
        others = self._sources.cells[cell.slide_id]
        strangers = [c for c in others if c.label not in self._allowed or c in self._shown]
        cut = _cut_around(self._rng, cell, source, strangers)
        return self._set(source, cut, glass, wanted=cell, unwanted=strangers)

    def _set(
        self,
        source: Slide,
        cut: Cut,
        glass: NDArray[np.float32],
        *,
        wanted: LabelledCell | None = None,
        unwanted: Sequence[LabelledCell] = (),
    ) -> list[LabelledCell]:
        """Cut a patch and place it, if it holds what is wanted and nothing unwanted."""
        others = self._sources.cells[cut.slide_id]
        patch, carried = cut_patch(source, cut, others, self._scene.centre.mpp, glass, self._rng)
        if set(carried) & set(unwanted) or (wanted and wanted not in carried):
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
