"""ComparisonDetector (Liang et al. 2018): boxes of 11 classes on 7,410 fields. Layout not verified.

The layout is read as it is described: ``train.json`` and ``test.json`` in COCO's format with the
pictures in ``train/`` and ``test/``. We never saw the set itself.
Five of its classes are organisms or flora, no squamous cells; they are left out and counted, unless
``--labels`` says what they are to be.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from koilo.datasets.class_folders import refuse_unknown
from koilo.datasets.coco import read_coco
from koilo.datasets.conversion import Conversion, SourceFacts, require_folder
from koilo.datasets.labels import IGNORE
from koilo.errors import ManifestError

LABELS = {
    "ascus": "ASC-US",
    "asch": "ASC-H",
    "lsil": "LSIL",
    "hsil": "HSIL",
    "scc": "SCC",
    "agc": "AGC",
    "trichomonas": IGNORE,
    "candida": IGNORE,
    "flora": IGNORE,
    "herps": IGNORE,
    "actinomyces": IGNORE,
}
SPLITS = ("train", "test")
NOTES = (
    "ComparisonDetector: layout not verified (read as described, never tried on the set itself)",
    "ComparisonDetector names no patients: fields of one slide may lie in train and in test",
    "ComparisonDetector labels no negative cells: what has no box is unlabelled ground",
)


def convert_comparison_detector(source: Path, facts: SourceFacts) -> Conversion:
    """One slide a field, one cell a box; the set's own split is kept. Layout not verified.

    Args:
        source: folder with train.json, test.json, train/ and test/; one split alone will do.
        facts: labels that win over ours, and pixel size, which the set does not give.

    Raises:
        ManifestError: ``source`` is not this set.
    """
    require_folder(source, "ComparisonDetector is a folder with train.json and test.json.")
    there = [split for split in SPLITS if (source / f"{split}.json").is_file()]
    if not there:
        raise ManifestError(
            f"{source} holds neither train.json nor test.json. ComparisonDetector is these and the "
            "pictures in train/ and test/. Name the folder that holds them."
        )
    refuse_unknown("ComparisonDetector", LABELS, facts.labels)
    own = replace(facts, labels=LABELS | dict(facts.labels))
    own = replace(own, centre=facts.centre or "ComparisonDetector")
    slides, cells, left = [], [], []
    for split in there:
        part = read_coco(source / f"{split}.json", own, places=(split, ""))
        slides += [replace(s, slide_id=f"{split}__{s.slide_id}", split=split) for s in part.slides]
        cells += [replace(cell, slide_id=f"{split}__{cell.slide_id}") for cell in part.cells]
        left += [f"{split}: {note}" for note in part.left_out]
    return Conversion(tuple(slides), tuple(cells), tuple(left), NOTES)
