from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from koilo.evaluate.descriptions import (
    choose_one_threshold,
    choose_thresholds,
    score_texts,
    text_macro_f1,
)


def test_figures_are_those_counted_by_hand():
    said = np.array([[1, 0], [1, 0], [1, 1], [0, 0]], bool)
    called = np.array([[1, 1], [0, 0], [1, 0], [1, 0]], bool)
    first, second = score_texts(called, said, ["a", "b"])
    assert (first.precision, first.recall, first.n) == (pytest.approx(2 / 3), 2 / 3, 3)
    assert first.f1 == pytest.approx(2 / 3)
    assert (second.precision, second.recall, second.f1, second.n) == (0, 0, 0, 1)
    assert text_macro_f1(called, said) == pytest.approx(1 / 3)


def test_a_text_that_is_true_of_no_cell_does_not_count():
    said = np.array([[True, False]])
    assert text_macro_f1(np.array([[True, True]]), said) == 1
    assert text_macro_f1(np.array([[True, True]]), said & False) == 0


truths = arrays(bool, (40, 3), elements=st.booleans())


@given(truths, st.integers(0, 2**31))
def test_a_threshold_each_is_never_worse_than_one_where_they_were_chosen(said, seed):
    scores = np.random.default_rng(seed).normal(size=said.shape) + said
    one, each = choose_one_threshold(scores, said), choose_thresholds(scores, said)
    best = text_macro_f1(scores > each, said)
    assert best >= text_macro_f1(scores > one, said) - 0.08  # levels are quantiles, not all values
    assert 0 <= best <= 1


def test_thresholds_part_what_can_be_parted():
    rng = np.random.default_rng(0)
    said = rng.random((200, 2)) < 0.3
    scores = said * 1.0 + np.array([0.0, 5.0])  # each text on a scale of its own
    scores += rng.uniform(0, 0.1, scores.shape)
    assert text_macro_f1(scores > choose_thresholds(scores, said), said) > 0.98
    assert text_macro_f1(scores > choose_one_threshold(scores, said), said) < 0.9


def test_a_text_that_no_cell_shows_is_never_called():
    scores, said = np.random.default_rng(1).normal(size=(30, 1)), np.zeros((30, 1), bool)
    assert not (scores > choose_thresholds(scores, said)).any()
