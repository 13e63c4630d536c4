"""The verb ``data bags``: cut the best cells of every slide of a manifest into one crop store.

A bundle's detector ranks the cells, as `koilo screen` would. Cells that ``cells.csv`` beside the
manifest labels give their label to the kept cell within 6 µm of them, one to one, or are cut
beside the bag where the detector missed them. What a slide gave is kept until the store is whole,
so that a run that was stopped reads no slide twice, unless its line or its cells were changed. A
slide that cannot be read, has no cell, or has labelled cells outside it is named and left out.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from koilo import __version__
from koilo.bundle import Bundle, load_bundle
from koilo.cells import read_crops
from koilo.config import fingerprint
from koilo.datasets import LabelledCell, read_cells, refuse_leaks, refuse_outside
from koilo.datasets.crop_store import CropStoreWriter, StoredCells, StoredSlide, refuse_slides
from koilo.detect import Detector, load_detector
from koilo.errors import ConfigError, ManifestError, OutputError
from koilo.files import ensure_folder, folder_lock, remove_file, sha256_text, write_bytes
from koilo.manifest import SlideEntry, read_manifest
from koilo.pipeline.find import OVERLAP_PX, find_cells
from koilo.pipeline.pixel_size import open_to_read
from koilo.pipeline.read import excluded_area
from koilo.pipeline.workers import Workers, open_workers, usable_cores
from koilo.progress import log, progress
from koilo.runtime import choose_device
from koilo.slides import tile_grid
from koilo.slides.foreground import foreground

MATCH_UM = 6.0
_PARTS = "parts"
_MOST_READERS = 8


@dataclass(frozen=True)
class BagsConfig:
    """Cut the best cells of a manifest's slides into a crop store."""

    manifest: Path = field(metadata={"positional": "one"})
    """manifest.csv with label and split; cells.csv beside it is used where there is one"""
    out: Path = field(metadata={"result": False})
    """folder of the store; a run that was stopped goes on"""
    model: str = "cytology"
    """bundle whose detector ranks the cells: a name or a folder"""
    top_k: int = 256
    """best cells kept of each slide"""
    crop_px: int = 128
    """side of the crops (the paper: not stated; a cell with its rim)"""
    mpp: float = 0.5
    """µm per pixel of the crops"""
    most_outside: int = 64
    """labelled cells that the detector missed, kept of each class and slide at most"""
    device: str = field(default="auto", metadata={"result": False})
    """auto, cpu or cuda"""
    workers: int = field(default=0, metadata={"result": False})
    """reader threads; 0 chooses by the machine"""

    def __post_init__(self) -> None:
        """Refuse what no store can have."""
        if self.top_k < 1 or self.crop_px < 8 or self.most_outside < 0:
            raise ConfigError(
                f"top_k {self.top_k}, crop_px {self.crop_px}, most_outside {self.most_outside}: "
                "allowed are 1, 8 and 0 or more. Correct the settings."
            )
        if not 0.05 <= self.mpp <= 4:
            raise ConfigError(f"mpp is {self.mpp:g}. Allowed: 0.05 to 4. Correct the pixel size.")


def bags(config: BagsConfig) -> int:
    """Cut the best cells of a manifest's slides into a crop store.

    Returns:
        exit status: 0, or 1 where a slide could not be read.

    Raises:
        ManifestError: the manifest or cells.csv is malformed, a label or split is unknown, a case
            or picture leaks, or no cell was found.
        BundleError: the bundle is missing or unfit.
        OutputError: ``config.out`` cannot be written or is in use.
    """
    entries = read_manifest(config.manifest)
    _refuse_slides(config.manifest, entries)
    cells = _labelled_cells(config.manifest, entries)
    device = choose_device(config.device)
    bundle = load_bundle(config.model)
    detector = load_detector(bundle, device)
    ensure_folder(config.out / _PARTS)
    key = fingerprint(config, bundle.sha256)
    parts: list[tuple[SlideEntry, dict[str, NDArray[Any]]]] = []
    n_failed = 0
    with folder_lock(config.out), open_workers(device) as workers:
        with progress("cutting cells", len(entries), unit="slides") as advance:
            for entry in entries:
                try:
                    parts.append((entry, _part(entry, cells, config, detector, workers, key)))
                except OutputError:
                    raise
                except Exception as error:  # whatever a file can provoke; the others go on
                    n_failed += 1
                    log.info("%s left out: %s", entry.slide_id, " ".join(str(error).split()))
                advance(1)
        _finish(config, parts, bundle)
        for entry in entries:
            remove_file(_part_path(config, entry))
        with suppress(OSError):  # where it holds something else, it stays
            (config.out / _PARTS).rmdir()
    return 1 if n_failed else 0


def _refuse_slides(manifest: Path, entries: Sequence[SlideEntry]) -> None:
    """Refuse what no store may hold, one picture in two splits too; say what has no split."""
    refuse_slides(manifest, [_stored(entry) for entry in entries])
    # A twin is another picture of the same cells, and may lie in the twin of its slide's split.
    shown = [replace(e, split=_stored(e).split.removesuffix("_twin")) for e in entries]
    refuse_leaks(shown, by=None)
    if without := [entry.slide_id for entry in entries if not entry.split]:
        log.info("%d slides have no split and are for train, such as %s", len(without), without[0])


def _labelled_cells(manifest: Path, entries: Sequence[SlideEntry]) -> dict[str, list[LabelledCell]]:
    path = manifest.with_name("cells.csv")
    if not path.exists():
        return {}
    found: dict[str, list[LabelledCell]] = {}
    for cell in read_cells(path, [entry.slide_id for entry in entries]):
        found.setdefault(cell.slide_id, []).append(cell)
    return found


def _part_path(config: BagsConfig, entry: SlideEntry) -> Path:
    return config.out / _PARTS / f"{entry.slide_id}.npz"


def _part(
    entry: SlideEntry,
    cells: dict[str, list[LabelledCell]],
    config: BagsConfig,
    detector: Detector,
    workers: Workers,
    key: str,
) -> dict[str, NDArray[Any]]:
    """What one slide gives: from an earlier run that knew the same of it, else read now."""
    path, own = _part_path(config, entry), cells.get(entry.slide_id, [])
    key = sha256_text(f"{key} {entry.path} {entry.mpp} {own}")
    try:
        with np.load(path) as stored:
            if str(stored["key"]) == key:
                return {name: stored[name] for name in stored if name != "key"}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        pass
    part = _read(entry, own, config, detector, workers)
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {"key": np.array(key), **part}
    np.savez(buffer, **arrays)
    write_bytes(path, buffer.getvalue())
    return part


def _read(
    entry: SlideEntry,
    cells: Sequence[LabelledCell],
    config: BagsConfig,
    detector: Detector,
    workers: Workers,
) -> dict[str, NDArray[Any]]:
    """Crops, ranks, scores and given labels of one slide: its bag first, then missed cells."""
    with open_to_read(entry, None, config.mpp) as slide:
        refuse_outside(entry.slide_id, slide.dimensions, cells)
        area = foreground(slide)
        tiles = tile_grid(
            slide, area, size_px=detector.tile_px, mpp=detector.mpp, overlap_px=OVERLAP_PX
        )
        found = find_cells(
            slide,
            tiles,
            detector,
            workers,
            top_k=config.top_k,
            measure=lambda tile, rgb: None,
            excluded_px0=excluded_area(area),
            threads=config.workers or min(usable_cores(), _MOST_READERS),
            advance=lambda amount: None,
        )
        centres = found.boxes_px0[:, :2] + found.boxes_px0[:, 2:] / 2  # (N, 2)
        given, missed = match_labels(cells, centres, float(slide.mpp or 1.0))
        outside = _some_of_each(missed, config.most_outside)
        places = [(c.x_px0 + c.w_px0 / 2, c.y_px0 + c.h_px0 / 2) for c in outside]
        every = np.concatenate([centres, np.array(places).reshape(-1, 2)])
        crops = read_crops(slide, every, config.mpp, config.crop_px)
    n_bag = len(centres)
    return {
        "crops": crops,
        "rank": np.concatenate([np.arange(n_bag), np.full(len(outside), -1)]),
        "score": np.concatenate([found.scores, np.zeros(len(outside), np.float32)]),
        "given": np.array([*given, *(cell.label for cell in outside)], dtype=np.str_),
    }


def match_labels(
    cells: Sequence[LabelledCell], centres_px0: NDArray[np.floating], mpp: float
) -> tuple[list[str], list[LabelledCell]]:
    """Give each labelled cell's label to the found cell within 6 µm of it, one to one.

    Returns:
        the label of each found cell, empty where it has none, and the cells that matched none.
    """
    given = [""] * len(centres_px0)
    if not cells or not len(centres_px0):
        return given, list(cells)
    points = np.array([(c.x_px0 + c.w_px0 / 2, c.y_px0 + c.h_px0 / 2) for c in cells])
    missed = set(range(len(cells)))
    away_um = np.linalg.norm(points[:, None] - centres_px0[None], axis=2) * mpp  # (M, N)
    rows, columns = linear_sum_assignment(np.where(away_um <= MATCH_UM, away_um, 1e6))
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if away_um[row, column] <= MATCH_UM:
            given[column] = cells[row].label
            missed.discard(row)
    return given, [cells[row] for row in sorted(missed)]


def _some_of_each(cells: Sequence[LabelledCell], most: int) -> list[LabelledCell]:
    """At most ``most`` cells of each label, spread evenly over their order."""
    by_label: dict[str, list[LabelledCell]] = {}
    for cell in cells:
        by_label.setdefault(cell.label, []).append(cell)
    return [
        own[int(place)]
        for own in by_label.values()
        for place in np.unique(np.linspace(0, len(own) - 1, min(most, len(own))).astype(int))
    ]


def _finish(
    config: BagsConfig,
    parts: Sequence[tuple[SlideEntry, dict[str, NDArray[Any]]]],
    bundle: Bundle,
) -> None:
    """Lay all parts into one store."""
    for entry, part in parts:
        if not len(part["rank"]):
            log.info("%s left out: no cell was found on it", entry.slide_id)
    parts = [(entry, part) for entry, part in parts if len(part["rank"])]
    if not parts:
        raise ManifestError(
            f"{config.manifest}: no slide gave a cell. At least one is needed. See what was left "
            "out above."
        )
    n_crops = sum(len(part["rank"]) for _, part in parts)
    writer = CropStoreWriter(config.out, n_crops=n_crops, crop_px=config.crop_px, mpp=config.mpp)
    start = 0
    for _, part in parts:
        writer.crops[start : start + len(part["rank"])] = part["crops"]
        start += len(part["rank"])
    cells = StoredCells(
        np.repeat([entry.slide_id for entry, _ in parts], [len(p["rank"]) for _, p in parts]),
        np.concatenate([part["rank"] for _, part in parts]),
        np.concatenate([part["score"] for _, part in parts]).astype(np.float32),
        np.concatenate([part["given"] for _, part in parts]),
        np.full(n_crops, "", dtype=np.str_),
    )
    facts = {
        "command": "koilo data bags",
        "koilo_version": __version__,
        "bundle_sha256": bundle.sha256,
        "detector_sha256": bundle.spec["sha256"]["detector.safetensors"],
        "top_k": config.top_k,
    }
    writer.finish([_stored(entry) for entry, _ in parts], cells, facts)
    log.info("%s: %d slides, %d crops", config.out, len(parts), n_crops)


def _stored(entry: SlideEntry) -> StoredSlide:
    return StoredSlide(
        entry.slide_id,
        entry.centre or "",
        entry.split or "train",
        entry.label or "",
        entry.twin_of or "",
        entry.case_id or "",
    )
