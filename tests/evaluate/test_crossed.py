"""The bootstrap over slides and readers against a literal one, and where it must not narrow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koilo.evaluate.agreement import clustered_mcnemar
from koilo.evaluate.crossed import crossed_bootstrap, has_several_readings

SLIDES = np.repeat(np.arange(20), 3)
READERS = np.tile(["a", "b", "c"], 20)


def share(values):
    return lambda weights: float(np.average(values, weights=weights))


def test_a_reading_counts_as_often_as_its_slide_and_its_reader_were_drawn():
    seen = []

    def measure(weights):
        seen.append(weights.copy())
        return 0.0

    crossed_bootstrap(measure, SLIDES, READERS, draws=30, seed=4)
    for weights in seen[1:]:
        table = weights.reshape(20, 3)
        of_slide, of_reader = table.sum(axis=1) / 3, table.sum(axis=0) / 20
        assert np.allclose(table, np.outer(of_slide, of_reader))
        assert (of_slide.sum(), of_reader.sum()) == (20, 3)
    assert (seen[0] == 1).all()


def test_readers_who_differ_widen_the_interval_and_more_readings_do_not_narrow_it():
    by_reader = np.tile([0.0, 0.5, 1.0], 20)
    found = crossed_bootstrap(share(by_reader), SLIDES, READERS, draws=400)
    as_if_independent = 1.96 * by_reader.std() / np.sqrt(60)
    assert (found.high - found.low) / 2 > 2 * as_if_independent
    of_slide = np.repeat(np.random.default_rng(0).random(20) < 0.5, 3).astype(float)
    three = crossed_bootstrap(share(of_slide), SLIDES, READERS, draws=400)
    one = crossed_bootstrap(share(of_slide[::3]), SLIDES[::3], READERS[::3], draws=400)
    assert three.high - three.low == pytest.approx(one.high - one.low, abs=0.08)


def test_one_reader_stays_and_strata_keep_their_number_of_slides():
    strata = np.array([0] * 15 + [1] * 5)

    def rare(weights):
        return float(weights[strata == 1].sum())

    found = crossed_bootstrap(rare, np.arange(20), ["a"] * 20, strata=strata, draws=50)
    assert (found.low, found.high) == (5, 5)


def test_the_same_seed_gives_the_same_interval_and_nothing_measured_gives_none():
    values = np.random.default_rng(1).random(60)
    one, two = (crossed_bootstrap(share(values), SLIDES, READERS, draws=30) for _ in range(2))
    assert one == two
    empty = crossed_bootstrap(lambda weights: float("nan"), SLIDES, READERS, draws=20)
    assert np.isnan(empty.low)


def test_a_slide_in_two_strata_and_readers_of_another_number_are_refused():
    with pytest.raises(ValueError, match="two strata"):
        crossed_bootstrap(share(SLIDES), SLIDES, READERS, strata=np.arange(60))
    with pytest.raises(ValueError, match="one of each"):
        crossed_bootstrap(share(SLIDES), SLIDES, ["a"])


@given(st.lists(st.integers(0, 5), max_size=8))
def test_several_readings_are_seen(names):
    assert has_several_readings(names) == (len(set(names)) < len(names))


@given(st.lists(st.sampled_from([(0, 0), (0, 1), (1, 0)]), min_size=1, max_size=30))
def test_by_slides_mcnemar_is_the_plain_one_where_each_slide_has_one_pair(rows):
    gained, lost = np.array(rows).T
    statistic, p = clustered_mcnemar(gained, lost, np.ones(len(rows)))
    differ = gained.sum() + lost.sum()
    expected = (gained.sum() - lost.sum()) ** 2 / differ if differ else 0.0
    assert statistic == pytest.approx(expected)
    assert 0 <= p <= 1


def test_copies_of_a_reading_prove_nothing_more():
    gained, lost = np.array([1, 1, 0, 1, 0]), np.array([0, 0, 1, 0, 0])
    once = clustered_mcnemar(gained, lost, np.ones(5))
    thrice = clustered_mcnemar(3 * gained, 3 * lost, np.full(5, 3))
    assert thrice == pytest.approx(once)
