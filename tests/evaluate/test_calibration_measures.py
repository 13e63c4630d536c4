"""ECE, Brier score and temperature of a set: intervals that hold the estimate, or none."""

from __future__ import annotations

import numpy as np
import pytest

from koilo.evaluate.calibration import brier_score, reliability
from koilo.evaluate.calibration_measures import BINS, measure_calibration
from koilo.evaluate.measures import plain
from koilo.evaluate.write_up import write_up

SPREAD = ("ece_equal_mass", "ece_equal_width", "brier")


def test_every_estimate_is_that_of_the_set_and_lies_within_its_interval() -> None:
    random = np.random.default_rng(5)
    for _ in range(6):  # right probabilities: resampling raises their ECE the most
        p = random.random(46)
        truth = random.random(46) < p
        found = measure_calibration(truth, p, draws=60)
        assert found is not None
        for name in SPREAD:
            assert 0 <= found[name].low < found[name].estimate < found[name].high
        assert found["brier"].estimate == pytest.approx(brier_score(truth, p))
        assert found["ece_equal_mass"].estimate == reliability(truth, p, bins=BINS).ece


def test_slides_are_drawn_within_positives_and_negatives() -> None:
    # Equal scores within each kind: every draw is the set again, and nothing can be said of spread.
    truth, p = np.repeat([True, False], [3, 7]), np.repeat([0.6, 0.3], [3, 7])
    found = plain(measure_calibration(truth, p, draws=20))
    for name in ("brier", "ece_equal_width"):
        assert found[name]["estimate"] is not None
        assert (found[name]["low"], found[name]["high"]) == (None, None)


def test_one_slide_has_a_brier_score_and_no_interval() -> None:
    found = plain(measure_calibration(np.array([True]), np.array([0.75]), draws=20))
    assert found["brier"] == {"estimate": 0.0625, "low": None, "high": None}


def test_at_a_prevalence_intervals_are_of_shifted_p_and_weighted_slides() -> None:
    random = np.random.default_rng(6)
    p = random.random(80)
    truth = random.random(80) < p
    here = measure_calibration(truth, p, draws=40)
    there = measure_calibration(truth, p, 0.05, draws=40)
    assert here is not None
    assert there is not None
    assert there["brier"].low < there["brier"].estimate < there["brier"].high < here["brier"].low


@pytest.mark.parametrize(
    ("truth", "p", "said"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], "the scores part both kinds without a mistake"),
        ([0, 1, 0, 1], [0.2, 0.2, 0.9, 0.9], "the scores tell nothing of the truth"),
        ([1, 1, 1, 1], [0.1, 0.2, 0.8, 0.9], "a class is absent"),
    ],
)
def test_the_page_says_why_no_temperature_is_stated(
    truth: list[int], p: list[float], said: str
) -> None:
    found = plain(measure_calibration(np.array(truth, dtype=bool), np.array(p), draws=20))
    assert found["temperature"] is None
    assert found["ece_equal_mass_at_temperature"] is None
    slides = {"n": 4, "n_judged": 4, "n_positive": 2, "by_label": {}, "without_result": [],
              "unlabelled": [], "n_fields": 0, "n_synthetic": 0,
              "n_without_threshold": 4}  # fmt: skip
    values = {"slides": slides, "ranking": None, "locked": None, "grading": None,
              "calibration": found}  # fmt: skip
    [line] = [row for row in write_up(values, {}, [], {}).splitlines() if "temperature" in row]
    assert line.startswith(f"| temperature | – | none is stated: {said}")


def test_a_temperature_that_fits_is_stated() -> None:
    found = measure_calibration(
        np.array([0, 1, 0, 1, 1], dtype=bool), np.array([0.2, 0.4, 0.6, 0.7, 0.9]), draws=20
    )
    assert found is not None
    assert found["no_temperature"] is None
    assert 0.05 < found["temperature"] < 20
