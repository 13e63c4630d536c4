"""Mendeley LBC (Hussain et al. 2019): 963 fields with one class each. Layout not verified.

The layout is read as it is described: four folders named after the classes, in words. We never saw
the set itself. It labels whole fields, no cells: the manifest has labels, ``cells.csv`` is empty.
"""

from __future__ import annotations

from pathlib import Path

from koilo.datasets.class_folders import label_of, pictures_by_class, refuse_unknown
from koilo.datasets.conversion import Conversion, SourceFacts, unique_ids
from koilo.manifest import SlideEntry

LABELS = {"NILM": "NILM", "LSIL": "LSIL", "HSIL": "HSIL", "SCC": "SCC"}
FOLDERS = {
    "Negative for Intraepithelial malignancy": "NILM",
    "Low squamous intra-epithelial lesion": "LSIL",
    "High squamous intra-epithelial lesion": "HSIL",
    "Squamous cell carcinoma": "SCC",
    "NILM": "NILM",
    "NL": "NILM",
    "LSIL": "LSIL",
    "HSIL": "HSIL",
    "SCC": "SCC",
}
NOTES = (
    "Mendeley LBC: layout not verified (read as described, never tried on the set itself)",
    "Mendeley LBC labels fields, no cells: cells.csv is empty",
    "Mendeley LBC names no patients (460 women, 963 fields): fields of one may part in a split",
)


def convert_mendeley_lbc(source: Path, facts: SourceFacts) -> Conversion:
    """One slide (a field) a picture, labelled as a whole. Layout not verified.

    Args:
        source: folder that holds the four class folders, at any depth.
        facts: labels that win over ours, and pixel size, which the set does not give.

    Raises:
        ManifestError: ``source`` has none of the folders, or a label is no class or of none.
    """
    refuse_unknown("Mendeley LBC", LABELS, facts.labels)
    found = pictures_by_class(
        source,
        FOLDERS,
        what="Mendeley LBC is four folders of fields.",
        suffixes={".jpg", ".jpeg", ".png", ".bmp"},
    )
    ids = unique_ids(path.relative_to(source).as_posix() for path in found)
    slides, n_left = [], 0
    for path, name in found.items():
        label = label_of(name, LABELS, facts.labels)
        if label is None:
            n_left += 1
            continue
        slides.append(
            SlideEntry(
                ids[path.relative_to(source).as_posix()],
                path.resolve(),
                centre=facts.centre or "Mendeley LBC",
                label=label,
                mpp=facts.mpp,
                preparation=facts.preparation,
            )
        )
    left = (f"{n_left} fields (ignored)",) if n_left else ()
    return Conversion(tuple(slides), (), left, NOTES)
