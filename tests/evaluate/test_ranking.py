"""Precision@Top and recall among the best K: against sorting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koilo.evaluate.ranking import (
    RankedSlide,
    precision_at_top,
    precision_by_class,
    top_k_recall,
)

cells = st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=60)


@given(cells, st.integers(1, 40))
def test_precision_is_that_of_the_sorted_list(rows, top):
    best = sorted(rows, key=lambda row: -row[1])[:top]  # sorted is stable, as ours must be
    assert precision_at_top(*zip(*rows, strict=True), top) == pytest.approx(
        sum(positive for positive, _ in best) / len(best)
    )


@given(st.lists(cells, min_size=1, max_size=4))
def test_recall_grows_with_k_and_ends_at_one(bags):
    slides = [RankedSlide("LSIL", *zip(*rows, strict=True)) for rows in bags]
    found = [each.estimate for each in top_k_recall(slides, [1, 5, 60], draws=2)]
    if np.isnan(found[0]):
        assert not any(positive for rows in bags for positive, _ in rows)
    else:
        assert found[0] <= found[1] <= found[2] == 1


def test_lesion_cells_that_were_not_kept_count_as_not_found():
    slide = RankedSlide("HSIL", [True, False, True], [0.9, 0.5, 0.4], n_positive=4)
    found = top_k_recall([slide], [1, 2, 3], draws=2)
    assert [each.estimate for each in found] == [0.25, 0.25, 0.5]


def test_recall_is_of_all_cells_and_its_interval_draws_slides():
    easy = RankedSlide("LSIL", [True, True, True], [3, 2, 1])
    hard = RankedSlide("ASC-H", [False, True], [2, 1])
    (found,) = top_k_recall([easy, hard], [1])
    assert found.estimate == 0.25  # one of the four, not the mean of 1/3 and 0
    assert (found.low, found.high) == (0, pytest.approx(1 / 3))
    assert np.isnan(top_k_recall([], [1])[0].estimate)


def test_classes_are_in_order_and_a_slide_without_cells_is_left_out():
    slides = [
        RankedSlide("HSIL", [True, True], [1, 2]),
        RankedSlide("HSIL", [True, False], [1, 2]),
        RankedSlide("HSIL", [], []),
        RankedSlide("NILM", [False], [1]),
    ]
    rows = precision_by_class(slides)
    assert [(row.label, row.n_slides, row.precision.estimate) for row in rows] == [
        ("NILM", 1, 0.0),
        ("HSIL", 2, 0.75),
    ]
    # Of two slides either may be drawn twice; of one there is nothing to draw.
    assert [(row.precision.low, row.precision.high) for row in rows] == [(0, 0), (0.5, 1)]
    assert np.isnan(precision_at_top([], []))
