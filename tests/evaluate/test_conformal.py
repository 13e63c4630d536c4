"""Conformal sets of calls: what they cover, and what they leave to a human."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koilo.evaluate.conformal import (
    DoubtBounds,
    lock_bounds,
    measure_coverage,
    possible_calls,
    read_bounds,
)
from koilo.evaluate.operating_point import lock_threshold


def test_the_bounds_leave_out_as_many_as_the_rule_says() -> None:
    score = np.concatenate([np.arange(1, 41) / 100, np.arange(50, 90) / 100])
    truth = np.repeat([False, True], 40)
    bounds = lock_bounds(truth, score, "made")
    assert bounds.low == 0.51  # floor(.05 * 41) = 2: the second lowest positive
    assert bounds.high == 0.37  # floor(.10 * 41) = 4: the fourth highest negative
    assert (bounds.n_positive, bounds.n_negative, bounds.set) == (40, 40, "made")


def test_a_class_too_small_for_its_coverage_is_never_ruled_out() -> None:
    score = np.array([0.9, 0.8, 0.2, 0.1])
    bounds = lock_bounds([True, True, False, False], score, "made")
    assert possible_calls(0.0, bounds) == possible_calls(1.0, bounds) == ("negative", "positive")


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 60), st.integers(0, 10_000))
def test_no_slide_called_positive_is_certain_to_be_negative(n: int, m: int, seed: int) -> None:
    """The positives' bound never lies above the locked threshold, ties and all."""
    rng = np.random.default_rng(seed)
    score = np.round(rng.random(n + m), 2)
    truth = np.repeat([True, False], [n, m])
    bounds = lock_bounds(truth, score, "made")
    threshold = lock_threshold(truth, score)
    assert bounds.low <= threshold
    for p in score[score >= threshold]:
        assert possible_calls(float(p), bounds) != ("negative",)


def test_coverage_on_new_slides_of_the_same_kind_is_what_was_asked_for() -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(200):
        truth = np.repeat([True, False], 50)
        score = np.clip(rng.normal(np.where(truth, 0.6, 0.4), 0.15), 0, 1)
        bounds = lock_bounds(truth, score, "made")
        fresh = np.clip(rng.normal(np.where(truth, 0.6, 0.4), 0.15), 0, 1)
        found = measure_coverage(truth, [possible_calls(float(p), bounds) for p in fresh])
        covered.append((found.positives.estimate, found.negatives.estimate))
    positives, negatives = np.mean(covered, axis=0)
    assert 0.95 <= positives < 0.98
    assert 0.89 < negatives < 0.94  # 1 - 5/51, give or take the draws


def test_the_workload_and_the_errors_left_are_counted_by_hand() -> None:
    truth = [True, True, True, False, False]
    sets = [("positive",), ("negative", "positive"), ("negative",), (), ("negative",)]
    found = measure_coverage(truth, sets)
    assert found.positives.estimate == pytest.approx(2 / 3)
    assert found.negatives.estimate == pytest.approx(1 / 2)
    assert found.left_to_human == pytest.approx(2 / 5)
    assert found.errors_among_certain.estimate == pytest.approx(1 / 3)
    assert found.missed_among_certain == 1


def test_scores_between_bounds_that_crossed_are_like_neither_class() -> None:
    bounds = DoubtBounds(0.6, 0.3, 0.95, 0.9, 40, 40, "apart")
    assert possible_calls(0.45, bounds) == ()
    assert possible_calls(0.6, bounds) == ("positive",)
    assert possible_calls(0.3, bounds) == ("negative",)


def test_bounds_come_back_from_a_bundle_and_malformed_ones_are_refused() -> None:
    bounds = lock_bounds([True, False], [0.8, 0.2], "made")
    assert read_bounds({"threshold": 0.5, "doubt": bounds.to_dict()}) == bounds
    assert read_bounds({"threshold": 0.5}) is None
    with pytest.raises(TypeError):
        read_bounds({"doubt": {"low": 0.1}})
    with pytest.raises(ValueError, match="finite"):
        read_bounds({"doubt": bounds.to_dict() | {"low": float("nan")}})


@pytest.mark.parametrize(
    ("truth", "score", "coverage", "said"),
    [
        ([True, True], [0.1, 0.2], 0.95, "both classes"),
        ([True, False], [0.1, float("nan")], 0.95, "not finite"),
        ([True, False], [0.1, 0.2], 1.0, "above 0 and below 1"),
    ],
)
def test_what_bounds_cannot_be_locked_on_is_refused(
    truth: list[bool], score: list[float], coverage: float, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        lock_bounds(truth, score, "made", coverage_positive=coverage)
