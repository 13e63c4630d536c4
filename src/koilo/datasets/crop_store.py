"""A crop store: the best cells of many slides as pictures, cut once and read many times.

End-to-end training visits each slide hundreds of times; cutting its cells out of the slide at each
step would keep the model waiting. A store is a folder:

    store.json      format, mpp, crop_px, where it came from; written last: it makes the store whole
    manifest.csv    one row a slide: slide_id, centre, split, label, twin_of, case_id
    crops.npy       uint8 (N, P, P, 3), memory-mapped
    cells.parquet   one row a crop, in the same order: slide_id, rank, detector_score, given, truth

A slide's bag are its crops of rank 0, 1, 2 … (best detection first), in consecutive rows. A crop of
rank -1 is a labelled cell outside its slide's bag. ``given`` is the label that a learner may see,
``truth`` what the cell is where that is known (phantoms); both are empty where there is none.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from koilo.datasets.splits import refuse_shared_groups
from koilo.errors import ManifestError
from koilo.files import (
    atomic_path,
    ensure_folder,
    output_errors,
    read_csv_rows,
    remove_file,
    write_json,
    write_text,
)
from koilo.taxonomy import fold_members

FORMAT = 1
SPLITS = ("train", "validation", "test", "unseen", "unseen_twin")
"""What a slide of a store is for; ``unseen``: of centres that no training slide comes from."""
_PART, _WHOLE = "crops.part.npy", "crops.npy"


@dataclass(frozen=True)
class StoredSlide:
    """One slide of a store; ``twin_of`` names the slide whose cells it shows in other colours."""

    slide_id: str
    centre: str
    split: str
    label: str
    twin_of: str = ""
    case_id: str = ""


@dataclass(frozen=True)
class StoredCells:
    """What is known of the crops, one entry a crop in their order."""

    slide_id: NDArray[np.str_]
    rank: NDArray[np.int64]
    detector_score: NDArray[np.float32]
    given: NDArray[np.str_]
    truth: NDArray[np.str_]

    def __len__(self) -> int:
        """Number of crops."""
        return len(self.rank)


@dataclass(frozen=True)
class CropStore:
    """An open store: crops stay on disk until they are asked for."""

    folder: Path
    mpp: float
    crop_px: int
    facts: Mapping[str, Any]
    """where it came from: seed, command, version, ``synthetic``"""
    slides: tuple[StoredSlide, ...]
    cells: StoredCells
    crops: NDArray[np.uint8]

    def of_split(self, *splits: str) -> tuple[StoredSlide, ...]:
        """The slides of the given splits, in the order of the manifest."""
        return tuple(slide for slide in self.slides if slide.split in splits)

    def bag(self, slide_id: str, top_k: int | None = None) -> NDArray[np.int64]:
        """Rows of a slide's bag, best detection first; empty where it has no cell."""
        first, last = self._bags.get(slide_id, (0, 0))
        rows = np.arange(first, last)
        return rows if top_k is None else rows[:top_k]

    def labelled(self, *splits: str) -> NDArray[np.int64]:
        """Rows of the cells of these splits that carry a given label."""
        chosen = [slide.slide_id for slide in self.of_split(*splits)]
        return np.flatnonzero((self.cells.given != "") & np.isin(self.cells.slide_id, chosen))

    @cached_property
    def _bags(self) -> dict[str, tuple[int, int]]:
        rows = np.flatnonzero(self.cells.rank >= 0)
        names, first, counts = np.unique(
            self.cells.slide_id[rows], return_index=True, return_counts=True
        )
        starts = rows[first]
        return {
            str(name): (int(start), int(start + count))
            for name, start, count in zip(names, starts, counts, strict=True)
        }


class CropStoreWriter:
    """A store in the making: crops are laid in place in any order, and ``finish`` makes it whole.

    Until then the crops lie in ``crops.part.npy``; a writer for the same number and size of crops
    goes on with that file, so that a killed run may keep what it has drawn. ``begun_anew`` says
    that there was none: whatever a run remembers to have drawn is not in it.
    """

    def __init__(self, folder: Path, *, n_crops: int, crop_px: int, mpp: float) -> None:
        """Reserve the room for the crops.

        Raises:
            OutputError: the folder cannot be written, or the disk is full.
        """
        ensure_folder(folder)
        self.folder, self.crop_px, self.mpp = folder, crop_px, mpp
        self.part = folder / _PART
        shape = (n_crops, crop_px, crop_px, 3)
        with output_errors(self.part):
            if _left_by_a_killed_finish(folder):
                (folder / _WHOLE).replace(self.part)
            self.begun_anew = not _has_shape(self.part, shape)
            if self.begun_anew:
                with atomic_path(self.part) as path:
                    np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
                    _reserve(path)
            self.crops = np.lib.format.open_memmap(self.part, mode="r+")

    def finish(
        self, slides: Sequence[StoredSlide], cells: StoredCells, facts: Mapping[str, Any]
    ) -> CropStore:
        """Write everything else, give the files their final names, and open the store.

        Raises:
            ManifestError: slides and cells do not fit each other.
            OutputError: the disk is full.
        """
        _check(self.folder, slides, cells, len(self.crops))
        remove_file(self.folder / "store.json")  # of a store that this one takes the place of
        with output_errors(self.part):
            self.crops.flush()
        _write_slides(self.folder / "manifest.csv", slides)
        columns = {each.name: pa.array(getattr(cells, each.name)) for each in fields(StoredCells)}
        with atomic_path(self.folder / "cells.parquet") as path:
            pq.write_table(pa.table(columns), path, compression="zstd")
        with output_errors(self.part):
            self.part.replace(self.folder / _WHOLE)
        about = {"format": FORMAT, "mpp": self.mpp, "crop_px": self.crop_px, "facts": dict(facts)}
        write_json(self.folder / "store.json", about)
        return open_crop_store(self.folder)


def open_crop_store(folder: Path) -> CropStore:
    """Open a store and prove that its files fit each other.

    Raises:
        ManifestError: there is no whole store, its files do not fit each other, a slide label is
            not of the Bethesda classes, a split is unknown, or a case lies in two splits.
    """
    try:
        about = json.loads((folder / "store.json").read_text(encoding="utf-8"))
        if about["format"] != FORMAT:
            raise ValueError(f"its format is {about['format']}, this version reads {FORMAT}")
        slides = _read_slides(folder / "manifest.csv")
        table = pq.read_table(folder / "cells.parquet")
        cells = StoredCells(
            **{each.name: _column(table, each.name) for each in fields(StoredCells)}
        )
        crops = np.load(folder / _WHOLE, mmap_mode="r")
        mpp, crop_px, facts = float(about["mpp"]), int(about["crop_px"]), about["facts"]
        if crops.shape[1:] != (crop_px, crop_px, 3) or crops.dtype != np.uint8:
            raise ValueError(f"crops.npy is {crops.dtype} {crops.shape}")
    except (
        OSError, EOFError, KeyError, TypeError, ValueError, csv.Error, pa.ArrowException,
    ) as error:  # fmt: skip
        raise ManifestError(
            f"{folder} is no whole crop store ({error}). Allowed: a folder that `koilo data bags` "
            "or runs/cohort.sh finished. Check the path or make it again."
        ) from error
    _check(folder, slides, cells, len(crops))
    return CropStore(folder, mpp, crop_px, facts, slides, cells, crops)


def refuse_slides(source: Path, slides: Sequence[StoredSlide]) -> None:
    """Refuse slides that no store may hold, all in one line.

    Raises:
        ManifestError: a slide stands twice, a label is not of the Bethesda classes, a split is
            unknown, or a case lies in two splits.
    """
    known = [slide.slide_id for slide in slides]
    problems = ["a slide stands twice"] if len(set(known)) < len(known) else []
    problems += _wrong_labels(slide.label for slide in slides if slide.label)
    if strange := sorted({slide.split for slide in slides} - set(SPLITS)):
        problems.append(f"split {', '.join(strange)} (allowed: {', '.join(SPLITS)})")
    if problems:
        raise ManifestError(f"{source}: {'; '.join(problems)}. Correct the manifest.")
    groups = [slide.case_id or slide.twin_of or slide.slide_id for slide in slides]
    splits = [slide.split.removesuffix("_twin") for slide in slides]
    refuse_shared_groups(groups, splits, what="case")


def _check(folder: Path, slides: Sequence[StoredSlide], cells: StoredCells, n_crops: int) -> None:
    """Refuse what no learner may be given, all in one line."""
    refuse_slides(folder / "manifest.csv", slides)
    problems: list[str] = []
    known = {slide.slide_id for slide in slides}
    lengths = {len(getattr(cells, each.name)) for each in fields(StoredCells)}
    if lengths != {n_crops}:
        rows = " or ".join(map(str, sorted(lengths)))
        raise ManifestError(
            f"{folder} is no sound crop store: {n_crops} crops and {rows} rows of cells. There is "
            "one row a crop. Make the store again."
        )
    if strangers := sorted(set(np.unique(cells.slide_id).tolist()) - known):
        problems.append(f"cells of slides that the manifest lacks: {', '.join(strangers[:5])}")
    if not _in_order(cells):
        problems.append("a bag's rows do not follow each other by rank")
    problems += _wrong_labels(set(np.unique(cells.given).tolist()) - {""})
    if problems:
        raise ManifestError(
            f"{folder} is no sound crop store: {'; '.join(problems)}. Make the store again."
        )


def _in_order(cells: StoredCells) -> bool:
    """Whether each bag lies in consecutive rows, ranks counting up from 0."""
    ranked = cells.rank >= 0
    rank, name = cells.rank[ranked], cells.slide_id[ranked]
    if not len(rank):
        return True
    starts = np.flatnonzero(rank == 0)
    follows = (
        (np.diff(rank) == 1) & (name[1:] == name[:-1]) & (np.diff(np.flatnonzero(ranked)) == 1)
    )
    begins = rank[1:] == 0
    return bool(rank[0] == 0 and (follows | begins).all() and len(set(name[starts])) == len(starts))


def _wrong_labels(labels: Iterable[str]) -> list[str]:
    """What is wrong with each of the labels that is none of the Bethesda classes."""
    problems = []
    for label in sorted(set(labels)):
        try:
            fold_members(label)
        except ValueError as error:
            problems.append(f"label {label!r}: {str(error).rstrip('.')}")
    return problems


def _write_slides(path: Path, slides: Sequence[StoredSlide]) -> None:
    names = [each.name for each in fields(StoredSlide)]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([getattr(slide, name) for name in names] for slide in slides)
    write_text(path, buffer.getvalue())


def _read_slides(path: Path) -> tuple[StoredSlide, ...]:
    names = [each.name for each in fields(StoredSlide)]
    _, rows = read_csv_rows(path)
    return tuple(StoredSlide(**{name: row.get(name, "") for name in names}) for row in rows)


def _column(table: pa.Table, name: str) -> Any:
    values = table[name].to_numpy()
    return values.astype(np.str_) if values.dtype == object else values


def _has_shape(path: Path, shape: tuple[int, ...]) -> bool:
    try:
        stored = np.load(path, mmap_mode="r")
    except (OSError, EOFError, ValueError):
        return False
    return stored.shape == shape and stored.dtype == np.uint8


def _left_by_a_killed_finish(folder: Path) -> bool:
    """Whether the crops have their final name, but the store was not made whole."""
    return (folder / _WHOLE).exists() and not any(
        (folder / name).exists() for name in (_PART, "store.json")
    )


def _reserve(path: Path) -> None:
    """Take the file's whole room now: a full disk would later kill whoever writes to its map."""
    if hasattr(os, "posix_fallocate"):  # not on macOS and Windows
        with open(path, "rb+") as handle:
            os.posix_fallocate(handle.fileno(), 0, path.stat().st_size)
