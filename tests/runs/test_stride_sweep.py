"""A swept field on a toy cohort: a row a value, and nothing trained twice."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from koilo.datasets.crop_store import CropStore
from tests.conftest import ROOT
from tests.runs.toy_plan import PLAN

sys.path.insert(0, str(ROOT / "runs"))

import stride
import stride_sweep


def test_a_sweep_has_a_row_a_value_and_is_not_trained_again(
    store: CropStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = stride.Study(store, PLAN, tmp_path, 1, {})
    rows = stride_sweep.sweep(study, "top_k", (2, 4))
    assert [row[:2] for row in rows] == [["top_k", 2], ["top_k", 4]]
    monkeypatch.setattr(stride_sweep, "train_swift_stage", None)
    assert stride_sweep.sweep(study, "top_k", (2, 4)) == rows
    own = study.metrics("swift")  # whose top_k is 4
    assert rows[1][2] in (own["average_auc"], own["student_auc"])
    assert [folder.name for folder in (tmp_path / "sweep" / "1").iterdir()] == ["top_k-2"]
