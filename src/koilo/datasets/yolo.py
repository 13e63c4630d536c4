"""Generic YOLO: a text file an image, each line ``class x y w h`` in shares of the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from koilo.datasets.cells_csv import LabelledCell, refuse
from koilo.datasets.conversion import (
    Conversion,
    SourceFacts,
    find_pictures,
    require_folder,
    unique_ids,
)
from koilo.datasets.labels import map_labels
from koilo.errors import ManifestError
from koilo.manifest import SlideEntry
from koilo.slides import open_slide

_SPLITS = {"train": "train", "val": "validation", "valid": "validation", "test": "test"}
_ALLOWED = "A line is: class number, centre x, centre y, width, height, all in 0-1 but the first."


def convert_yolo(source: Path, facts: SourceFacts) -> Conversion:
    """One slide an image, one cell a line.

    Args:
        source: folder with ``images/`` and ``labels/`` (or texts beside the images) and the class
            names in ``data.yaml`` (``names``) or ``classes.txt``. An image without a text has no
            cell. A folder named train, val or test on the way gives the split.
        facts: labels of classes that are not Bethesda's, and the pixel size.

    Raises:
        ManifestError: names or texts are malformed.
    """
    require_folder(source, "YOLO is a folder with images, labels and data.yaml or classes.txt.")
    names = _names(source)
    pictures = find_pictures(source)
    ids = unique_ids(pictures)
    lines = {relative: _lines(source, relative) for relative in pictures}
    problems = [
        f"{relative} line {number}: {line}"
        for relative, rows in lines.items()
        for number, line in enumerate(rows, start=1)
        if _parse(line, len(names)) is None
    ]
    refuse(source, problems, f"{_ALLOWED} Classes are 0 to {len(names) - 1}.")
    parsed = {
        relative: [row for line in rows if (row := _parse(line, len(names)))]
        for relative, rows in lines.items()
    }
    used = {names[row[0]] for rows in parsed.values() for row in rows}
    labels = map_labels(source, used, facts.labels)
    slides, cells, n_left = [], [], 0
    for relative, path in pictures.items():
        with open_slide(path) as slide:
            width, height = slide.dimensions
        slides.append(_slide(ids[relative], path, relative, facts))
        for number, x, y, w, h in parsed[relative]:
            label = labels[names[number]]
            if label is None:
                n_left += 1
                continue
            corner = ((x - w / 2) * width, (y - h / 2) * height)
            cells.append(LabelledCell(ids[relative], *corner, w * width, h * height, label))
    return Conversion(tuple(slides), tuple(cells), (f"{n_left} cells (ignored)",) if n_left else ())


def _slide(slide_id: str, path: Path, relative: str, facts: SourceFacts) -> SlideEntry:
    parts = [part.lower() for part in Path(relative).parts[:-1]]
    split = next((_SPLITS[part] for part in parts if part in _SPLITS), None)
    return SlideEntry(
        slide_id,
        path.resolve(),
        centre=facts.centre,
        mpp=facts.mpp,
        split=split,
        preparation=facts.preparation,
    )


def _names(source: Path) -> list[str]:
    """Class names by number, from data.yaml or classes.txt."""
    for file in ("data.yaml", "data.yml"):
        if (source / file).is_file():
            try:
                value: Any = yaml.safe_load((source / file).read_text(encoding="utf-8"))["names"]
                rows = value if isinstance(value, list) else [value[i] for i in range(len(value))]
                return [str(name) for name in rows]
            except (yaml.YAMLError, KeyError, TypeError) as error:
                raise ManifestError(
                    f"{source / file} names no classes ({error}). It needs names: a list, or "
                    "numbers from 0 with names. Mend the file."
                ) from error
    path = source / "classes.txt"
    if not path.is_file():
        raise ManifestError(
            f"{source} has neither data.yaml nor classes.txt. YOLO numbers its classes and one of "
            "these files names them. Add it."
        )
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _lines(source: Path, relative: str) -> list[str]:
    parts = list(Path(relative).with_suffix(".txt").parts)
    beside = source.joinpath(*parts)
    # The last "images" on the way becomes "labels", as YOLO's own loaders do it.
    places = [i for i, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    text = next((p for p in (source.joinpath(*parts), beside) if p.is_file()), None)
    if text is None:
        return []
    return [line for line in text.read_text(encoding="utf-8").splitlines() if line.strip()]


def _parse(line: str, n_classes: int) -> tuple[int, float, float, float, float] | None:
    """A line's class number and box, None where it is malformed."""
    try:
        number, x, y, w, h = line.split()[:5]
        values = float(x), float(y), float(w), float(h)
        index = int(number)
    except ValueError:
        return None
    inside = all(0 <= value <= 1 for value in values) and values[2] > 0 and values[3] > 0
    return (index, *values) if inside and 0 <= index < n_classes else None
