"""The rule that locks a threshold, and what it promises."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koilo.evaluate.operating_point import (
    OperatingPoint,
    lock_operating_point,
    lock_threshold,
    specificity_at,
    threshold_at_specificity,
)
from koilo.evaluate.proportions import share_interval
from koilo.evaluate.scores import sensitivity_specificity


@pytest.mark.parametrize(("n", "rank"), [(1, 1), (2, 2), (19, 19), (20, 19), (21, 20), (100, 95)])
def test_the_threshold_is_the_ceiling_of_95_percent_highest_positive(n: int, rank: int) -> None:
    scores = np.linspace(1.0, 0.1, n)  # highest first
    assert lock_threshold(np.ones(n, dtype=bool), scores) == scores[rank - 1]


def test_negatives_do_not_move_the_threshold() -> None:
    positive = [0.7, 0.6, 0.2]
    alone = lock_threshold([True] * 3, positive)
    assert lock_threshold([True] * 3 + [False] * 2, [*positive, 0.99, 0.0]) == alone == 0.2


def test_a_negative_that_ties_with_the_threshold_is_called_positive() -> None:
    point = lock_operating_point([True, False, False], [0.5, 0.5, 0.4], "ties")
    assert (point.threshold, point.sensitivity, point.specificity) == (0.5, 1.0, 0.5)


scored = st.lists(
    st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=2, max_size=60
).filter(lambda rows: {truth for _, truth in rows} == {True, False})


@given(scored)
def test_the_locked_threshold_reaches_the_sensitivity_and_the_next_higher_score_does_not(
    rows: list[tuple[float, bool]],
) -> None:
    scores, truth = map(np.array, zip(*rows, strict=True))
    point = lock_operating_point(truth, scores, "made up")
    assert point.sensitivity >= 0.95
    higher = scores[truth & (scores > point.threshold)]
    if len(higher):
        assert sensitivity_specificity(truth, scores, higher.min())[0] < 0.95
    assert point.specificity == specificity_at(truth, scores)
    assert json.loads(json.dumps(point.to_dict()))["n_positive"] == int(truth.sum())


@given(scored, st.floats(0, 1))
def test_the_threshold_at_a_specificity_is_the_lowest_that_has_it(
    rows: list[tuple[float, bool]], wanted: float
) -> None:
    scores, truth = map(np.array, zip(*rows, strict=True))
    found = threshold_at_specificity(truth, scores, wanted)
    reached = {t: sensitivity_specificity(truth, scores, t)[1] for t in np.unique(scores)}
    enough = [t for t, specificity in reached.items() if specificity >= wanted - 1e-12]
    assert found == min(enough, default=np.inf)


def test_a_locked_point_carries_its_intervals_and_an_older_one_goes_without() -> None:
    truth = [True] * 20 + [False] * 10
    point = lock_operating_point(truth, [0.9] * 19 + [0.1] + [0.2] * 7 + [0.95] * 3, "made up")
    found = share_interval(19, 20, method="clopper-pearson")
    assert point.sensitivity_interval == (found.low, found.high)
    assert point.specificity == 0.7
    older = OperatingPoint(0.5, 1.0, 0.5, 3, 1, "an older bundle's").to_dict()
    assert "sensitivity_interval" not in older


@pytest.mark.parametrize(
    ("scores", "truth", "said"),
    [
        ([0.1, 0.2], [False, False], "no positive"),
        ([0.1, 0.2], [True, True], "no negative"),
        ([0.1, np.nan], [True, False], "not finite"),
        ([0.1], [True, False], "must be"),
    ],
)
def test_what_cannot_be_locked_is_refused(
    scores: list[float], truth: list[bool], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        lock_operating_point(truth, scores, "bad")
