"""Sample sizes against simulated studies of that size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koilo.evaluate.paired_shares import Pairs, difference_interval
from koilo.evaluate.paired_size import independent_discordance, pairs_needed, slides_needed

DRAWS = 400


@pytest.mark.parametrize(
    ("first", "second", "margin", "discordance"),
    [(0.7, 0.85, 0.0, 0.25), (0.713, 0.857, 0.05, None), (0.85, 0.86, -0.05, 0.12)],
)
def test_a_study_of_that_size_shows_the_claim_as_often_as_the_power_says(
    first, second, margin, discordance
):
    n = pairs_needed(first, second, margin=margin, discordance=discordance, power=0.8)
    assert n is not None
    differ = independent_discordance(first, second) if discordance is None else discordance
    gained, lost = (differ + second - first) / 2, (differ - second + first) / 2
    rng = np.random.default_rng(5)
    studies = rng.multinomial(n, [gained, lost, 1 - gained - lost], size=DRAWS)
    shown = [difference_interval(Pairs(n, int(g), int(k))).low > margin for g, k, _ in studies]
    assert np.mean(shown) == pytest.approx(0.8, abs=0.07)  # 3.5 standard errors


def test_a_published_number_is_reproduced():
    # Connor's formula by hand: (1.959964 * sqrt(.25) + .841621 * sqrt(.25 - .0225))^2 / .0225
    expected = (1.959964 * 0.25**0.5 + 0.841621 * (0.25 - 0.0225) ** 0.5) ** 2 / 0.0225
    assert pairs_needed(0.7, 0.85, discordance=0.25) == int(np.ceil(expected))


@given(st.floats(0.55, 0.9), st.floats(0.02, 0.09), st.floats(0.5, 0.9))
def test_more_power_a_nearer_margin_and_more_discordance_need_more_pairs(first, gap, power):
    second = first + gap
    base = pairs_needed(first, second, power=power)
    assert base is not None
    assert pairs_needed(first, second, power=power + 0.05) >= base
    assert pairs_needed(first, second, margin=-0.05, power=power) <= base
    assert pairs_needed(first, second, discordance=gap + 0.01, power=power) <= base


def test_what_is_not_expected_cannot_be_shown_by_any_number():
    assert pairs_needed(0.8, 0.8) is None
    assert pairs_needed(0.8, 0.84, margin=0.05) is None
    assert slides_needed(None, 4, 0.1) is None


@given(st.integers(1, 500), st.integers(1, 500), st.floats(0.01, 0.99))
def test_slides_in_turn_hold_enough_of_both(n_positive, n_negative, prevalence):
    n = slides_needed(n_positive, n_negative, prevalence)
    assert n * prevalence >= n_positive - 1e-6
    assert n * (1 - prevalence) >= n_negative - 1e-6
    assert (n - 1) * prevalence < n_positive or (n - 1) * (1 - prevalence) < n_negative


def test_shares_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        pairs_needed(0.7, 1.0)
    with pytest.raises(ValueError, match=r"discordance 0\.1 cannot be"):
        pairs_needed(0.7, 0.85, discordance=0.1)
    with pytest.raises(ValueError, match="prevalence"):
        slides_needed(1, 1, 0.0)
