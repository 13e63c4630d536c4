from __future__ import annotations

import doctest

import numpy as np
import pytest

from koilo.evaluate import predictive


def test_predictive_values_equal_the_counts_of_a_cohort():
    sensitivity, specificity, prevalence = 0.9, 0.8, 0.05
    tp, fn, fp, tn = 45, 5, 190, 760  # of 1,000
    ppv, npv = predictive.predictive_values(sensitivity, specificity, prevalence)
    assert float(ppv) == pytest.approx(tp / (tp + fp))
    assert float(npv) == pytest.approx(tn / (tn + fn))
    (row,) = predictive.predictive_table(sensitivity, specificity, [prevalence])
    assert row.flagged_per_1000 == pytest.approx(tp + fp)
    assert row.missed_per_1000 == pytest.approx(fn)


def test_a_test_that_flags_nobody_has_no_positive_predictive_value():
    (row,) = predictive.predictive_table(0.0, 1.0, [0.05])
    assert row.ppv is None
    assert row.npv == pytest.approx(0.95)


def test_the_table_has_the_three_prevalences_of_the_report():
    rows = predictive.predictive_table(0.95, 0.6)
    assert [row.prevalence for row in rows] == [0.01, 0.05, 0.20]
    assert np.all(np.diff([row.ppv for row in rows]) > 0)
    assert np.all(np.diff([row.npv for row in rows]) < 0)


@pytest.mark.parametrize("bad", [(95.0, 0.6), (0.95, -0.1), (float("nan"), 0.5)])
def test_a_percentage_is_refused(bad):
    with pytest.raises(ValueError, match="share from 0 to 1"):
        predictive.predictive_values(*bad, prevalence=0.05)


def test_the_example_in_the_docstring_holds():
    assert doctest.testmod(predictive).failed == 0
