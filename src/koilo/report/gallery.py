"""Which cells a report shows, in what order, and the numbers that tie them to the overview."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koilo.report.outline import outline_path
from koilo.report.pictures import CROP_SIDE_PX, jpeg_uri
from koilo.taxonomy import NEGATIVE
from koilo.types import Cell

MOST_CROPS = 48

SAME_PLACE = 0.45
"""Boxes whose centres are nearer than this share of the smaller side (some 9 µm) show one place.

The detector may keep a large nucleus twice, and a reader has no use for the same picture again; a
neighbour this near is in the picture anyway.
"""


@dataclass(frozen=True, slots=True)
class ShownCell:
    """One cell of the gallery; ``number`` is its mark on the overview."""

    number: int
    rank: int
    cell: Cell
    p_label: float | None
    p_positive: float
    picture: str
    outline: str = ""
    """SVG path in the unit square round what speaks most for a lesion; empty: not drawn"""


@dataclass(frozen=True, slots=True)
class Group:
    """The cells of one class, likeliest first; ``n_kept`` counts those not shown, too."""

    label: str
    n_kept: int
    cells: tuple[ShownCell, ...]


def shown_cells(cells: Sequence[Cell], n_pictured: int) -> tuple[int, ...]:
    """Rows of the cells that a gallery shows, most suspicious first: only these need an outline.

    Args:
        cells: of the slide, best detector score first.
        n_pictured: how many of the first have a picture.
    """
    order = sorted(range(n_pictured), key=lambda i: _suspicion(cells[i]), reverse=True)
    return tuple(_of_different_places(cells, order))


def build_gallery(
    cells: Sequence[Cell],
    crops: Sequence[NDArray[np.uint8]],
    class_order: Sequence[str],
    lesion_maps: Mapping[int, NDArray[np.floating]] | None = None,
) -> tuple[Group, ...]:
    """Group the pictured cells by class and number them as they are shown.

    The gravest class comes first, and within a class the cell with the highest p of it. Where
    there are more than ``MOST_CROPS`` pictures, the cells with the highest p of any class but NILM
    are shown; of several boxes on one place the most suspicious alone.

    Args:
        cells: of the slide, best detector score first.
        crops: uint8 (P, P, 3), aligned with the first cells.
        class_order: the cell head's classes, NILM first.
        lesion_maps: row of a cell to where its crop looks like a lesion (P, P), for an outline.

    Raises:
        ValueError: there are more crops than cells.
    """
    if len(crops) > len(cells):
        raise ValueError(
            f"There are {len(crops)} crops for {len(cells)} cells. "
            "Crops are aligned with the first cells, one each."
        )
    maps = lesion_maps or {}
    shown: dict[str, list[int]] = {}
    for index in shown_cells(cells, len(crops)):
        shown.setdefault(cells[index].label, []).append(index)
    kept = Counter(cell.label for cell in cells)
    groups, number = [], 0
    for label in sorted(shown, key=lambda label: _gravity(label, class_order), reverse=True):
        members = []
        for index in sorted(shown[label], key=lambda i: -cells[i].probabilities.get(label, 0.0)):
            number += 1
            picture = jpeg_uri(crops[index], side_px=CROP_SIDE_PX)
            outline = outline_path(maps[index]) if index in maps else ""
            members.append(_shown(number, index + 1, cells[index], picture, outline))
        groups.append(Group(label, kept[label], tuple(members)))
    return tuple(groups)


def shown_again(groups: Sequence[Mapping[str, Any]], cells: Sequence[Cell]) -> tuple[Group, ...]:
    """The gallery as it was built once, from the ranks and pictures that were kept of it.

    Raises:
        IndexError: a rank lies beyond the cells: they are another result's.
    """
    made, number = [], 0
    for group in groups:
        members = []
        for shown in group["cells"]:
            number += 1
            rank = int(shown["rank"])
            picture, outline = str(shown["picture"]), str(shown["outline"])
            members.append(_shown(number, rank, cells[rank - 1], picture, outline))
        made.append(Group(str(group["label"]), int(group["n_kept"]), tuple(members)))
    return tuple(made)


def _of_different_places(cells: Sequence[Cell], order: Sequence[int]) -> list[int]:
    """The indices in ``order`` whose place no earlier one shows."""
    chosen: list[int] = []
    for index in order:
        if len(chosen) == MOST_CROPS:
            break
        if not any(_same_place(cells[index], cells[other]) for other in chosen):
            chosen.append(index)
    return chosen


def _same_place(a: Cell, b: Cell) -> bool:
    dx = (a.x_px0 + a.w_px0 / 2) - (b.x_px0 + b.w_px0 / 2)
    dy = (a.y_px0 + a.h_px0 / 2) - (b.y_px0 + b.h_px0 / 2)
    smaller = min(a.w_px0, a.h_px0, b.w_px0, b.h_px0)
    return bool(dx * dx + dy * dy < (SAME_PLACE * smaller) ** 2)


def class_counts(cells: Sequence[Cell], class_order: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """How many of the kept cells the cell classifier gave each class, gravest first."""
    kept = Counter(cell.label for cell in cells)
    order = sorted(kept, key=lambda label: _gravity(label, class_order), reverse=True)
    return tuple((label, kept[label]) for label in order)


def p_positive(cell: Cell) -> float:
    """1 − p(NILM); the detector's score where the cell has no class probabilities."""
    negative = cell.probabilities.get(NEGATIVE)
    return cell.detector_score if negative is None else 1.0 - negative


def _shown(number: int, rank: int, cell: Cell, picture: str, outline: str) -> ShownCell:
    return ShownCell(
        number=number,
        rank=rank,
        cell=cell,
        p_label=cell.probabilities.get(cell.label),
        p_positive=p_positive(cell),
        picture=picture,
        outline=outline,
    )


def _suspicion(cell: Cell) -> tuple[float, float]:
    return p_positive(cell), cell.detector_score


def _gravity(label: str, class_order: Sequence[str]) -> tuple[int, str]:
    """Place in the class list; an unknown label stands above NILM and below the rest."""
    return (class_order.index(label) * 2 if label in class_order else 1), label
