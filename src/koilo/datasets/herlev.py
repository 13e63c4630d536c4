"""Herlev (Jantzen et al. 2005): 917 crops of single cells in seven folders. Layout not verified.

The layout is read as it is described: seven folders of BMP pictures named after the classes, each
picture with a mask beside it whose name ends in ``-d``. We never saw the set itself.
Bethesda has two grades where Herlev has four: mild dysplasia is LSIL; moderate and severe
dysplasia and carcinoma in situ are HSIL. Normal columnar cells are NILM.
"""

from __future__ import annotations

from pathlib import Path

from koilo.datasets.cells_csv import LabelledCell
from koilo.datasets.class_folders import label_of, pictures_by_class, refuse_unknown
from koilo.datasets.conversion import Conversion, SourceFacts, unique_ids
from koilo.manifest import SlideEntry
from koilo.slides import open_slide

LABELS = {
    "normal_superficiel": "NILM",
    "normal_intermediate": "NILM",
    "normal_columnar": "NILM",
    "light_dysplastic": "LSIL",
    "moderate_dysplastic": "HSIL",
    "severe_dysplastic": "HSIL",
    "carcinoma_in_situ": "HSIL",
}
_SPELLINGS = {name: name for name in LABELS} | {"normal_superficial": "normal_superficiel"}

MPP = 0.201
"""µm a pixel by the set's technical report"""

NOTES = (
    "Herlev: layout not verified (read as described, never tried on the set itself)",
    f"Herlev: {MPP} µm a pixel by its report, where --mpp gives none",
    "Herlev names no patients: cells of one woman may part in a split",
)


def convert_herlev(source: Path, facts: SourceFacts) -> Conversion:
    """One slide a crop, one cell a slide: its box is the whole crop. Layout not verified.

    Args:
        source: folder that holds the seven class folders, at any depth.
        facts: labels that win over ours, pixel size, centre.

    Raises:
        ManifestError: ``source`` has none of the folders, or a label is no class or of none.
        SlideOpenError: a picture is damaged.
    """
    refuse_unknown("Herlev", LABELS, facts.labels)
    found = pictures_by_class(
        source,
        _SPELLINGS,
        what="Herlev is seven folders of single cells.",
        suffixes={".bmp", ".png"},
        not_ending="-d",
    )
    ids = unique_ids(path.relative_to(source).with_suffix("").as_posix() for path in found)
    slides, cells, n_left = [], [], 0
    for path, name in found.items():
        label = label_of(name, LABELS, facts.labels)
        if label is None:
            n_left += 1
            continue
        slide_id = ids[path.relative_to(source).with_suffix("").as_posix()]
        with open_slide(path) as picture:
            width, height = picture.dimensions
        slides.append(
            SlideEntry(
                slide_id,
                path.resolve(),
                centre=facts.centre or "Herlev",
                label=label,
                mpp=facts.mpp or MPP,
                preparation=facts.preparation or "conventional",
            )
        )
        cells.append(LabelledCell(slide_id, 0, 0, width, height, label))
    left = (f"{n_left} cells (ignored)",) if n_left else ()
    return Conversion(tuple(slides), tuple(cells), left, NOTES)
