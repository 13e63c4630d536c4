"""The labelled cells of a training set: ``cells.csv`` beside its ``manifest.csv``."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from koilo.errors import ManifestError
from koilo.files import write_text
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
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(
            f"{path} cannot be read as a list of cells ({error}). It is a UTF-8 CSV with "
            f"{', '.join(_NEEDED)}. Check the file."
        ) from error
    rows = csv.DictReader(io.StringIO(text))
    missing = set(_NEEDED) - set(rows.fieldnames or ())
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
    if row["slide_id"] not in known:
        raise ValueError(f"slide {row['slide_id']!r} is not in the manifest")
    try:
        x, y, w, h = (float(row[name]) for name in _BOX)
    except (TypeError, ValueError):
        raise ValueError("its box is not four numbers") from None
    if not all(map(math.isfinite, (x, y, w, h))) or w <= 0 or h <= 0:
        raise ValueError(f"its box {x:g}, {y:g}, {w:g}, {h:g} has no area")
    fold_members(row["label"])
    more = (row.get("block") or "", row.get("fine") or "")
    return LabelledCell(row["slide_id"], x, y, w, h, row["label"], *more)
