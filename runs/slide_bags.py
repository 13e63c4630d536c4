"""Bags for the slide head from the cells that `cric_field_cells.py` kept: fields, composed slides.

A composed slide is a bag, not a picture: boxes of one fold's real fields, sorted by the detector's
score, as the best of a slide's cells are. Its normal cells come from fields without a lesion and
from nuclei labelled NILM elsewhere; its lesion cells are labelled lesion nuclei. A negative slide
holds none of them. All cells of a bag are of one fold, so that no cell lies on both sides of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koilo.datasets.cric import CLASSES

SLIDE_CLASSES = ("NILM", "ASC-US", "LSIL", "ASC-H", "HSIL+SCC")
LESIONS = CLASSES[1:]
TOP_K = 1024
LEAST_CELLS = 5

Table = dict[str, NDArray[Any]]


def slide_class(cell_class: str) -> str:
    return next(name for name in SLIDE_CLASSES if cell_class in name.split("+"))


@dataclass(frozen=True)
class Draw:
    """One bag: rows of the table, best detection first, and its class."""

    rows: NDArray[np.int64]
    label: str
    group: str
    """the block of a field; ``composed`` for a composed slide"""
    n_lesions: int = 0


def field_bags(table: Table, labels: dict[int, str], rows: NDArray[np.int64]) -> list[Draw]:
    """One bag a field, from the given rows of the table."""
    bags = []
    for field_id in np.unique(table["field_id"][rows]):
        mine = rows[table["field_id"][rows] == field_id]
        lesions = int((table["label"][mine] > 0).sum())
        block = f"block {int(table['block'][mine[0]])}"
        bags.append(Draw(_best(table, mine), slide_class(labels[int(field_id)]), block, lesions))
    return bags


def crop_bags(
    table: Table,
    cells: dict[int, NDArray[np.float64]],
    rows: NDArray[np.int64],
    n: int,
    rng: np.random.Generator,
) -> list[Draw]:
    """Bags of rectangles of fields: parts of a field with a lesion may hold none of it.

    Args:
        table: of `cric_field_cells.py`.
        cells: field id to its labelled nuclei (M, 3): x_px0, y_px0, class number.
        rows: rows of the table to draw from.
        n: bags wanted; rectangles with fewer than 5 boxes are passed over.
        rng: source of the draws.
    """
    fields = np.unique(table["field_id"][rows])
    bags: list[Draw] = []
    for _ in range(20 * n):
        if len(bags) == n:
            break
        field_id = int(rng.choice(fields))
        known = cells[field_id]
        mine = rows[table["field_id"][rows] == field_id]
        places = table["centre_px0"][mine]
        span = np.maximum(places.max(axis=0), known[:, :2].max(axis=0))
        size = span * rng.uniform(0.3, 0.9, 2)
        corner = rng.uniform(0, 1, 2) * (span - size)
        inside = ((places >= corner) & (places < corner + size)).all(axis=1)
        if inside.sum() < LEAST_CELLS:
            continue
        there = ((known[:, :2] >= corner) & (known[:, :2] < corner + size)).all(axis=1)
        worst = CLASSES[int(known[there, 2].max())] if there.any() else "NILM"
        block = f"block {int(table['block'][mine[0]])}"
        bags.append(Draw(_best(table, mine[inside]), slide_class(worst), block))
    return bags


def composed_bags(
    table: Table,
    negative_fields: Sequence[int],
    rows: NDArray[np.int64],
    n: int,
    rng: np.random.Generator,
    *,
    positive_share: float = 0.5,
) -> list[Draw]:
    """Composed slides of 100 to 1,024 cells with none, or one to sixty, lesion cells."""
    label, field_id = table["label"][rows], table["field_id"][rows]
    normal = rows[np.isin(field_id, negative_fields) | (label == 0)]
    lesions = {c: rows[label == c] for c in range(1, len(CLASSES)) if (label == c).sum() >= 2}
    bags = []
    for _ in range(n):
        size = round(float(np.exp(rng.uniform(np.log(100), np.log(TOP_K)))))
        if rng.random() >= positive_share:
            bags.append(Draw(_normals(table, normal, size, rng), "NILM", "composed"))
            continue
        worst = int(rng.choice(list(lesions)))
        chosen = _lesions(lesions, worst, rng)
        normals = _normals(table, normal, max(size - len(chosen), LEAST_CELLS), rng)
        both = _best(table, np.concatenate([normals, chosen]))
        bags.append(Draw(both, slide_class(CLASSES[worst]), "composed", len(chosen)))
    return bags


def _lesions(
    lesions: dict[int, NDArray[np.int64]], worst: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Two to sixty lesion cells of the slide's class, at times as many again of a milder one."""
    n = round(float(np.exp(rng.uniform(np.log(2), np.log(60)))))
    parts = [rng.choice(lesions[worst], min(n, len(lesions[worst])), replace=False)]
    milder = [c for c in lesions if c < worst]
    if milder and rng.random() < 0.5:
        pool = lesions[int(rng.choice(milder))]
        parts.append(rng.choice(pool, min(n, len(pool)), replace=False))
    return np.concatenate(parts)


def _normals(
    table: Table, normal: NDArray[np.int64], size: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """The best-scored ``size`` of a random part of the normal boxes: a slide shows its worst."""
    size = min(size, len(normal))
    n_seen = round(float(np.exp(rng.uniform(np.log(size), np.log(len(normal))))))
    return _best(table, rng.choice(normal, n_seen, replace=False))[:size]


def _best(table: Table, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return rows[np.argsort(-table["score"][rows], kind="stable")]
