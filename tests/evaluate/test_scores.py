import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, roc_auc_score, roc_curve

from koilo.evaluate.decision_curve import decision_curve
from koilo.evaluate.scores import (
    auc,
    confusion,
    f1_by_class,
    macro_f1,
    reweighted,
    roc_points,
    sensitivity_specificity,
)

CLASSES = ["NILM", "LSIL", "HSIL"]

labelled = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=4, max_size=60).filter(
    lambda rows: 0 < sum(t for t, _ in rows) < len(rows)
)


@given(labelled)
def test_auc_with_ties_equals_scikit_learns(rows):
    truth, score = zip(*rows, strict=True)
    assert auc(truth, score) == pytest.approx(roc_auc_score(truth, score))


@given(labelled)
def test_auc_is_the_share_of_pairs_in_order(rows):
    positives = [s for t, s in rows if t]
    negatives = [s for t, s in rows if not t]
    wins = sum((p > n) + (p == n) / 2 for p in positives for n in negatives)
    assert auc(*zip(*rows, strict=True)) == pytest.approx(wins / len(positives) / len(negatives))


@given(labelled)
def test_the_roc_curve_equals_scikit_learns(rows):
    truth, score = zip(*rows, strict=True)
    theirs = roc_curve(truth, score, drop_intermediate=False)
    for ours, expected in zip(roc_points(truth, score), theirs, strict=False):
        np.testing.assert_allclose(ours, expected)


def test_auc_of_one_class_alone_is_nan():
    assert np.isnan(auc([True, True], [0.1, 0.2]))


def test_a_score_at_the_threshold_is_called_positive():
    assert sensitivity_specificity([1, 1, 0, 0], [0.5, 0.4, 0.5, 0.1], 0.5) == (0.5, 0.5)


def test_a_score_that_is_no_number_is_never_called_negative():
    with pytest.raises(ValueError, match="no number"):
        sensitivity_specificity([1, 1, 0], [0.5, np.nan, 0.1], 0.5)
    with pytest.raises(ValueError, match="no number"):
        decision_curve([1, 1, 0], [0.5, np.nan, 0.1])


@given(st.lists(st.tuples(st.sampled_from(CLASSES), st.sampled_from(CLASSES)), min_size=1))
def test_f1_equals_scikit_learns(pairs):
    truth, called = zip(*pairs, strict=True)
    table = confusion(truth, called, CLASSES)
    occurring = sorted(set(truth) | set(called))
    assert table.sum() == len(pairs)
    expected = f1_score(truth, called, labels=occurring, average="macro", zero_division=0)
    assert macro_f1(table) == pytest.approx(expected)


def test_a_class_that_never_occurs_has_no_f1():
    table = confusion(["NILM"], ["NILM"], CLASSES)
    assert f1_by_class(table)[0] == 1
    assert np.isnan(f1_by_class(table)[1:]).all()


def test_reweighting_keeps_each_classs_share_and_gives_it_the_wanted_count():
    table = np.array([[8, 2], [1, 1]])
    scaled = reweighted(table, [100, 10])
    assert scaled.sum(axis=1).tolist() == [100, 10]
    assert scaled[0, 0] == pytest.approx(80)
