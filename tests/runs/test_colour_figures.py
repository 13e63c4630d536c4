"""Pictures of colour: whose cells stand where."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from koilo.datasets.crop_store import CropStoreWriter, StoredCells, StoredSlide
from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "runs"))

import colour_figures


def test_each_unseen_centres_positive_slide_stands_above_its_own_twin(tmp_path: Path) -> None:
    slides = [
        StoredSlide("n1", "U1", "unseen", "NILM"),
        StoredSlide("b2", "U2", "unseen", "LSIL"),
        StoredSlide("a1", "U1", "unseen", "HSIL+SCC"),
        StoredSlide("b2t", "T1", "unseen_twin", "LSIL", twin_of="b2"),
        StoredSlide("a1t", "T1", "unseen_twin", "HSIL+SCC", twin_of="a1"),
    ]
    writer = CropStoreWriter(tmp_path / "cohort", n_crops=10, crop_px=8, mpp=0.75)
    for row in range(10):
        writer.crops[row] = 40 + 20 * (row // 2)  # two cells a slide, one grey a slide
    names = np.repeat([slide.slide_id for slide in slides], 2)
    none = np.array([""] * 10)
    cells = StoredCells(names, np.tile([0, 1], 5), np.full(10, 0.5, np.float32), none, none)
    store = writer.finish(slides, cells, {"seed": 0})
    colour_figures.draw_twins(store, tmp_path / "twins.png")
    picture = np.asarray(Image.open(tmp_path / "twins.png"))
    assert picture.shape == (4 * 8, 2 * 8, 3)
    assert [int(picture[8 * row + 4, 4, 0]) for row in range(4)] == [80, 120, 60, 100]
