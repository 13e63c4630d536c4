import numpy as np
import pytest

from koilo.evaluate.intervals import bootstrap


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says():
    random = np.random.default_rng(1)
    covered = 0
    for seed in range(60):
        values = random.normal(size=40)
        interval = bootstrap(
            lambda rows, v=values: v[rows].mean(), np.arange(40), draws=200, seed=seed
        )
        covered += interval.low <= 0 <= interval.high
    assert 50 <= covered <= 60


def test_rows_of_one_block_are_drawn_together():
    blocks = np.repeat([0, 1, 2], 4)
    seen = []

    def measure(rows):
        seen.append(np.bincount(blocks[rows], minlength=3))
        return 0.0

    bootstrap(measure, blocks, draws=20)
    assert all((counts % 4 == 0).all() for counts in seen)


def test_blocks_that_hold_many_rows_widen_the_interval():
    values = np.repeat(np.random.default_rng(0).normal(size=10), 50)
    by_row = bootstrap(lambda rows: values[rows].mean(), np.arange(500), draws=300)
    by_block = bootstrap(lambda rows: values[rows].mean(), np.repeat(np.arange(10), 50), draws=300)
    assert by_block.high - by_block.low > 3 * (by_row.high - by_row.low)


def test_each_stratum_keeps_its_number_of_blocks():
    strata = np.array([0] * 8 + [1] * 2)

    def positives(rows):
        return float(strata[rows].sum())

    interval = bootstrap(positives, np.arange(10), strata=strata, draws=50)
    assert (interval.low, interval.high) == (2, 2)


def test_a_block_in_two_strata_is_refused():
    with pytest.raises(ValueError, match="two strata"):
        bootstrap(lambda rows: 0.0, [0, 0], strata=[0, 1])


def test_draws_without_a_value_are_left_out():
    interval = bootstrap(lambda rows: float("nan"), [0, 1], draws=5)
    assert np.isnan(interval.low)
    assert interval.as_dict() == {"estimate": None, "low": None, "high": None}
