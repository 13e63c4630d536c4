"""SIPaKMeD (Plissiti et al. 2018): crops of single cells; free for research, to be cited.

Its classes are not Bethesda's: koilocytotic cells are LSIL; dyskeratotic ones are LSIL or worse,
which is kept as that fold; superficial-intermediate, parabasal and metaplastic are NILM.
Overlapping source fields share a ``group``, which is the case a split must keep together.
"""

from __future__ import annotations

import csv
from pathlib import Path

from koilo.datasets.cells_csv import LabelledCell, refuse
from koilo.datasets.class_folders import label_of, refuse_unknown
from koilo.datasets.conversion import Conversion, SourceFacts, require_folder, unique_ids
from koilo.errors import ManifestError
from koilo.manifest import SlideEntry
from koilo.slides import open_slide
from koilo.taxonomy import fold_name

LABELS = {
    "Superficial-Intermediate": "NILM",
    "Parabasal": "NILM",
    "Metaplastic": "NILM",
    "Koilocytotic": "LSIL",
    "Dyskeratotic": fold_name(("LSIL", "ASC-H", "HSIL", "SCC")),
}
_COLUMNS = ("image", "label", "group")


def convert_sipakmed(source: Path, facts: SourceFacts) -> Conversion:
    """One slide a crop, one cell a slide: its box is the whole crop.

    Args:
        source: folder with ``cells.csv`` (image, label, source_field, group) and the crops.
        facts: labels that win over ours, centre, and pixel size, which the set does not give.

    Raises:
        ManifestError: ``source`` is not this set, an image is missing, or a label is no class or
            of none.
    """
    require_folder(source, "SIPaKMeD is a folder with cells.csv and the crops it names.")
    path = source / "cells.csv"
    rows = _rows(path)
    ids = unique_ids(row["image"] for row in rows)
    problems = [
        f"row {number}: {row['image']} is missing or its label {row['label']!r} unknown"
        for number, row in enumerate(rows, start=2)
        if row["label"] not in LABELS or not (source / row["image"]).is_file()
    ]
    refuse(path, problems, f"Labels are {', '.join(LABELS)}; every image must be there.")
    refuse_unknown("SIPaKMeD", LABELS, facts.labels)
    slides, cells = [], []
    for row in rows:
        slide_id, image = ids[row["image"]], source / row["image"]
        label = label_of(row["label"], LABELS, facts.labels)
        if label is None:
            continue
        with open_slide(image) as slide:
            width, height = slide.dimensions
        slides.append(
            SlideEntry(
                slide_id,
                image.resolve(),
                case_id=f"sipakmed-{row['group']}",
                centre=facts.centre or "SIPaKMeD",
                label=label,
                mpp=facts.mpp,
                preparation=facts.preparation or "conventional",
            )
        )
        cells.append(LabelledCell(slide_id, 0, 0, width, height, label, row["group"]))
    n_left = len(rows) - len(cells)
    return Conversion(tuple(slides), tuple(cells), (f"{n_left} cells (ignored)",) if n_left else ())


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(
            f"{path} cannot be read ({error}). SIPaKMeD is a folder with cells.csv and crops. "
            "Name that folder."
        ) from error
    if not rows or any(row.get(name) is None for row in rows for name in _COLUMNS):
        raise ManifestError(
            f"{path} lacks columns or rows. SIPaKMeD's list has {', '.join(_COLUMNS)}. "
            "Name the folder of that set."
        )
    return rows
