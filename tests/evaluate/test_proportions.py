"""Intervals of shares against scipy's, and the number of positives that an interval needs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from koilo.evaluate.proportions import positives_needed, share_interval

counts = st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts, st.sampled_from(["wilson", "clopper-pearson"]), st.sampled_from([0.9, 0.95]))
def test_intervals_equal_scipys(count, method, level):
    hits, n = count
    theirs = binomtest(hits, n).proportion_ci(level, "exact" if method != "wilson" else method)
    ours = share_interval(hits, n, method=method, level=level)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert ours.low <= ours.estimate <= ours.high


@given(st.floats(0.02, 0.98), st.integers(5, 80))
def test_clopper_pearson_covers_at_least_its_level(share, n):
    covered = [
        found.low <= share <= found.high
        for found in (share_interval(k, n, method="clopper-pearson") for k in range(n + 1))
    ]
    assert binom.pmf(np.arange(n + 1), n, share)[covered].sum() >= 0.95 - 1e-9


def test_a_share_of_nothing_is_nan_and_an_impossible_one_refused():
    assert np.isnan(share_interval(0, 0).estimate)
    with pytest.raises(ValueError, match="6 of 5"):
        share_interval(6, 5)
    with pytest.raises(ValueError, match="allowed: wilson"):
        share_interval(1, 5, method="wald")


@pytest.mark.parametrize("method", ["wilson", "clopper-pearson"])
@given(half_width=st.floats(0.02, 0.2), share=st.floats(0.6, 0.98))
def test_the_number_needed_is_the_least_that_suffices(method, half_width, share):
    n = positives_needed(half_width, share, method=method)

    def half(m):
        found = share_interval(share * m, m, method=method)
        return (found.high - found.low) / 2

    assert half(n) <= half_width
    assert n == 1 or half(n - 1) > half_width


def test_no_width_and_no_share_are_refused():
    with pytest.raises(ValueError, match="between 0"):
        positives_needed(0)
