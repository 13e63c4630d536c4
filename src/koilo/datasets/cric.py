"""CRIC Cervix (Rezende et al. 2021, CC BY 4.0): its fields, its labelled cells, our folds.

Two layouts are read: the authors' (``classifications.csv`` or ``.json`` beside the images) and
koilo's own copy (``cells.csv`` with a column ``field``). Labels are points on nuclei; a detector
needs boxes, and the authors' 90 px square, 20.5 µm, is put around each point.

CRIC names no patients, and its field numbers run by case, so the folds of `cric_folds.csv` are of
whole contiguous blocks of fields. They were written down before any training.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from koilo.errors import ManifestError
from koilo.files import ensure_folder, write_text
from koilo.manifest import SlideEntry, write_manifest

CLASSES = ("NILM", "ASC-US", "LSIL", "ASC-H", "HSIL", "SCC")
CAMERA_MPP = 0.228
"""µm per pixel of the authors' images, from their paper; ±5 %."""
BOX_UM = 20.5
N_FOLDS = 3

_LABELS = {"Negative for intraepithelial lesion": "NILM", **{name: name for name in CLASSES}}
_IMAGE_FOLDERS = ("", "images", "fields")


@dataclass(frozen=True)
class CricCell:
    """A labelled nucleus: its centre in pixels of the field's image."""

    cell_id: str
    x_px0: float
    y_px0: float
    label: str


@dataclass(frozen=True)
class CricField:
    """One field: its image, pixel size, and labelled cells in the file's order."""

    field_id: int
    path: Path
    mpp: float
    cells: tuple[CricCell, ...]

    @property
    def block(self) -> int | None:
        """The contiguous block of fields it belongs to; None for a field outside our copy."""
        return cric_folds().get(self.field_id, (None, None))[0]

    @property
    def fold(self) -> int | None:
        """The cross-validation fold of its block; None for a field outside our copy."""
        return cric_folds().get(self.field_id, (None, None))[1]


@cache
def cric_folds() -> Mapping[int, tuple[int, int]]:
    """Field id to ``(block, fold)`` of the 189 fields that koilo's figures are made on."""
    text = files("koilo.datasets").joinpath("cric_folds.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {int(row["field_id"]): (int(row["block"]), int(row["fold"])) for row in rows}


def read_cric(source: Path) -> tuple[CricField, ...]:
    """Read CRIC from a folder in either layout, fields by ascending id.

    Args:
        source: folder with ``cells.csv``, ``classifications.csv`` or ``classifications.json``.

    Raises:
        ManifestError: no such file, a column or label that is not CRIC's, or an image missing.
    """
    fields: dict[int, list[CricCell]] = {}
    images: dict[int, tuple[str, float]] = {}
    path, rows = _rows(source)
    try:
        for row in rows:
            field_id = int(row["field_id"])
            images[field_id] = (str(row["image"]), float(row["mpp"]))
            cell = CricCell(
                str(row["cell_id"]), float(row["x"]), float(row["y"]), _LABELS[row["label"]]
            )
            fields.setdefault(field_id, []).append(cell)
    except (KeyError, TypeError, ValueError) as error:
        raise ManifestError(
            f"{path} is not CRIC's list of cells: {type(error).__name__} {error}. CRIC's six "
            "Bethesda classes and numeric places are allowed. Fetch the cell classification "
            "collection again."
        ) from error
    return tuple(
        CricField(field_id, _image(source, images[field_id][0]), images[field_id][1], tuple(cells))
        for field_id, cells in sorted(fields.items())
    )


def convert_cric(source: Path, out: Path) -> Path:
    """Write ``manifest.csv`` (one slide a field) and ``cells.csv`` beside it.

    ``case_id`` is the block, ``split`` the fold; ``label`` of a field is not given, since CRIC
    labels cells. Images stay where they are.

    Returns:
        the manifest's path.

    Raises:
        ManifestError: ``source`` is not CRIC.
        OutputError: ``out`` cannot be written.
    """
    fields = read_cric(source)
    ensure_folder(out)
    entries = [
        SlideEntry(
            slide_id=_slide_id(each),
            path=each.path.resolve(),
            case_id=None if each.block is None else f"cric-block-{each.block}",
            centre="CRIC",
            mpp=each.mpp,
            split=None if each.fold is None else f"fold-{each.fold}",
            preparation="conventional",
        )
        for each in fields
    ]
    write_manifest(out / "manifest.csv", entries)
    write_text(out / "cells.csv", _cells_csv(fields))
    return out / "manifest.csv"


def _slide_id(each: CricField) -> str:
    return f"cric-{each.field_id:03d}"


def _cells_csv(fields: Iterable[CricField]) -> str:
    lines = ["slide_id,x_px0,y_px0,w_px0,h_px0,label,block"]
    for each in fields:
        side = BOX_UM / each.mpp
        for cell in each.cells:
            left, top = cell.x_px0 - side / 2, cell.y_px0 - side / 2
            place = f"{left:.1f},{top:.1f},{side:.1f},{side:.1f}"
            block = "" if each.block is None else each.block
            lines.append(f"{_slide_id(each)},{place},{cell.label},{block}")
    return "\n".join(lines) + "\n"


def _rows(source: Path) -> tuple[Path, list[dict[str, Any]]]:
    """The list of cells, whichever file holds it, as rows of one form."""
    for name, read in (
        ("cells.csv", _own_rows),
        ("classifications.csv", _official_csv_rows),
        ("classifications.json", _official_json_rows),
    ):
        path = source / name
        if path.is_file():
            try:
                return path, read(path.read_text(encoding="utf-8-sig"))
            except (KeyError, TypeError, ValueError) as error:
                raise ManifestError(
                    f"{path} cannot be read as CRIC's list of cells: {type(error).__name__} "
                    f"{error}. Its own columns are expected. Fetch the collection again."
                ) from error
    raise ManifestError(
        f"{source} is not CRIC. A folder with cells.csv, classifications.csv or "
        "classifications.json and the images is expected. Name that folder."
    )


def _own_rows(text: str) -> list[dict[str, Any]]:
    return [
        {
            "field_id": row["field_id"],
            "image": row["field"],
            "cell_id": row["cell_id"],
            "label": row["bethesda"],
            "x": row["x_px"],
            "y": row["y_px"],
            "mpp": row["mpp"],
        }
        for row in csv.DictReader(text.splitlines())
    ]


def _official_csv_rows(text: str) -> list[dict[str, Any]]:
    rows = csv.DictReader(text.splitlines())
    return [_official_row(row, row["image_filename"], row) for row in rows]


def _official_json_rows(text: str) -> list[dict[str, Any]]:
    return [
        _official_row(image, image["image_name"], cell)
        for image in json.loads(text)
        for cell in image["classifications"]
    ]


def _official_row(image: Mapping[str, Any], name: str, cell: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "field_id": image["image_id"],
        "image": name,
        "cell_id": cell["cell_id"],
        "label": cell["bethesda_system"],
        "x": cell["nucleus_x"],
        "y": cell["nucleus_y"],
        "mpp": CAMERA_MPP,
    }


def _image(source: Path, name: str) -> Path:
    for folder in _IMAGE_FOLDERS:
        if (source / folder / name).is_file():
            return source / folder / name
    raise ManifestError(
        f"CRIC's image {name} is not in {source}. Every image that the list names is needed, in "
        "the folder itself, images/ or fields/. Fetch the collection again."
    )
