"""A crop store of coloured squares: lesion cells are dark in the middle, NILM cells are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from koilo.datasets.crop_store import CropStore, CropStoreWriter, StoredCells, StoredSlide

SIDE = 32
CELLS_A_SLIDE = 6
LABELS = ("NILM", "ASC-US", "NILM", "LSIL", "NILM", "ASC-H", "NILM", "HSIL+SCC", "NILM", "AGC")
CELL_CLASS = {"ASC-H": "ASC-H+HSIL+SCC", "HSIL+SCC": "ASC-H+HSIL+SCC"}


def make_toy_store(
    folder: Path,
    *,
    n_slides: int = 20,
    seed: int = 0,
    splits: tuple[str, ...] = ("train", "validation"),
) -> CropStore:
    """``n_slides`` slides of six cells, two of them lesions where the slide is positive.

    Splits follow each other in equal parts; the first two cells of each training slide carry a
    given label.
    """
    rng = np.random.default_rng(seed)
    writer = CropStoreWriter(folder, n_crops=n_slides * CELLS_A_SLIDE, crop_px=SIDE, mpp=0.75)
    slides, names, ranks, given, truth = [], [], [], [], []
    for number in range(n_slides):
        label = LABELS[number % len(LABELS)]
        split = splits[number * len(splits) // n_slides]
        slide = StoredSlide(f"s{number:02d}", f"C{number % 2}", split, label)
        slides.append(slide)
        for rank in range(CELLS_A_SLIDE):
            cell = CELL_CLASS.get(label, label) if rank in (0, 3) else "NILM"
            writer.crops[len(names)] = _crop(rng, dark=cell != "NILM")
            names.append(slide.slide_id)
            ranks.append(rank)
            given.append(cell if rank < 2 and split == "train" else "")
            truth.append(cell)
    cells = StoredCells(
        np.array(names),
        np.array(ranks),
        np.linspace(1, 0.1, len(names), dtype=np.float32),
        np.array(given),
        np.array(truth),
    )
    return writer.finish(slides, cells, {"seed": seed, "synthetic": True})


def _crop(rng: np.random.Generator, *, dark: bool) -> np.ndarray:
    crop = rng.integers(170, 230, (SIDE, SIDE, 3))
    if dark:
        crop[10:22, 10:22] -= 130
    return crop.astype(np.uint8)
