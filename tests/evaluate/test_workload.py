"""Workload, missed slides, decision curves, prevalence, centres: against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from koilo.evaluate.centres import by_centre
from koilo.evaluate.decision_curve import decision_curve
from koilo.evaluate.prevalence import counts_at_prevalence, prevalence_weights
from koilo.evaluate.scores import auc, confusion, f1_by_class, reweighted
from koilo.evaluate.workload import recall_by_class, recall_by_group, workload

slides = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=50).filter(
    lambda rows: 0 < sum(t for t, _ in rows) < len(rows)
)


@given(slides)
def test_workload_is_counting(rows):
    found = workload(*zip(*rows, strict=True))
    below = [t for t, c in rows if not c]
    negatives = [c for t, c in rows if not t]
    assert found.negatives_ruled_out == pytest.approx(1 - np.mean(negatives))
    assert found.all_ruled_out == pytest.approx(len(below) / len(rows))
    if below:
        assert found.missed_of_ruled_out == pytest.approx(np.mean(below))
    else:
        assert np.isnan(found.missed_of_ruled_out)


@given(slides, st.floats(0.05, 0.95))
def test_workload_at_a_prevalence_is_that_of_the_weighted_slides(rows, prevalence):
    truth, called = (np.array(values) for values in zip(*rows, strict=True))
    weights = prevalence_weights(truth, prevalence)
    assert weights.mean() == pytest.approx(1)
    assert weights[truth].sum() / weights.sum() == pytest.approx(prevalence)
    found = workload(truth, called, prevalence=prevalence)
    assert found.all_ruled_out == pytest.approx(np.average(~called, weights=weights))


def test_missed_slides_by_class_and_the_groups_that_matter():
    labels = ["NILM", "ASC-US", "ASC-US", "AGC", "HSIL", "ASC-H", "HSIL+SCC", "ASC-H+HSIL+SCC"]
    called = [True, False, True, False, True, False, True, True]
    rows = {row.name: (row.n, row.n_missed) for row in recall_by_class(labels, called)}
    assert rows == {
        "ASC-US": (2, 1), "AGC": (1, 1), "ASC-H": (1, 1), "HSIL": (1, 0),
        "HSIL+SCC": (1, 0), "ASC-H+HSIL+SCC": (1, 0),
    }  # fmt: skip
    groups = {row.name: (row.n, row.n_missed) for row in recall_by_group(labels, called)}
    # AGC counts in neither; a fold with ASC-H is no HSIL+.
    assert groups == {"ASC-H+": (4, 1), "HSIL+": (2, 0)}


def test_a_group_without_a_slide_has_no_sensitivity():
    [_, hsil] = recall_by_group(["NILM", "ASC-H"], [False, True])
    assert hsil.n == 0
    assert np.isnan(hsil.sensitivity.estimate)


@given(slides, st.floats(0.01, 0.9))
def test_net_benefit_is_its_definition(rows, threshold):
    truth, called = (np.array(values) for values in zip(*rows, strict=True))
    p = np.where(called, 0.95, 0.005)
    found = decision_curve(truth, p, [threshold])
    n, odds = len(truth), threshold / (1 - threshold)
    hits, alarms = (truth & called).sum(), (~truth & called).sum()
    assert found.model[0] == pytest.approx(hits / n - alarms / n * odds)
    assert found.treat_all[0] == pytest.approx(truth.mean() - (~truth).mean() * odds)


def test_acting_on_all_is_the_model_that_calls_all_and_a_prevalence_moves_both():
    truth = np.array([True, False, False, True])
    every = decision_curve(truth, np.ones(4), [0.2], prevalence=0.1)
    assert every.model[0] == pytest.approx(every.treat_all[0])
    assert every.treat_all[0] == pytest.approx(0.1 - 0.9 * 0.25)
    with pytest.raises(ValueError, match="between 0 and 1"):
        decision_curve(truth, np.ones(4), [1.0])
    with pytest.raises(ValueError, match="positives and negatives"):
        decision_curve([True], [0.5])


def test_f1_of_an_enriched_set_is_brought_to_a_prevalence():
    truth = ["NILM"] * 4 + ["LSIL"] * 4 + ["HSIL"] * 2
    called = ["NILM", "NILM", "LSIL", "NILM", "LSIL", "NILM", "LSIL", "HSIL", "HSIL", "LSIL"]
    classes = ["NILM", "LSIL", "HSIL"]
    counts = counts_at_prevalence([4, 4, 2], [False, True, True], 0.21)
    assert counts.sum() == 10
    assert counts[1] / counts[2] == pytest.approx(2)
    table = reweighted(confusion(truth, called, classes), counts)
    weights = prevalence_weights([name != "NILM" for name in truth], 0.21)
    theirs = f1_score(truth, called, labels=classes, average=None, sample_weight=weights)
    np.testing.assert_allclose(f1_by_class(table), theirs)


def test_a_prevalence_that_the_set_cannot_have_is_refused():
    with pytest.raises(ValueError, match="does not hold"):
        prevalence_weights([False, False], 0.2)
    with pytest.raises(ValueError, match="from 0 to 1"):
        prevalence_weights([True, False], 20)
    assert prevalence_weights([False, False], 0.0).tolist() == [1, 1]


def test_each_centre_has_a_row_and_all_together_the_last():
    centres = ["b", "a", "a", "b", "a", "a", "b"]
    truth = [True, True, False, True, True, False, True]
    score = [0.9, 0.8, 0.2, 0.7, 0.6, 0.7, 0.1]
    rows = by_centre(centres, truth, score, np.array(score) >= 0.65)
    assert [(r.centre, r.n, r.n_positive) for r in rows] == [
        ("a", 4, 2),
        ("b", 3, 3),
        ("all", 7, 5),
    ]
    a, b, every = rows
    assert a.auc.estimate == pytest.approx(0.75)
    assert (a.sensitivity.estimate, a.specificity.estimate) == (0.5, 0.5)
    assert a.sensitivity.low < 0.5 < a.sensitivity.high
    assert np.isnan([b.auc.estimate, b.specificity.estimate, b.spec_at_sens95.estimate]).all()
    assert b.sensitivity.estimate == pytest.approx(2 / 3)
    assert every.auc.estimate == pytest.approx(auc(truth, score))


def test_one_centre_needs_no_total_and_no_threshold_no_sensitivity():
    [only] = by_centre(["a"] * 4, [True, False, True, False], [4, 3, 2, 1], None)
    assert np.isnan(only.sensitivity.estimate)
    assert only.spec_at_sens95.estimate == 0.5
    assert only.spec_at_sens95.low == 0
