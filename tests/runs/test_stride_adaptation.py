"""Adaptation on a toy cohort: both splits measured before and after, nothing trained on the way."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from koilo.datasets.crop_store import CropStore
from koilo.errors import TrainingError
from koilo.mil.adaptation import AdaptationSettings
from tests.conftest import ROOT
from tests.runs.toy_plan import PLAN
from tests.train.toy_store import make_toy_store

sys.path.insert(0, str(ROOT / "runs"))

import stride
import stride_adaptation


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CropStore:
    splits = ("train", "validation", "test", "unseen")
    return make_toy_store(tmp_path_factory.mktemp("cohort"), n_slides=40, splits=splits)


@pytest.fixture(scope="module")
def study(store: CropStore, tmp_path_factory: pytest.TempPathFactory) -> stride.Study:
    """Both methods, trained for two steps with one seed."""
    made = stride.Study(store, PLAN, tmp_path_factory.mktemp("out"), 1, {})
    for method in stride_adaptation.METHODS:
        made.model(method)
    return made


def test_each_method_is_measured_before_and_after_on_unseen_slides_and_on_the_control(
    study: stride.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stride_adaptation, "DRAWS", 20)
    table = stride_adaptation.adaptation_table(study)
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    assert [(row["method"], row["pace"], row["split"]) for row in rows] == [
        (method, pace, split)
        for method in ("two_stage", "swift")
        for pace in ("published", "fast")
        for split in ("unseen", "test (control)")
    ]
    assert {row["slides"] for row in rows} == {10}
    assert all(0 <= row["AUC, after"] <= 1 for row in rows)


def test_adapting_at_rate_0_changes_nothing_whatever_the_order_of_slides(
    study: stride.Study,
) -> None:
    head, bags = stride_adaptation.head_and_bags(study, "swift")
    unseen, test = stride_adaptation.adapted(head, bags, AdaptationSettings(lr=0.0), 3)
    np.testing.assert_allclose(unseen, stride_adaptation.p_positive(head, bags.unseen), atol=1e-5)
    assert test.shape == (2, 10)  # a row for the head that each of two centres leaves
    np.testing.assert_allclose(test[1], stride_adaptation.p_positive(head, bags.test), atol=1e-5)


def test_what_is_not_trained_is_refused(study: stride.Study, tmp_path: Path) -> None:
    empty = stride.Study(study.store, PLAN, tmp_path, 1, {})
    with pytest.raises(TrainingError, match="no finished run of two_stage"):
        stride_adaptation.adaptation_table(empty)
    assert not any(tmp_path.iterdir())
