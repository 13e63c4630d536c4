"""Bags for the slide head: what is called negative holds no lesion, and order is the detector's."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

TABLE = {
    "field_id": np.repeat([1, 2, 3], 200),
    "block": np.repeat([1, 1, 2], 200),
    "label": np.concatenate(
        [np.full(200, -1), np.tile([-1, 0, 2, 4], 50), np.tile([-1, 0, 5, -1], 50)]
    ),
    "score": np.random.default_rng(0).random(600),
    "centre_px0": np.random.default_rng(1).uniform(0, 1000, (600, 2)),
}
CELLS = {
    1: np.array([[500.0, 500, 0]]),
    2: np.array([[100.0, 100, 2], [900, 900, 4]]),
    3: np.array([[500.0, 500, 5]]),
}
ROWS = np.arange(600)


@pytest.fixture
def slide_bags(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "runs"))
    import slide_bags as module

    return sys.modules.get(module.__name__, module)


def test_composed_negatives_hold_no_labelled_lesion_and_no_unlabelled_box_of_a_lesion_field(
    slide_bags: ModuleType,
) -> None:
    rng = np.random.default_rng(0)
    bags = slide_bags.composed_bags(TABLE, [1], ROWS, 60, rng)
    label, field = TABLE["label"], TABLE["field_id"]
    for bag in bags:
        lesions = label[bag.rows] > 0
        assert lesions.sum() == bag.n_lesions
        assert (bag.label == "NILM") == (bag.n_lesions == 0)
        normal = bag.rows[~lesions]
        assert ((field[normal] == 1) | (label[normal] == 0)).all()
        assert len(set(bag.rows.tolist())) == len(bag.rows)
    assert {bag.label for bag in bags} == {"NILM", "LSIL", "HSIL+SCC"}


def test_a_composed_slide_has_the_class_of_its_most_severe_cell(slide_bags: ModuleType) -> None:
    for bag in slide_bags.composed_bags(TABLE, [1], ROWS, 60, np.random.default_rng(1)):
        worst = max(TABLE["label"][bag.rows].max(), 0)
        assert bag.label == slide_bags.slide_class(slide_bags.CLASSES[worst])


def test_cells_come_best_detection_first_and_only_from_the_rows_given(
    slide_bags: ModuleType,
) -> None:
    rng, mine = np.random.default_rng(2), np.flatnonzero(TABLE["field_id"] != 2)
    labels = {1: "NILM", 3: "SCC"}
    bags = [
        *slide_bags.field_bags(TABLE, labels, mine),
        *slide_bags.crop_bags(TABLE, CELLS, mine, 30, rng),
        *slide_bags.composed_bags(TABLE, [1], mine, 30, rng),
    ]
    for bag in bags:
        assert set(bag.rows.tolist()) <= set(mine.tolist())
        assert (np.diff(TABLE["score"][bag.rows]) <= 0).all()


def test_a_part_of_a_field_has_the_class_of_the_nuclei_inside_it(slide_bags: ModuleType) -> None:
    bags = slide_bags.crop_bags(TABLE, CELLS, ROWS, 200, np.random.default_rng(3))
    assert len(bags) == 200
    for bag in bags:
        places = TABLE["centre_px0"][bag.rows]
        known = CELLS[int(TABLE["field_id"][bag.rows[0]])]
        low, high = places.min(axis=0), places.max(axis=0)
        surely = known[((known[:, :2] > low) & (known[:, :2] < high)).all(axis=1), 2]
        if len(surely) and surely.max() > 0:
            assert bag.label != "NILM"
        assert len(bag.rows) >= slide_bags.LEAST_CELLS
    assert {bag.label for bag in bags} >= {"NILM", "LSIL", "HSIL+SCC"}
