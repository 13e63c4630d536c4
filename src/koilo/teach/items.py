"""Labelled cells to ask about, from a crop store, a training set, or a list of pictures.

Only labels that somebody or something knows are asked: the truth of phantoms, the labels of a data
set. A list that a model wrote (`koilo classify`) is taken too, and the page says whose calls it
holds. Pictures are read when the cells were chosen: of a hundred thousand, forty are cut.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from koilo.datasets import read_cells
from koilo.datasets.crop_store import open_crop_store
from koilo.errors import ManifestError
from koilo.manifest import SlideEntry, read_manifest
from koilo.phantom.truth_files import read_truth_parquet
from koilo.slides import open_slide
from koilo.taxonomy import fold_members

Picture = NDArray[np.uint8]

SIDE_UM = 48.0
"""Width of what a question shows of a slide: a superficial cell fits in."""
CROP_MPP = 0.25
_LARGEST_PX = 1024


@dataclass(frozen=True)
class Item:
    """One labelled cell; its picture is read on demand."""

    name: str
    label: str
    read: Callable[[], Picture]
    """uint8 RGB (H, W, 3), the cell in the middle"""
    side_um: float | None = None
    """width of the picture; None where the pixel size is not known"""
    reasons: tuple[str, ...] = ()
    synthetic: str = ""
    """``phantom`` or ``composed`` where a program made the picture"""
    is_call: bool = False
    """True where the label is a model's own call and nobody's truth"""


def read_items(source: Path) -> tuple[Item, ...]:
    """The labelled cells of ``source``.

    Args:
        source: a crop store; a folder (or its manifest.csv) with cells.csv, as `koilo data` and
            `koilo phantom` write it; or a CSV with ``image, label`` and optionally ``reasons``
            (parted by ``;``), ``mpp``, ``synthetic``.

    Raises:
        ManifestError: it is none of these, or holds no labelled cell.
    """
    if (source / "store.json").is_file():
        items = _of_store(source)
    elif source.is_dir() and (source / "manifest.csv").is_file():
        items = _of_training_set(source / "manifest.csv")
    elif source.is_file() and (source.parent / "cells.csv").is_file() and source.suffix == ".csv":
        items = _of_training_set(source)
    elif source.is_file():
        items = _of_list(source)
    else:
        raise ManifestError(
            f"{source} is no gallery. Allowed: a crop store, a folder with manifest.csv and "
            "cells.csv, or a CSV with image and label. Check the path."
        )
    if not items:
        raise ManifestError(f"{source} holds no labelled cell. A quiz needs some. Label cells.")
    return tuple(items)


def _of_store(folder: Path) -> list[Item]:
    store = open_crop_store(folder)
    synthetic = "phantom" if store.facts.get("synthetic") else ""
    items = []
    for row in range(len(store.cells)):
        label = str(store.cells.truth[row] or store.cells.given[row])
        if label:
            name = f"{store.cells.slide_id[row]} row {row}"
            items.append(
                Item(
                    name,
                    label,
                    lambda row=row: np.array(store.crops[row]),  # type: ignore[misc]
                    side_um=store.crop_px * store.mpp,
                    synthetic=synthetic,
                )
            )
    return items


def _of_training_set(manifest: Path) -> list[Item]:
    """Cells of cells.csv; a phantom's truth beside it gives the descriptions."""
    slides = {entry.slide_id: entry for entry in read_manifest(manifest)}
    cells = read_cells(manifest.parent / "cells.csv", list(slides))
    synthetic = {name: _synthetic(entry) for name, entry in slides.items()}
    reasons = {name: _reasons(manifest.parent / "truth" / f"{name}.parquet") for name in slides}
    counted: dict[str, int] = dict.fromkeys(slides, 0)
    items = []
    for cell in cells:
        number = counted[cell.slide_id]
        counted[cell.slide_id] += 1
        known = reasons[cell.slide_id].get((number, cell.label), ())
        centre = cell.x_px0 + cell.w_px0 / 2, cell.y_px0 + cell.h_px0 / 2
        entry = slides[cell.slide_id]
        items.append(
            Item(
                f"{cell.slide_id} cell {number}",
                cell.label,
                lambda entry=entry, centre=centre: _cut(entry, centre),  # type: ignore[misc]
                side_um=SIDE_UM,
                reasons=known,
                synthetic=synthetic[cell.slide_id],
            )
        )
    return items


def _of_list(path: Path) -> list[Item]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} cannot be read as a gallery ({error}). Check it.") from error
    rows = csv.DictReader(io.StringIO(text))
    columns = rows.fieldnames or ()
    if not {"image", "label"} <= set(columns):
        raise ManifestError(
            f"{path} has no column image and label. A gallery is a CSV with both. Add them."
        )
    is_call = any(name.startswith("p_") for name in columns)
    items, problems = [], []
    for number, row in enumerate(rows, start=2):
        if not (row["image"] and row["label"]):
            continue  # `koilo classify` leaves the label of a picture empty that it could not read
        try:
            fold_members(row["label"])
            mpp = float(row["mpp"]) if row.get("mpp") else None
        except ValueError as error:
            problems.append(f"row {number}: {error}")
            continue
        reasons = tuple(part.strip() for part in (row.get("reasons") or "").split(";"))
        beside = path.parent / row["image"]
        picture = beside if beside.is_file() else Path(row["image"])
        items.append(
            Item(
                row["image"],
                row["label"],
                lambda picture=picture: _read_picture(picture),  # type: ignore[misc]
                side_um=_width_um(picture, mpp),
                reasons=tuple(filter(None, reasons)),
                synthetic=row.get("synthetic") or "",
                is_call=is_call,
            )
        )
    if problems:
        raise ManifestError(f"{path}: {'; '.join(problems[:8])}. Mend the file.")
    return items


def _cut(entry: SlideEntry, centre_px0: tuple[float, float]) -> Picture:
    side_px = round(SIDE_UM / CROP_MPP)
    with open_slide(entry.path, mpp=entry.mpp) as slide:
        half_px0 = side_px / 2 * slide.downsample_at(CROP_MPP)
        corner = centre_px0[0] - half_px0, centre_px0[1] - half_px0
        return slide.read_at_mpp(corner, CROP_MPP, (side_px, side_px))


def _synthetic(entry: SlideEntry) -> str:
    with open_slide(entry.path, mpp=entry.mpp) as slide:
        return slide.synthetic or ""


def _reasons(truth: Path) -> dict[tuple[int, str], tuple[str, ...]]:
    """A phantom's descriptions by the cell's place and label; empty where there is no truth."""
    if not truth.is_file():
        return {}
    cells = enumerate(read_truth_parquet(truth))
    return {(number, cell.label): cell.descriptions for number, cell in cells}


def _read_picture(path: Path) -> Picture:
    try:
        with Image.open(path) as image:
            image.thumbnail((_LARGEST_PX, _LARGEST_PX))
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError) as error:
        raise ManifestError(
            f"{path} cannot be read as a picture ({error}). PNG, JPEG and TIFF are. Mend the list."
        ) from error


def _width_um(path: Path, mpp: float | None) -> float | None:
    if mpp is None or not path.is_file():
        return None
    with Image.open(path) as image:
        return mpp * max(image.size)
