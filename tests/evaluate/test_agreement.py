"""Kappa and McNemar against scikit-learn, scipy and figures worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.metrics import cohen_kappa_score

from koilo.evaluate.agreement import cohen_kappa, mcnemar
from koilo.evaluate.scores import confusion

CLASSES = ["NILM", "ASC-US", "LSIL", "HSIL"]
ratings = st.lists(
    st.tuples(st.sampled_from(CLASSES), st.sampled_from(CLASSES)), min_size=2, max_size=40
).filter(lambda rows: len({a for a, _ in rows} | {b for _, b in rows}) > 1)


@pytest.mark.parametrize(
    ("weighting", "theirs"), [("none", None), ("linear",) * 2, ("quadratic",) * 2]
)
@given(rows=ratings)
def test_kappa_equals_scikit_learns(weighting, theirs, rows):
    ours = cohen_kappa(confusion(*zip(*rows, strict=True), CLASSES), weighting)
    first, second = zip(*rows, strict=True)
    assert ours == pytest.approx(
        cohen_kappa_score(first, second, labels=CLASSES, weights=theirs), abs=1e-12
    )


def test_kappa_of_perfect_agreement_is_one_and_of_chance_zero():
    assert cohen_kappa(np.diag([3, 2, 5]), "quadratic") == 1
    assert cohen_kappa(np.outer([1, 2], [3, 4])) == pytest.approx(0)


def test_raters_who_know_one_class_only_have_no_kappa():
    assert np.isnan(cohen_kappa([[7, 0], [0, 0]]))
    assert np.isnan(cohen_kappa([[0, 0], [0, 0]]))


def test_a_table_or_a_weighting_that_is_none_is_refused():
    with pytest.raises(ValueError, match="square"):
        cohen_kappa([[1, 2, 3]])
    with pytest.raises(ValueError, match="allowed: none, linear, quadratic"):
        cohen_kappa(np.eye(2), "cubic")


pairs = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60)


@given(pairs)
def test_mcnemar_equals_its_formulas(rows):
    first, second = np.array([r[0] for r in rows], bool), np.array([r[1] for r in rows], bool)
    found = mcnemar(first, second)
    b = sum(a and not c for a, c in rows)
    c = sum(d and not a for a, d in rows)
    assert (found.only_first, found.only_second) == (b, c)
    # Literal: twice the smaller tail of a fair coin, at most 1.
    assert found.p_exact == pytest.approx(min(1, 2 * binom.cdf(min(b, c), b + c, 0.5)))
    swapped = mcnemar(second, first)
    assert (swapped.p_exact, swapped.p_corrected) == (found.p_exact, found.p_corrected)


def test_mcnemars_textbook_figure():
    # 59 and 6 differing pairs: (|59 - 6| - 1)² / 65 = 41.6
    first = [True] * 59 + [False] * 6 + [True] * 20
    second = [False] * 59 + [True] * 26
    found = mcnemar(first, second)
    assert found.statistic == pytest.approx(41.6)
    assert found.p_corrected == pytest.approx(1.122e-10, rel=1e-3)
