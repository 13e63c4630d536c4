"""Labelled cells of a manifest as recipes learn from them: scenes and patches, without a leak."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from koilo.cells import read_crops
from koilo.datasets import LabelledCell, read_cells, refuse_leaks, refuse_outside
from koilo.datasets.splits import refuse_shared_groups
from koilo.detect import Scene
from koilo.errors import ManifestError
from koilo.manifest import SlideEntry, read_manifest
from koilo.slides import Slide, open_slide
from koilo.taxonomy import NEGATIVE, fold_members
from koilo.taxonomy.hierarchy import Hierarchy

LARGEST_SCENE_PX = 2048
"""A slide larger than this at the scenes' pixel size gives windows around its cells."""

LESION_GROUND, NORMAL_GROUND = (0.5, 0.2), (1.0, 0.2)
"""Weights of unlabelled ground (positive channel, nucleus channel), see `TileTruth`: ground beside
lesion cells may hold unlabelled ones; both hold nuclei that nobody marked."""


@dataclass(frozen=True)
class LabelledSlides:
    """Slides with their cells, parted into those to learn from and those to measure on."""

    train: tuple[tuple[SlideEntry, tuple[LabelledCell, ...]], ...]
    validation: tuple[tuple[SlideEntry, tuple[LabelledCell, ...]], ...]
    files: tuple[Path, ...]
    """manifest.csv and cells.csv, whose hashes a run records"""


def read_labelled(manifest: Path, *, validation: str, unused: Sequence[str]) -> LabelledSlides:
    """Read a manifest and the ``cells.csv`` beside it, and part them.

    Args:
        manifest: ``manifest.csv`` as `koilo data` writes it.
        validation: the split to measure on.
        unused: splits that are not touched; all other slides are learnt from.

    Raises:
        ManifestError: malformed, a case or picture in two parts, a split that differs from one of
            these by capitals alone, or nothing to learn from.
    """
    entries = read_manifest(manifest)
    _refuse_misspelt(manifest, entries, {validation, *unused})
    parts = [replace(e, split=_part(e.split, validation, unused)) for e in entries]
    refuse_leaks(parts, by=None)
    cases = [(entry.case_id, str(entry.split)) for entry in parts if entry.case_id]
    refuse_shared_groups([case for case, _ in cases], [split for _, split in cases], what="case")
    path = manifest.with_name("cells.csv")
    cells: dict[str, list[LabelledCell]] = {}
    for cell in read_cells(path, [entry.slide_id for entry in entries]):
        cells.setdefault(cell.slide_id, []).append(cell)
    train, held_out = (
        tuple((e, tuple(cells.get(e.slide_id, ()))) for e in parts if e.split == part)
        for part in ("train", "validation")
    )
    if not any(own for _, own in train):
        raise ManifestError(
            f"{manifest} leaves no labelled cell to learn from. Splits {validation!r} and "
            f"{', '.join(unused)!r} are held out. Check the split column and cells.csv."
        )
    return LabelledSlides(train, held_out, (manifest, path))


def _refuse_misspelt(manifest: Path, entries: Sequence[SlideEntry], held_out: set[str]) -> None:
    """Refuse ``Test`` where ``test`` is held out: it would be learnt from."""
    lowered = {name.lower() for name in held_out}
    near = {str(e.split) for e in entries if e.split and e.split.lower() in lowered} - held_out
    if near:
        raise ManifestError(
            f"{manifest} has split {', '.join(sorted(near))}, which would be learnt from. Held out "
            f"are {', '.join(sorted(held_out))}, spelt so. Mend the split column."
        )


def _part(split: str | None, validation: str, unused: Sequence[str]) -> str:
    if split in unused:
        return "unused"
    return "validation" if split == validation else "train"


def read_scenes(
    slides: Sequence[tuple[SlideEntry, tuple[LabelledCell, ...]]], *, mpp: float
) -> list[Scene]:
    """Fields whole, slides as windows around their cells, at ``mpp`` µm per pixel.

    Raises:
        ManifestError: a cell lies outside its slide.
        SlideError: a slide cannot be read or has no pixel size.
    """
    scenes = []
    for entry, cells in slides:
        with open_slide(entry.path, mpp=entry.mpp) as slide:
            refuse_outside(entry.slide_id, slide.dimensions, cells)
            for x_px0, y_px0, w_px0, h_px0 in _windows(slide, cells, mpp):
                size = round(w_px0 * _mpp(slide) / mpp), round(h_px0 * _mpp(slide) / mpp)
                rgb = slide.read_at_mpp((x_px0, y_px0), mpp, (max(size[0], 1), max(size[1], 1)))
                inside = [c for c in cells if _centred_in(c, x_px0, y_px0, w_px0, h_px0)]
                factor = _mpp(slide) / mpp
                boxes = [
                    ((c.x_px0 - x_px0) * factor, (c.y_px0 - y_px0) * factor,
                     c.w_px0 * factor, c.h_px0 * factor)
                    for c in inside
                ]  # fmt: skip
                positive = np.array([c.label != NEGATIVE for c in inside], dtype=bool)
                scenes.append(
                    Scene(
                        rgb,
                        mpp,
                        np.array(boxes, dtype=np.float32).reshape(-1, 4),
                        positive,
                        LESION_GROUND if positive.any() else NORMAL_GROUND,
                        entry.slide_id,
                    )
                )
    return scenes


def read_patches(
    slides: Sequence[tuple[SlideEntry, tuple[LabelledCell, ...]]],
    classes: Sequence[str],
    *,
    mpp: float,
    size_px: int,
    fine: bool = False,
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Patches uint8 (N, S, S, 3) around labelled cells, and their class numbers (N,).

    Args:
        slides: with their cells.
        classes: in their order.
        mpp: µm a pixel of the patches.
        size_px: side of a patch.
        fine: a cell's class is its ``fine`` one, not its ``label``.

    Raises:
        ManifestError: a label that is not in ``classes``, or a cell outside its slide.
        SlideError: a slide cannot be read or has no pixel size.
    """
    names = [[c.fine if fine else c.label for c in cells] for _, cells in slides]
    unknown = sorted({name for own in names for name in own} - set(classes))
    if unknown:
        raise ManifestError(
            f"Cells are labelled {', '.join(unknown)}. Allowed by --classes: {', '.join(classes)}. "
            "Add the class, or convert the set again with --labels."
        )
    patches, labels = [np.zeros((0, size_px, size_px, 3), np.uint8)], []
    for (entry, cells), own in zip(slides, names, strict=True):
        if not cells:
            continue
        centres_px0 = np.array([(c.x_px0 + c.w_px0 / 2, c.y_px0 + c.h_px0 / 2) for c in cells])
        with open_slide(entry.path, mpp=entry.mpp) as slide:
            refuse_outside(entry.slide_id, slide.dimensions, cells)
            patches.append(read_crops(slide, centres_px0, mpp, size_px))
        labels += [list(classes).index(name) for name in own]
    return np.concatenate(patches), np.array(labels, dtype=np.int64)


def refuse_other_leaves(slides: LabelledSlides, hierarchy: Hierarchy) -> None:
    """Refuse cells whose fine class is no leaf, or a leaf of another Bethesda class than theirs.

    Raises:
        ManifestError: naming the first of them.
    """
    homes = dict(zip(hierarchy.leaves, hierarchy.bethesda, strict=True))
    cells = [c for _, own in (*slides.train, *slides.validation) for c in own]
    wrong = [c for c in cells if homes.get(c.fine) not in fold_members(c.label)]
    if wrong:
        first = wrong[0]
        raise ManifestError(
            f"{slides.files[1]}: {len(wrong)} of {len(cells)} cells have no leaf of "
            f"{hierarchy.name} that fits their label, such as {first.fine!r} of a {first.label} "
            f"on {first.slide_id}. Allowed in column fine: {', '.join(hierarchy.leaves)}. Fill the "
            "column, or train without --hierarchy."
        )


def _windows(
    slide: Slide, cells: Sequence[LabelledCell], mpp: float
) -> Iterator[tuple[float, float, float, float]]:
    """The whole of a field, else grid squares that hold a cell: x, y, w, h in level-0 pixels."""
    width, height = slide.dimensions
    side = LARGEST_SCENE_PX * mpp / _mpp(slide)
    if max(width, height) <= side:
        yield 0, 0, width, height
        return
    places = {
        (int((c.x_px0 + c.w_px0 / 2) // side), int((c.y_px0 + c.h_px0 / 2) // side)) for c in cells
    }
    for column, row in sorted(places):
        yield column * side, row * side, side, side


def _centred_in(cell: LabelledCell, x: float, y: float, w: float, h: float) -> bool:
    return x <= cell.x_px0 + cell.w_px0 / 2 < x + w and y <= cell.y_px0 + cell.h_px0 / 2 < y + h


def _mpp(slide: Slide) -> float:
    if slide.mpp is None:
        raise ManifestError(
            f"{slide.path} has no pixel size (mpp). Training cuts cells in micrometres. Fill the "
            "manifest's mpp column, or convert the set again with --mpp."
        )
    return slide.mpp
