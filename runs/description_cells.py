"""The cells that descriptions are learnt from and measured on: drawn ones, and CRIC's.

A drawn cell's texts are exact, for they follow from what was drawn. CRIC's readers gave a class and
no text: its cells say only which texts cannot be meant (those of other classes), and NILM's that
the cell is normal. What nobody said is unknown, not absent.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cric_cells import INPUT_PX, MPP, cached
from koilo.cells.crops import read_crops
from koilo.datasets.cric import CricField, read_cric
from koilo.phantom import draw_cells, draw_centre, training_bank
from koilo.phantom.patch import glass_of
from koilo.slides import open_slide
from koilo.taxonomy import CYTOLOGY, NEGATIVE, collapse, may_be_said, read_vocabulary

TEXTS = tuple(option.text for option in read_vocabulary())
SETS = {"train": (41, 24), "validation": (42, 6), "test": (43, 8)}
"""Seed of bank, world and crops, and number of centres: none of them is in two sets."""
CROPS_A_CENTRE = 250
BANK_CELLS = 900
MEASURES = (
    *("nucleus_um2", "nc_area", "contour", "nuclear_density", "halo_um2", "cell_um2", "n_nuclei"),
)

Cells = dict[str, np.ndarray]


def phantom_cells(work: Path, name: str) -> Cells:
    """Crops of a set with class, texts (N, T), measures and centre; drawn once."""
    return cached(work / f"phantom_{name}.npz", lambda: (draw(*SETS[name]),))[0]


def cric_cells(work: Path, data: Path) -> Cells:
    """CRIC's labelled cells with class, fold and block; cut once."""
    return cached(work / "cric.npz", lambda: (cut_cric(read_cric(data)),))[0]


def draw(seed: int, n_centres: int) -> Cells:
    bank = training_bank(seed, BANK_CELLS)
    crops, rows = [], []
    for index in range(n_centres):
        rng = np.random.default_rng([seed, index])
        centre = draw_centre(2000 + seed, index)
        drawn, truths = draw_cells(
            rng, centre, CYTOLOGY, mpp=MPP, size_px=INPUT_PX, n=CROPS_A_CENTRE, bank=bank
        )
        crops.append(drawn)
        for truth in truths:
            texts = collapse(truth.label, truth.descriptions)
            rows.append(
                {
                    "label": CYTOLOGY.index(truth.label),
                    "said": [text in texts for text in TEXTS],
                    "centre": index,
                    "kind": truth.kind,
                    "white": centre.white,
                    **{name: truth.measured[name] for name in MEASURES},
                }
            )
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return {"crop": np.concatenate(crops), **columns}


def cut_cric(fields: tuple[CricField, ...]) -> Cells:
    parts: list[Cells] = []
    for field in fields:
        centres = np.array([(cell.x_px0 + 0.5, cell.y_px0 + 0.5) for cell in field.cells])
        with open_slide(field.path, mpp=field.mpp) as slide:
            crops = read_crops(slide, centres, MPP, INPUT_PX)
            white = glass_of(slide)
        labels = [CYTOLOGY.index(cell.label) for cell in field.cells]
        n = len(labels)
        parts.append(
            {
                "crop": crops,
                "label": np.array(labels),
                "field_id": np.full(n, field.field_id),
                "fold": np.full(n, field.fold),
                "block": np.full(n, field.block),
                "white": np.repeat(white[None], n, axis=0),
            }
        )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def cric_targets(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What CRIC's classes say of each text: said (N, T) and known (N, T)."""
    said = np.zeros((len(labels), len(TEXTS)), bool)
    known = np.ones_like(said)
    for column, option in enumerate(read_vocabulary()):
        own = np.array([may_be_said(option, CYTOLOGY[label]) for label in labels])
        normal = np.array([CYTOLOGY[label] == NEGATIVE for label in labels])
        said[:, column] = own & normal
        known[:, column] = ~own | normal
    return said, known
