"""Calibration against scikit-learn, literal bins and Bayes' rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from koilo.evaluate.calibration import (
    brier_score,
    calibrated,
    ece_by_chance,
    fit_temperature,
    reliability,
    shift_prevalence,
    shift_prior,
    temper,
)

rows = st.lists(st.tuples(st.booleans(), st.floats(0, 1, width=32)), min_size=1, max_size=50)


def test_right_probabilities_have_the_ece_of_chance_and_more_slides_less_of_it():
    random = np.random.default_rng(3)
    p = random.random(60)
    eces = [reliability(random.random(60) < p, p).ece for _ in range(200)]
    assert ece_by_chance(p) == pytest.approx(np.mean(eces), rel=0.1)
    assert ece_by_chance(np.tile(p, 20)) < 0.4 * ece_by_chance(p)


@given(rows, st.integers(1, 12))
def test_bins_of_equal_width_are_literally_so(rows, bins):
    truth, p = (np.array(values) for values in zip(*rows, strict=True))
    gap = 0.0
    for number in range(bins):
        last = number == bins - 1
        inside = np.array([number <= v * bins and (v * bins < number + 1 or last) for v in p])
        if inside.any():
            gap += inside.mean() * abs(p[inside].mean() - truth[inside].mean())
    assert reliability(truth, p, bins=bins, scheme="width").ece == pytest.approx(gap)


def test_bins_of_equal_width_and_mass_equal_scikit_learns():
    random = np.random.default_rng(0)
    p = random.uniform(size=400)
    truth = random.uniform(size=400) < p**2
    for scheme, strategy in (("width", "uniform"), ("mass", "quantile")):
        found = reliability(truth, p, bins=8, scheme=scheme)
        observed, p_mean = calibration_curve(truth, p, n_bins=8, strategy=strategy)
        np.testing.assert_allclose(found.observed, observed)
        np.testing.assert_allclose(found.p_mean, p_mean)
    assert reliability(truth, p, bins=8).weight.tolist() == [50] * 8


@given(rows, st.integers(1, 12), st.sampled_from(["mass", "width"]))
def test_bins_hold_every_slide_once_and_equal_p_stay_together(rows, bins, scheme):
    truth, p = (np.array(values) for values in zip(*rows, strict=True))
    found = reliability(truth, p, bins=bins, scheme=scheme)
    assert found.weight.sum() == len(p)
    assert 0 <= found.ece <= 1
    assert (np.diff(found.p_mean) >= 0).all()
    assert reliability(truth, np.full(len(p), 0.3), bins=bins, scheme=scheme).weight.size == 1


def test_a_weight_of_two_is_a_slide_that_stands_twice():
    truth, p = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.3, 0.2])
    twice = np.array([0, 0, 1, 2, 3])
    weighted = reliability(truth, p, bins=5, scheme="width", weights=[2, 1, 1, 1])
    assert weighted.ece == pytest.approx(
        reliability(truth[twice], p[twice], bins=5, scheme="width").ece
    )
    assert brier_score(truth, p, [2, 1, 1, 1]) == pytest.approx(brier_score(truth[twice], p[twice]))


@given(rows)
def test_brier_equals_scikit_learns(rows):
    truth, p = zip(*rows, strict=True)
    assert brier_score(truth, p) == pytest.approx(
        brier_score_loss(np.array(truth), np.array(p), labels=[False, True])
    )


def drawn(n=4000):
    random = np.random.default_rng(1)
    logits = random.normal(size=(n, 3)) * 1.5
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    classes = np.array([random.choice(3, p=row) for row in p])
    return p, classes


def test_temperature_finds_what_was_done_to_the_logits():
    p, classes = drawn()
    assert fit_temperature(p, classes) == pytest.approx(1, abs=0.06)
    sharpened = temper(p, 0.4)
    assert fit_temperature(sharpened, classes) == pytest.approx(1 / 0.4, rel=0.06)
    np.testing.assert_allclose(temper(sharpened, 1 / 0.4), p, atol=1e-9)


def test_no_other_temperature_is_likelier():
    p, classes = drawn(300)
    best = fit_temperature(p, classes)

    def surprise(temperature):
        return -np.log(temper(p, temperature)[np.arange(len(p)), classes]).mean()

    grid = np.linspace(0.2, 5, 97)
    assert surprise(best) <= min(surprise(t) for t in grid) + 1e-7


def test_temperature_keeps_the_order_of_slides_and_certain_probabilities_are_borne():
    p = np.array([[1.0, 0.0], [0.7, 0.3], [0.0, 1.0]])
    assert np.argsort(temper(p, 3.0)[:, 1]).tolist() == [0, 1, 2]
    assert np.isfinite(fit_temperature(p, [0, 1, 1]))
    assert 0.01 <= fit_temperature([[0.9, 0.1]] * 3, [0, 0, 0]) < 0.1


@given(st.floats(0.02, 0.98), st.floats(0.02, 0.98))
def test_a_shift_of_prevalence_is_bayes_rule(source, target):
    # A test with known likelihoods: p by Bayes at one prevalence becomes p by Bayes at the other.
    like_positive, like_negative = 0.7, 0.2

    def bayes(share):
        return share * like_positive / (share * like_positive + (1 - share) * like_negative)

    found = shift_prevalence([bayes(source)], source, target)[0]
    assert found == pytest.approx(bayes(target), rel=1e-9)
    assert shift_prevalence([found], target, source)[0] == pytest.approx(bayes(source), rel=1e-9)


def test_shares_that_are_none_are_refused():
    with pytest.raises(ValueError, match="sum to 1"):
        shift_prior([[0.5, 0.5]], [0.5, 0.5], [0.5, 0.6])
    with pytest.raises(ValueError, match="does not hold"):
        shift_prior([[0.5, 0.5]], [1.0, 0.0], [0.5, 0.5])
    with pytest.raises(ValueError, match="outside 0 to 1"):
        reliability([True], [1.2])
    with pytest.raises(ValueError, match="above 0"):
        temper([[0.5, 0.5]], 0)


@given(st.floats(0.01, 0.99), st.floats(0.2, 5), st.floats(0.05, 0.95), st.floats(0.01, 0.9))
def test_a_calibrated_probability_is_the_formula_of_the_docs(p, temperature, at, wanted):
    def logit(x):
        return np.log(x / (1 - x))

    score = logit(p) / temperature
    assert logit(calibrated(p, temperature)) == pytest.approx(score, abs=1e-6)
    assert logit(calibrated(p, temperature, at, wanted)) == pytest.approx(
        score + logit(wanted) - logit(at), abs=1e-6
    )
    assert calibrated(p, temperature, at) == calibrated(p, temperature, None, wanted)
