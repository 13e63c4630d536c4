"""Heads by features and a swept field on a toy cohort: every row is there."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from koilo.datasets.crop_store import CropStore
from koilo.mil import HEADS
from koilo.mil.cheng import ChengRival, ChengSettings
from koilo.train.both_modes import in_both_modes
from koilo.train.recipes.swift import SwiftSettings
from koilo.train.stages import NetConfig, build_model
from koilo.train.swift_model import judge_slides
from tests.conftest import ROOT
from tests.runs.toy_plan import PLAN

sys.path.insert(0, str(ROOT / "runs"))

import stride
import stride_sweep
import stride_tables


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("out")


def test_each_head_and_rival_has_a_row_on_both_methods_features(
    store: CropStore, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = ChengSettings(steps=2, lengths=(2,), weights=1, width=8)
    monkeypatch.setattr(stride_tables, "ChengRival", partial(ChengRival, settings=small))
    table = stride_tables.heads_table(store, PLAN, out, 1)
    names = {*HEADS} - stride_tables.NOT_OF_FEATURES | {"Cheng 2021", "Zhu 2021"}
    assert {(row[0], row[1]) for row in table["rows"]} == {
        (method, name) for method in ("two_stage", "swift") for name in names
    }
    assert len(table["columns"]) == 2 + 2 * len(stride_tables.JUDGED)
    assert all(0 <= value <= 1 for row in table["rows"] for value in row[2:])


def test_a_sweep_has_a_row_a_value_and_is_not_trained_again(
    store: CropStore, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stride_sweep, "cpu_plan", lambda **_: PLAN)
    options = argparse.Namespace(cohort=store.folder, out=out, seed=1, smoke=True, threads=1)
    rows = stride_sweep.sweep(options, "top_k", (2, 4))
    assert [row[:2] for row in rows] == [["top_k", 2], ["top_k", 4]]
    monkeypatch.setattr(stride_sweep, "train_swift_stage", None)
    assert stride_sweep.sweep(options, "top_k", (2, 4)) == rows
    own = stride.Study(store, PLAN, out, 1, {}).metrics("swift")  # whose top_k is 4
    assert rows[1][2] in (own["average_auc"], own["student_auc"])
    assert [folder.name for folder in (out / "sweep" / "1").iterdir()] == ["top_k-2"]


def test_backbones_are_judged_in_batches_of_as_many_slides_as_a_training_step(
    store: CropStore,
) -> None:
    torch.manual_seed(0)
    model = build_model(NetConfig("plain", {"widths": [4, 8], "blocks": [1, 1]}), 1).eval()
    slides = list(store.of_split("test"))[:7]
    seen: list[int] = []
    model.student.trunk.register_forward_pre_hook(lambda _, x: seen.append(len(x[0])))
    settings = SwiftSettings(n_cells=4, n_slides=3, top_k=4)
    in_train, in_eval = in_both_modes(
        model, stride_tables._judge(model, store, slides, settings, seed=0)
    )
    assert seen == [12, 8, 8] * 2
    alone = judge_slides(model.student, model.head, store, slides, 4)
    np.testing.assert_allclose(in_eval, alone, rtol=1e-4, atol=1e-6)
    assert not np.allclose(in_train, in_eval, atol=1e-6)
