"""Draw one phantom slide to disk: the pyramid, its truth, and its row of the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from koilo.datasets import LabelledCell
from koilo.manifest import SlideEntry
from koilo.phantom.bank import FULL_BANK, Bank, draw_bank
from koilo.phantom.canvas import Window
from koilo.phantom.centre import Centre, draw_centre
from koilo.phantom.cohort import SlidePlan, draw_lesions
from koilo.phantom.composed import Composer
from koilo.phantom.kinds import KINDS
from koilo.phantom.scene import Deposit, Scene, fill_scene
from koilo.phantom.truth import CellTruth, truth_of
from koilo.phantom.truth_files import labelled_cells, write_truth_geojson, write_truth_parquet
from koilo.slides import write_pyramid

CROP_OF_MM = 13.0
"""Diameter of the deposit from which a crop is taken."""

_CELLS_FOR_FULL_BANK = 8000
_SMALLEST_BANK = 120


@dataclass(frozen=True)
class SlideSize:
    """A slide's side in pixels, its number of cells, and its deposit in mm (None: a crop)."""

    size_px: int = 12_000
    cells: int = 3_000
    deposit_mm: float | None = None


def bank_size(n_cells: int) -> int:
    """Cells in the bank of a slide: `FULL_BANK` from 8,000 cells on, fewer in proportion below.

    >>> bank_size(80_000), bank_size(3_000)
    (2000, 750)
    """
    share = min(1.0, n_cells / _CELLS_FOR_FULL_BANK)
    return max(_SMALLEST_BANK, round(FULL_BANK * share))


def centre_bank(seed: int, centre_index: int, n_cells: int, *, workers: int | None = None) -> Bank:
    """The bank from which a centre's slides of ``n_cells`` cells are made."""
    return draw_bank((seed, centre_index), bank_size(n_cells), workers=workers)


def build_scene(
    seed: int,
    plan: SlidePlan,
    size: SlideSize,
    centre: Centre,
    bank: Bank,
    composer: Composer | None = None,
) -> tuple[Scene, list[CellTruth]]:
    """A slide's scene and the truth of its cells, in level-0 pixels; the same for the same seed.

    With a ``composer`` the phantom's cells are all NILM and the lesions are real ones.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x51, plan.index]))
    deposit = place_deposit(rng, size, centre.mpp)
    lesions = {} if composer else draw_lesions(rng, plan.label, size.cells)
    side = (size.size_px, size.size_px)
    scene = fill_scene(rng, centre, bank, side, deposit, size.cells, lesions)
    if composer:
        scene = scene.with_patches(composer.compose(plan, size.cells, scene))
    return scene, scene_truth(scene)


def scene_truth(scene: Scene) -> list[CellTruth]:
    """The truth of every cell whose point lies on the slide."""
    window = Window(0.0, 0.0, scene.centre.mpp, *scene.size_px)
    truths = [truth_of(p, window) for p in scene.placements if p.sprite.kind in KINDS]
    truths += [truth for patch in scene.patches for truth in patch.truths_px0()]
    return [truth for truth in truths if _on_slide(truth, scene.size_px)]


def place_deposit(rng: np.random.Generator, size: SlideSize, mpp: float) -> Deposit:
    """A whole deposit in the slide's middle, or one of which the slide shows a crop.

    Half of the crops touch the deposit's rim.
    """
    side_um = size.size_px * mpp
    if size.deposit_mm is not None:
        return Deposit(side_um / 2, side_um / 2, size.deposit_mm * 500)
    radius = CROP_OF_MM * 500
    room = max(radius - side_um * 0.71, 0.0)  # the crop's corners stay inside
    away = room * np.sqrt(rng.random()) if rng.random() < 0.5 else room + 0.12 * side_um
    turn = rng.uniform(0, 2 * np.pi)
    return Deposit(
        float(side_um / 2 + away * np.cos(turn)), float(side_um / 2 + away * np.sin(turn)), radius
    )


def write_slide(
    out: Path,
    seed: int,
    plan: SlidePlan,
    size: SlideSize,
    bank: Bank,
    *,
    composer: Composer | None = None,
    progress: Callable[[float], None] | None = None,
) -> tuple[SlideEntry, list[LabelledCell]]:
    """Write ``slides/<id>.tiff`` and ``truth/<id>.parquet`` and ``.geojson`` under ``out``.

    Returns:
        the slide's row of the manifest, and its rows of cells.csv.

    Raises:
        OutputError: a file cannot be written.
    """
    centre = draw_centre(seed, plan.centre_index)
    scene, truths = build_scene(seed, plan, size, centre, bank, composer)
    made = "composed" if composer else "phantom"
    slide_id = f"{made}-{seed}-{plan.index + 1:03d}"
    facts = {"synthetic": made} | _facts(seed, plan, size, centre, bank)
    path = out / "slides" / f"{slide_id}.tiff"
    write_scene(path, scene, facts, progress=progress)
    counted = Counter(p.sprite.kind for p in scene.placements)
    (out / "truth").mkdir(parents=True, exist_ok=True)
    known = facts | {"label": plan.label, "counts": dict(sorted(counted.items()))}
    write_truth_parquet(out / "truth" / f"{slide_id}.parquet", truths, known)
    write_truth_geojson(out / "truth" / f"{slide_id}.geojson", slide_id, truths)
    entry = SlideEntry(
        slide_id=slide_id,
        path=path,
        case_id=f"{made}-case-{seed}-{plan.index + 1:03d}",
        centre=centre.name,
        label=plan.label,
        mpp=centre.mpp,
        split=(composer.split_of(plan) or None) if composer else plan.split,
        preparation=centre.preparation,
        site="cervix",
    )
    return entry, labelled_cells(slide_id, truths, centre.mpp)


def write_scene(
    path: Path,
    scene: Scene,
    facts: dict[str, Any],
    *,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Write a scene as a pyramid; ``facts`` go into the file's description."""
    white = tuple(round(float(level)) for level in scene.centre.white)
    write_pyramid(
        path,
        scene.size_px,
        scene.centre.mpp,
        scene.render,
        background_rgb=(white[0], white[1], white[2]),
        quality=scene.centre.jpeg_quality,
        description=facts,
        progress=progress,
    )


def _facts(
    seed: int, plan: SlidePlan, size: SlideSize, centre: Centre, bank: Bank
) -> dict[str, Any]:
    whole = size.deposit_mm is not None
    return {
        "seed": seed,
        "slide": plan.index,
        "centre": centre.name,
        "deposit": f"{size.deposit_mm:g} mm" if whole else f"crop of a {CROP_OF_MM:g} mm deposit",
        "cells": size.cells,
        "bank_cells": bank.n_cells,
    }


def _on_slide(truth: CellTruth, size_px: tuple[int, int]) -> bool:
    x, y = truth.point_px
    return 0 <= x < size_px[0] and 0 <= y < size_px[1]
