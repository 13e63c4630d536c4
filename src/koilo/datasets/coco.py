"""Generic COCO: one JSON of images, categories and boxes, with the pictures beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from koilo.datasets.cells_csv import LabelledCell, refuse
from koilo.datasets.conversion import Conversion, SourceFacts, unique_ids
from koilo.datasets.labels import map_labels
from koilo.errors import ManifestError
from koilo.manifest import SlideEntry

_ALLOWED = "COCO has images, categories and annotations with bbox [x, y, w, h]."


def convert_coco(source: Path, facts: SourceFacts) -> Conversion:
    """One slide an image of the JSON, one cell an annotation.

    Args:
        source: the JSON, or a folder that holds exactly one. Pictures lie beside it or in
            ``images/``. An image may carry ``mpp`` and ``case_id``.
        facts: labels of categories that are not Bethesda's, and the pixel size.

    Raises:
        ManifestError: the JSON is not COCO, or names a picture that is not there.
    """
    return read_coco(_find_json(source), facts, places=("", "images"))


def read_coco(path: Path, facts: SourceFacts, *, places: Sequence[str]) -> Conversion:
    """Convert one COCO JSON.

    Args:
        path: the JSON.
        facts: labels of categories that are not Bethesda's, and the pixel size.
        places: folders beside the JSON in which pictures are looked for, in order.

    Raises:
        ManifestError: the JSON is not COCO, or names a picture that is not there.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        names = {row["id"]: str(row["name"]) for row in value["categories"]}
        images = {row["id"]: row for row in value["images"]}
        annotations = list(value["annotations"])
        files = {key: str(row["file_name"]) for key, row in images.items()}
        used = {names[row["category_id"]] for row in annotations}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ManifestError(
            f"{path} is not COCO ({type(error).__name__}: {error}). {_ALLOWED} Check the file."
        ) from error
    labels = map_labels(path, used, facts.labels)
    pictures = {
        key: _picture([path.parent / place for place in places], file)
        for key, file in files.items()
    }
    missing = [f"{files[key]} is not there" for key, picture in pictures.items() if not picture]
    refuse(path, missing, f"Pictures lie in {' or '.join(p or 'its folder' for p in places)}.")
    ids = dict(zip(files, unique_ids_of(list(files.values())), strict=True))
    slides = tuple(
        _slide(ids[key], picture, images[key], facts)
        for key, picture in pictures.items()
        if picture
    )
    cells, problems = [], []
    for row in annotations:
        label = labels[names[row["category_id"]]]
        box = _box(row)
        if row.get("image_id") not in ids or box is None:
            problems.append(f"annotation {row.get('id')} has no image or no box with an area")
        elif label is not None:
            cells.append(LabelledCell(ids[row["image_id"]], *box, label))
    refuse(path, problems, _ALLOWED)
    n_left = len(annotations) - len(cells)
    return Conversion(slides, tuple(cells), (f"{n_left} cells (ignored)",) if n_left else ())


def unique_ids_of(files: list[str]) -> list[str]:
    """A slide id for each file name, in order; the same file twice is refused.

    Raises:
        ManifestError: a file name stands twice.
    """
    twice = sorted({file for file in files if files.count(file) > 1})
    if twice:
        raise ManifestError(
            f"The image {twice[0]} stands twice in the JSON. Every image stands once. "
            "Merge its entries."
        )
    return list(unique_ids(files).values())


def _find_json(source: Path) -> Path:
    if source.is_file():
        return source
    found = sorted(source.glob("*.json")) if source.is_dir() else []
    if len(found) != 1:
        raise ManifestError(
            f"{source} holds {len(found)} JSON files. COCO is one JSON with its pictures beside "
            "it or in images/. Name the JSON itself."
        )
    return found[0]


def _picture(folders: Sequence[Path], file: str) -> Path | None:
    for folder in folders:
        if (folder / file).exists():
            return (folder / file).resolve()
    return None


def _slide(
    slide_id: str, picture: Path, image: Mapping[str, Any], facts: SourceFacts
) -> SlideEntry:
    mpp = image.get("mpp", facts.mpp)
    case_id = image.get("case_id")
    return SlideEntry(
        slide_id,
        picture,
        case_id=None if case_id is None else str(case_id),
        centre=facts.centre,
        mpp=None if mpp is None else float(mpp),
        preparation=facts.preparation,
    )


def _box(row: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    try:
        x, y, w, h = (float(value) for value in row["bbox"])
    except (KeyError, TypeError, ValueError):
        return None
    return (x, y, w, h) if all(map(math.isfinite, (x, y, w, h))) and w > 0 and h > 0 else None
