"""Paired bootstrap: the same draws, averaged over seeds, within strata."""

from __future__ import annotations

import numpy as np
import pytest

from koilo.evaluate.comparison import mean_over_seeds, paired_difference
from koilo.evaluate.operating_point import specificity_at
from koilo.evaluate.scores import auc, sensitivity_specificity

RANDOM = np.random.default_rng(3)
TRUTH = np.repeat([True, False], [80, 160])
FIRST = RANDOM.normal(size=(3, 240)) + 1.5 * TRUTH
SECOND = RANDOM.normal(size=(3, 240)) + 1.0 * TRUTH


def literal(draws, seed):
    """Draw the positives, then the negatives, of each resample; differences of mean AUCs."""
    random = np.random.default_rng(seed)
    groups = [np.flatnonzero(~TRUTH), np.flatnonzero(TRUTH)]
    values = []
    for _ in range(draws):
        drawn = np.concatenate([random.choice(group, size=len(group)) for group in groups])
        a = np.mean([auc(TRUTH[drawn], s[drawn]) for s in FIRST])
        b = np.mean([auc(TRUTH[drawn], s[drawn]) for s in SECOND])
        values.append(a - b)
    return np.quantile(values, [0.025, 0.975])


def test_it_is_the_literal_bootstrap_of_the_mean_difference():
    found = paired_difference(TRUTH, FIRST, SECOND, auc, draws=60, seed=9)
    assert (found.low, found.high) == pytest.approx(tuple(literal(60, 9)))
    mean = np.mean([auc(TRUTH, s) for s in FIRST]) - np.mean([auc(TRUTH, s) for s in SECOND])
    assert found.estimate == pytest.approx(mean)


def test_a_method_against_itself_is_exactly_zero_and_swapping_turns_the_sign():
    same = paired_difference(TRUTH, FIRST, FIRST, specificity_at, draws=30)
    assert (same.estimate, same.low, same.high) == (0, 0, 0)
    there = paired_difference(TRUTH, FIRST, SECOND, auc, draws=30)
    back = paired_difference(TRUTH, SECOND, FIRST, auc, draws=30)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))


def test_pairing_narrows_the_interval_of_methods_that_err_alike():
    alike = FIRST + 0.1 * RANDOM.normal(size=FIRST.shape)
    paired = paired_difference(TRUTH, FIRST, alike, auc, draws=100)
    alone = mean_over_seeds(TRUTH, FIRST, auc, draws=100)
    assert paired.high - paired.low < 0.3 * (alone.high - alone.low)


def test_a_class_is_never_lost_in_a_draw_and_strata_may_be_finer():
    few = np.array([True] + [False] * 9)
    assert not np.isnan(mean_over_seeds(few, np.arange(10)[::-1], auc, draws=50).low)
    centres = np.repeat(["a", "b", "c"], 80)
    strata = np.char.add(centres, TRUTH.astype(str))
    assert paired_difference(TRUTH, FIRST, SECOND, auc, strata=strata, draws=20).low < 1


def test_a_locked_threshold_is_measured_as_scores_less_threshold():
    locked = np.array([[0.7], [0.8], [0.9]])

    def specificity(truth, score):
        return sensitivity_specificity(truth, score, 0.0)[1]

    found = mean_over_seeds(TRUTH, FIRST - locked, specificity, draws=20)
    direct = [sensitivity_specificity(TRUTH, s, t)[1] for s, t in zip(FIRST, locked, strict=True)]
    assert found.estimate == pytest.approx(np.mean(direct))


def test_scores_of_other_slides_are_refused():
    with pytest.raises(ValueError, match="are needed"):
        paired_difference(TRUTH, FIRST, SECOND[:, :5], auc)
