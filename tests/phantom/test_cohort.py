from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from koilo.phantom.cohort import draw_lesions, plan_cohort
from koilo.taxonomy import CYTOLOGY


def test_every_class_centre_and_split_gets_its_share() -> None:
    plans = plan_cohort(120, 3)
    labels = Counter(plan.label for plan in plans)
    assert labels["NILM"] == 60
    assert set(labels) == set(CYTOLOGY)
    assert min(labels.values()) >= 4
    centres = Counter((plan.centre_index, plan.label == "NILM") for plan in plans)
    assert set(centres.values()) == {20}
    splits = Counter(plan.split for plan in plans)
    assert splits["train"] == pytest.approx(72, abs=4)


def test_a_longer_cohort_begins_as_a_shorter_one() -> None:
    assert plan_cohort(20, 2)[:7] == plan_cohort(7, 2)


def test_lesion_counts_are_log_normal_around_the_cohorts_medians() -> None:
    rng = np.random.default_rng(0)
    counts = [draw_lesions(rng, "ASC-US", 20_000)["ASC-US"] for _ in range(400)]
    assert np.median(counts) == pytest.approx(6, abs=1)
    assert min(counts) >= 2
    assert np.percentile(counts, 98) < 40


def test_no_milder_class_outranks_the_label() -> None:
    rng = np.random.default_rng(1)
    order = {"ASC-US": 0, "LSIL": 1, "ASC-H": 2, "HSIL": 3, "SCC": 4, "AGC": 4}
    for label in order:
        for _ in range(30):
            lesions = draw_lesions(rng, label, 3000)
            assert max(lesions, key=lambda name: order[name]) == label


def test_a_negative_slide_has_no_lesion() -> None:
    assert draw_lesions(np.random.default_rng(2), "NILM", 1000) == {}


def test_lesions_never_crowd_out_the_normal_cells() -> None:
    rng = np.random.default_rng(3)
    for label in CYTOLOGY:
        for _ in range(20):
            assert sum(draw_lesions(rng, label, 20).values()) <= 5
