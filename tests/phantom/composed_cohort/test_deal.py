"""Dealing: what is drawn beside the label must not tell it, and no cell is overused."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from koilo.phantom.composed import MOST_SLIDES_A_CELL
from koilo.phantom.composed_cohort.config import ComposedConfig
from koilo.phantom.composed_cohort.deal import GROUNDS, deal_slides
from koilo.phantom.composed_cohort.pools import RealCell
from koilo.phantom.multicentre.config import SplitSize

SIZES = {"": 300, "NILM": 900, "ASC-US": 60, "LSIL": 60, "ASC-H": 8, "HSIL": 20, "SCC": 20}


def pool() -> list[RealCell]:
    return [
        RealCell(1, 1, f"{label}{i}", 0.0, 0.0, label, (20.0, 20.0))
        for label, n in SIZES.items()
        for i in range(n)
    ]


@given(st.integers(0, 2**20))
@settings(max_examples=5, deadline=None)
def test_no_cell_is_dealt_twice_to_a_slide_or_to_more_than_ten(seed: int) -> None:
    config = replace(ComposedConfig(), seed=seed, splits={"test": SplitSize(70, 50)})
    slides = deal_slides(config, "test", pool())
    used: Counter[RealCell] = Counter()
    for slide in slides:
        assert len(set(slide.cells)) == len(slide.cells)
        used.update(slide.cells)
        lesions = {cell.label for cell in slide.cells} - {"", "NILM"}
        assert lesions <= set(slide.label.split("+"))
        assert bool(lesions) == (slide.label != "NILM")
    assert max(used.values()) <= MOST_SLIDES_A_CELL


def test_number_of_cells_and_ground_are_the_same_for_both_labels() -> None:
    config = replace(ComposedConfig(), splits={"train": SplitSize(180, 90)})
    slides = deal_slides(config, "train", pool())
    positive = np.array([slide.label != "NILM" for slide in slides])
    n_cells = np.array([len(slide.cells) for slide in slides])
    ground = np.array([slide.ground == GROUNDS[0] for slide in slides])
    assert abs(n_cells[positive].mean() - n_cells[~positive].mean()) < 4
    assert ground.sum() == 90
    assert abs(ground[positive].mean() - ground[~positive].mean()) < 0.25
