"""Medians with their order statistics against counting, and paired times of made readings."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koilo.evaluate.paired_times import compare_times, median_interval


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=40))
def test_the_bounds_are_the_innermost_order_statistics_that_hold_the_level(values):
    found = median_interval(values)
    n, ordered = len(values), sorted(values)
    # P(the median lies between the k-th from below and the k-th from above), by counting.
    covered = {
        k: 1 - 2 * sum(math.comb(n, j) for j in range(k)) / 2**n for k in range(1, n // 2 + 1)
    }
    fit = [k for k, share in covered.items() if share >= 0.95]
    if not fit:
        assert np.isnan(found.low)
        return
    assert (found.low, found.high) == (ordered[max(fit) - 1], ordered[n - max(fit)])
    assert found.estimate == pytest.approx(np.median(values))


def test_a_telephone_call_moves_nothing():
    rng = np.random.default_rng(0)
    first, second = rng.lognormal(5, 0.2, 60), rng.lognormal(3.5, 0.2, 60)
    slides, readers = np.arange(60), ["a"] * 60
    calm = compare_times(first, second, slides, readers)
    second[7] = 9000
    disturbed = compare_times(first, second, slides, readers)
    assert disturbed.difference.estimate == pytest.approx(calm.difference.estimate, abs=4)
    assert calm.difference.high < 0
    assert calm.ratio.high < 0.4
    assert calm.p < 1e-6


def test_several_readers_are_resampled_and_have_no_sign_test():
    first = np.tile([100.0, 110.0, 120.0], 10)
    found = compare_times(
        first, first / 2, np.repeat(np.arange(10), 3), np.tile(["a", "b", "c"], 10), draws=60
    )
    assert np.isnan(found.p)
    assert found.difference.estimate == -55
    assert found.difference.low < found.difference.high
    assert (found.ratio.low, found.ratio.high) == (0.5, 0.5)


def test_equal_times_prove_nothing_and_absurd_ones_are_refused():
    same = compare_times([5.0, 6.0], [5.0, 6.0], ["s", "t"], ["a", "a"])
    assert same.p == 1
    assert np.isnan(median_interval([]).estimate)
    for wrong in ([0.0, 1.0], [1.0]):
        with pytest.raises(ValueError, match="seconds above 0"):
            compare_times([1.0, 2.0], wrong, ["s", "t"], ["a", "a"])
