"""Bags of cells: what one slide or field gives the head, and how several become one batch."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from koilo.errors import ManifestError
from koilo.files import write_bytes
from koilo.taxonomy import fold_members, most_severe

INPUTS = ("features", "log_p", "both")
"""What a head may read of a cell: features of the trunk, log p of the classes, or both."""

P_FLOOR = 1e-4
"""Probabilities are raised to this before the logarithm: half precision ends not far below."""


@dataclass(frozen=True)
class Bag:
    """The cells of one slide or field, best detection first."""

    bag_id: str
    x: NDArray[np.float32]
    """(N, D): what the head reads of each cell"""
    label: int
    """index in the slide classes"""


def head_inputs(
    features: NDArray[np.floating], probabilities: NDArray[np.floating], inputs: str
) -> NDArray[np.float32]:
    """What a head reads: (N, D), (N, C) or (N, D + C), float32.

    Args:
        features: (N, D), the cell trunk's features.
        probabilities: (N, C), of the cell classes.
        inputs: one of ``INPUTS``.
    """
    log_p = np.log(np.maximum(probabilities, P_FLOOR)).astype(np.float32)  # (N, C)
    if inputs == "log_p":
        return log_p
    plain = np.asarray(features, dtype=np.float32)  # (N, D)
    return plain if inputs == "features" else np.concatenate([plain, log_p], axis=1)


def collate(bags: Sequence[Bag]) -> tuple[Tensor, Tensor, Tensor]:
    """Pad bags to one batch: x (B, N, D) float32, mask (B, N) bool, labels (B,) int64.

    Raises:
        ValueError: no bag, or a bag without a cell.
    """
    if not bags or any(len(bag.x) == 0 for bag in bags):
        raise ValueError("every bag needs a cell; leave empty bags out of the batch")
    longest = max(len(bag.x) for bag in bags)
    x = torch.zeros(len(bags), longest, bags[0].x.shape[1])  # (B, N, D)
    mask = torch.zeros(len(bags), longest, dtype=torch.bool)  # (B, N)
    for row, bag in enumerate(bags):
        x[row, : len(bag.x)] = torch.from_numpy(np.ascontiguousarray(bag.x, dtype=np.float32))
        mask[row, : len(bag.x)] = True
    return x, mask, torch.tensor([bag.label for bag in bags])


@dataclass(frozen=True)
class BagSet:
    """Many bags over one table of cells: a cell that lies in several bags is held once.

    On disk an uncompressed ``.npz`` of the arrays named here, ``rows`` joined, with ``counts``.
    """

    features: NDArray[np.floating]
    """(M, D) of every cell; D may be 0 where only probabilities are known"""
    probabilities: NDArray[np.floating]
    """(M, C) of the cell classes"""
    rows: tuple[NDArray[np.int64], ...]
    """for each bag its cells' rows in the table, best detection first"""
    bag_ids: tuple[str, ...]
    labels: tuple[str, ...]
    """slide class by name"""
    splits: tuple[str, ...]
    """train, validation or test"""
    groups: tuple[str, ...]
    """case, block or centre: what must not lie in two splits"""

    def bags(self, inputs: str, classes: Sequence[str], split: str) -> list[Bag]:
        """The labelled bags of one split as a head reads them.

        A label counts as the class that contains it (HSIL as HSIL+SCC), one of several classes as
        its most severe.

        Raises:
            ManifestError: a label has no place in ``classes``, or a bag holds no cell.
        """
        chosen = [i for i, name in enumerate(self.splits) if name == split and self.labels[i]]
        numbers = {self.labels[i]: _class_number(self.labels[i], classes) for i in chosen}
        wrong = sorted(name for name, number in numbers.items() if number is None)
        empty = [self.bag_ids[i] for i in chosen if len(self.rows[i]) == 0]
        if wrong or empty:
            raise ManifestError(
                f"Bags of split {split} cannot be used: labels {', '.join(wrong) or 'fine'}; "
                f"without a cell: {', '.join(empty[:5]) or 'none'}. Allowed labels: "
                f"{', '.join(classes)}, and what they contain; every bag needs a cell. Correct "
                "--classes or the bag file."
            )
        x = head_inputs(self.features, self.probabilities, inputs)  # (M, D')
        return [
            Bag(self.bag_ids[i], x[self.rows[i]], int(numbers[self.labels[i]] or 0)) for i in chosen
        ]


def _class_number(label: str, classes: Sequence[str]) -> int | None:
    """Place of a label among slide classes; None where it has none."""
    if label in classes:
        return list(classes).index(label)
    try:
        for name in (label, most_severe(fold_members(label))):
            members = set(fold_members(name))
            homes = [i for i, each in enumerate(classes) if members <= set(fold_members(each))]
            if homes:
                return homes[0]
    except ValueError:  # one of them is no class of Bethesda's
        return None
    return None


def write_bags(path: Path, bags: BagSet) -> None:
    """Write a bag file; features in half precision.

    Raises:
        OutputError: the disk is full or the folder cannot be written.
    """
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {
        "features": bags.features.astype(np.float16),
        "probabilities": bags.probabilities.astype(np.float32),
        "rows": np.concatenate([np.zeros(0, np.int64), *bags.rows]),
        "counts": np.array([len(rows) for rows in bags.rows], dtype=np.int64),
    }
    for name in _TEXTS:
        arrays[name] = np.array(getattr(bags, name), dtype=np.str_)
    np.savez(buffer, **arrays)
    write_bytes(path, buffer.getvalue())


def read_bags(path: Path) -> BagSet:
    """Read a bag file.

    Raises:
        ManifestError: it is missing or damaged, its arrays do not fit each other, or a number is
            not finite.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            counts = arrays["counts"]
            rows = np.split(arrays["rows"], np.cumsum(counts)[:-1]) if len(counts) else []
            texts = {name: tuple(str(text) for text in arrays[name]) for name in _TEXTS}
            bags = BagSet(arrays["features"], arrays["probabilities"], tuple(rows), **texts)
        n_cells = len(bags.probabilities)
        fits = len(bags.features) == n_cells and all(len(t) == len(rows) for t in texts.values())
        if not fits or any(len(r) and not 0 <= r.min() <= r.max() < n_cells for r in rows):
            raise ValueError("its arrays do not fit each other")
        if not (np.isfinite(bags.features).all() and np.isfinite(bags.probabilities).all()):
            raise ValueError("a feature or probability is not finite")
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ManifestError(
            f"{path} is no bag file ({error}). Allowed: an .npz written by koilo. Check the path "
            "or make the bags again."
        ) from error
    return bags


_TEXTS = ("bag_ids", "labels", "splits", "groups")
