"""The labelled cells of a training set: ``cells.csv`` beside its ``manifest.csv``."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from koilo.errors import ManifestError
from koilo.files import read_csv_rows, write_text
from koilo.manifest import given_slide_id
from koilo.taxonomy import fold_members

COLUMNS = ("slide_id", "x_px0", "y_px0", "w_px0", "h_px0", "label", "block", "fine")
_NEEDED = COLUMNS[:6]
_BOX = COLUMNS[1:5]


@dataclass(frozen=True, slots=True)
class LabelledCell:
    """One labelled cell: its box in level-0 pixels and its Bethesda class or fold of classes."""

    slide_id: str
    x_px0: float
    y_px0: float
    w_px0: float
    h_px0: float
    label: str
    block: str = ""
    """what the cell must not be parted from by a split, where the slide alone does not say it"""
    fine: str = ""
    """leaf of a tree of classes (HiCervix's), where more is known than the Bethesda class"""


def read_cells(path: Path, slide_ids: Collection[str]) -> tuple[LabelledCell, ...]:
    """Read ``cells.csv``; every cell must lie on a slide of the manifest beside it.

    Raises:
        ManifestError: naming the rows that are wrong, in one line.
    """
    try:
        columns, rows = read_csv_rows(path)
    except (OSError, ValueError) as error:
        raise ManifestError(
            f"{path} cannot be read as a list of cells ({error}). It is a UTF-8 CSV with "
            f"{', '.join(_NEEDED)}. Check the file."
        ) from error
    missing = set(_NEEDED) - set(columns)
    if missing:
        raise ManifestError(
            f"{path} has no column {', '.join(sorted(missing))}. A list of cells needs "
            f"{', '.join(_NEEDED)}. Add what is missing."
        )
    known, cells, problems = set(slide_ids), [], []
    for number, row in enumerate(rows, start=2):
        try:
            cells.append(_cell(row, known))
        except ValueError as error:
            problems.append(f"row {number}: {error}")
    refuse(path, problems, "Every cell needs a box, a class and a slide of the manifest.")
    return tuple(cells)


def write_cells(path: Path, cells: Iterable[LabelledCell]) -> None:
    """Write ``cells.csv``; coordinates to a hundredth of a pixel."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for cell in cells:
        box = [f"{getattr(cell, name):.2f}" for name in _BOX]
        writer.writerow([cell.slide_id, *box, cell.label, cell.block, cell.fine])
    write_text(path, buffer.getvalue())


def refuse_outside(slide_id: str, size_px0: tuple[int, int], cells: Sequence[LabelledCell]) -> None:
    """Refuse cells whose middle lies outside their slide: they are another's, or not in level 0.

    Raises:
        ManifestError: naming how many, and the first.
    """
    width, height = size_px0
    outside = [
        cell
        for cell in cells
        if not 0 <= cell.x_px0 + cell.w_px0 / 2 <= width
        or not 0 <= cell.y_px0 + cell.h_px0 / 2 <= height
    ]
    if outside:
        raise ManifestError(
            f"{len(outside)} of the {len(cells)} labelled cells of {slide_id} lie outside its "
            f"{width} x {height} px, such as at {outside[0].x_px0:g}, {outside[0].y_px0:g}. "
            "Places are in pixels of level 0, from the top left. Mend cells.csv."
        )


def refuse(path: Path, problems: list[str], allowed: str) -> None:
    """Raise one ManifestError over all ``problems`` of a file, the first eight shown.

    Raises:
        ManifestError: where there is any problem.
    """
    if not problems:
        return
    more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
    raise ManifestError(f"{path}: {'; '.join(problems[:8])}{more}. {allowed} Mend the file.")


def _cell(row: dict[str, str], known: set[str]) -> LabelledCell:
    slide_id = given_slide_id(row)
    if slide_id not in known:
        raise ValueError(f"slide {slide_id!r} is not in the manifest")
    try:
        x, y, w, h = (float(row[name]) for name in _BOX)
    except ValueError:
        raise ValueError("its box is not four numbers") from None
    if not all(map(math.isfinite, (x, y, w, h))) or w <= 0 or h <= 0:
        raise ValueError(f"its box {x:g}, {y:g}, {w:g}, {h:g} has no area")
    label, block, fine = (row.get(name, "").strip() for name in ("label", "block", "fine"))
    fold_members(label)
    return LabelledCell(slide_id, x, y, w, h, label, block, fine)
