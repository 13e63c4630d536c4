"""Paired shares against likelihoods maximised by brute force and tests worked by enumeration."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from koilo.evaluate.agreement import mcnemar
from koilo.evaluate.paired_shares import Pairs, difference_interval, p_above, score_statistic

counts = st.integers(0, 12)
tables = st.builds(lambda same, g, lost: Pairs(same + g + lost, g, lost), counts, counts, counts)


def literal_statistic(pairs: Pairs, margin: float) -> float:
    """Score statistic with the likelihood of the lost share searched on a fine grid."""
    lost = np.linspace(max(0.0, -margin), (1 - margin) / 2, 400_001)[1:-1]
    same = 1 - 2 * lost - margin
    likelihood = (
        pairs.lost * np.log(lost)
        + pairs.gained * np.log(lost + margin)
        + (pairs.n - pairs.gained - pairs.lost) * np.log(same)
    )
    best = lost[np.argmax(likelihood)]
    variance = (2 * best + margin - margin**2) / pairs.n
    return (pairs.difference - margin) / math.sqrt(variance)


@pytest.mark.parametrize("margin", [-0.3, -0.05, 0.05, 0.2])
@pytest.mark.parametrize("pairs", [Pairs(60, 9, 4), Pairs(40, 3, 11), Pairs(25, 6, 1)])
def test_the_statistic_is_that_of_the_likelihood_searched_on_a_grid(pairs, margin):
    assert score_statistic(pairs, margin) == pytest.approx(
        literal_statistic(pairs, margin), abs=2e-3
    )


@given(pairs=tables)
def test_at_no_margin_it_is_mcnemar_without_correction(pairs):
    differ = pairs.gained + pairs.lost
    expected = (pairs.gained - pairs.lost) / math.sqrt(differ) if differ else 0.0
    assert score_statistic(pairs) == pytest.approx(expected)


@given(pairs=tables)
def test_the_interval_holds_the_estimate_and_is_cut_where_the_test_changes_its_mind(pairs):
    found = difference_interval(pairs)
    if not pairs.n:
        assert np.isnan(found.low)
        return
    assert -1 <= found.low <= found.estimate <= found.high <= 1
    assert found.low < found.high
    for bound, sign in ((found.low, 1), (found.high, -1)):
        if abs(bound) < 1 - 1e-6:
            z = score_statistic(pairs, bound)
            assert z == pytest.approx(sign * norm.ppf(0.975), abs=1e-3)


@given(pairs=tables)
def test_swapping_the_readings_turns_the_interval_round(pairs):
    ours, swapped = (
        difference_interval(pairs),
        difference_interval(Pairs(pairs.n, pairs.lost, pairs.gained)),
    )
    if pairs.n:
        assert (ours.low, ours.high) == pytest.approx((-swapped.high, -swapped.low), abs=1e-6)


@given(pairs=tables, margin=st.floats(-0.9, 0.9))
def test_a_claim_is_shown_by_the_p_where_the_bound_lies_above_the_margin(pairs, margin):
    if pairs.n and abs(difference_interval(pairs).low - margin) > 1e-6:
        assert (p_above(pairs, margin) < 0.025) == (difference_interval(pairs).low > margin)


def test_a_known_interval_of_the_literature():
    # Tango 1998, soft contact lenses: 44 patients, one pair differs.
    found = difference_interval(Pairs(44, 1, 0))
    assert (found.low, found.high) == pytest.approx((-0.0600, 0.1180), abs=0.0015)


def test_pairs_are_counted_and_mcnemar_counts_the_same():
    first = np.array([1, 1, 0, 0, 1], bool)
    second = np.array([1, 0, 1, 1, 1], bool)
    pairs, test = Pairs.of(first, second), mcnemar(first, second)
    assert (pairs.n, pairs.gained, pairs.lost) == (5, 2, 1)
    assert (test.only_first, test.only_second) == (pairs.lost, pairs.gained)
    assert np.isnan(p_above(Pairs(0, 0, 0), 0.0))


def test_shapes_and_margins_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="same slides"):
        Pairs.of([True], [True, False])
    with pytest.raises(ValueError, match="between -1 and 1"):
        score_statistic(Pairs(3, 1, 1), 1.0)


@given(gained=st.integers(0, 6), lost=st.integers(0, 6))
def test_the_exact_p_of_mcnemar_is_the_share_of_all_outcomes_as_rare(gained, lost):
    n = gained + lost
    first = np.array([False] * gained + [True] * lost, dtype=bool)
    heads = [bin(number).count("1") for number in range(2**n)]
    rare = [abs(k - n / 2) >= abs(gained - n / 2) for k in heads]
    assert mcnemar(first, ~first).p_exact == pytest.approx(np.mean(rare))
