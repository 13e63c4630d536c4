"""DeLong against its definition over all pairs, and against how AUCs scatter in fact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koilo.evaluate.delong import auc_interval, compare_aucs, delong
from koilo.evaluate.scores import auc

rows = st.lists(
    st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 6)), min_size=6, max_size=40
).filter(lambda rows: 2 <= sum(t for t, _, _ in rows) <= len(rows) - 2)


def literal(truth, scores):
    """Psi over all pairs, then the covariance of its row and column means, as in the paper."""
    positive = [[s for s, t in zip(row, truth, strict=True) if t] for row in scores]
    negative = [[s for s, t in zip(row, truth, strict=True) if not t] for row in scores]
    wins = np.array([
        [[(p > n) + 0.5 * (p == n) for n in neg] for p in pos]
        for pos, neg in zip(positive, negative, strict=True)
    ])  # (M, P, Q)  # fmt: skip
    aucs = wins.mean(axis=(1, 2))
    by_positive, by_negative = wins.mean(axis=2), wins.mean(axis=1)
    n_methods, n_pos, n_neg = wins.shape
    covariance = np.zeros((n_methods, n_methods))
    for a in range(n_methods):
        for b in range(n_methods):
            s10 = sum(
                (by_positive[a, i] - aucs[a]) * (by_positive[b, i] - aucs[b]) for i in range(n_pos)
            )
            s01 = sum(
                (by_negative[a, j] - aucs[a]) * (by_negative[b, j] - aucs[b]) for j in range(n_neg)
            )
            covariance[a, b] = s10 / (n_pos - 1) / n_pos + s01 / (n_neg - 1) / n_neg
    return aucs, covariance


@given(rows)
def test_midranks_give_what_all_pairs_give(rows):
    truth, first, second = zip(*rows, strict=True)
    aucs, covariance = delong(truth, [first, second])
    their_aucs, their_covariance = literal(truth, [first, second])
    np.testing.assert_allclose(aucs, their_aucs, atol=1e-12)
    np.testing.assert_allclose(covariance, their_covariance, atol=1e-12)
    assert aucs[0] == pytest.approx(auc(truth, first))


def test_the_variance_is_that_of_auc_over_new_slides():
    random = np.random.default_rng(4)
    truth = np.repeat([True, False], [60, 90])
    drawn = random.normal(size=(400, 150)) + 1.0 * truth
    aucs = [auc(truth, score) for score in drawn]
    estimated = np.mean([delong(truth, score)[1][0, 0] for score in drawn])
    assert estimated == pytest.approx(np.var(aucs), rel=0.25)
    covered = [auc_interval(truth, s).low <= 0.7602 <= auc_interval(truth, s).high for s in drawn]
    assert 0.9 < np.mean(covered) < 0.99


def test_the_paired_test_sees_what_two_intervals_cannot():
    random = np.random.default_rng(5)
    truth = np.repeat([True, False], 150)
    shared = random.normal(size=300) + truth
    better = shared + 0.25 * truth
    found = compare_aucs(truth, better, shared)
    assert found.difference.low > 0
    assert found.p < 0.001
    assert auc_interval(truth, better).low < auc_interval(truth, shared).high
    back = compare_aucs(truth, shared, better)
    assert back.difference.estimate == -found.difference.estimate
    assert back.p == found.p


def test_a_difference_without_an_error_has_no_p():
    found = compare_aucs([True, True, False, False], [4, 3, 2, 1], [1, 2, 3, 4])
    assert found.difference.estimate == 1
    assert np.isnan([found.difference.low, found.difference.high, found.z, found.p]).all()


def test_a_method_does_not_differ_from_itself():
    truth, score = [True, True, False, False, True], [3, 2, 1, 2, 5]
    found = compare_aucs(truth, score, np.array(score) * 7.0)
    assert (found.difference.estimate, found.z, found.p) == (0, 0, 1)


def test_one_positive_has_no_variance():
    with pytest.raises(ValueError, match="1 positives and 3 negatives"):
        auc_interval([True, False, False, False], [4, 3, 2, 1])
