"""Backbones on a toy cohort: where they begin, and in which batches they are judged."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from koilo.bundle import load_bundle
from koilo.datasets.crop_store import CropStore
from koilo.train.both_modes import in_both_modes
from koilo.train.recipes.swift import SwiftSettings
from koilo.train.stages import NetConfig, build_model
from koilo.train.swift_model import judge_slides
from tests.conftest import ROOT
from tests.runs.toy_plan import PLAN

sys.path.insert(0, str(ROOT / "runs"))

import stride
import stride_backbones


def test_backbones_begin_at_random_weights_whatever_the_study_begins_in(
    store: CropStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stride_backbones, "BACKBONES", ("resnet_twin",))
    plan = replace(PLAN, start=load_bundle(stride.START).folder)  # of another trunk
    table = stride_backbones.backbones_table(stride.Study(store, plan, tmp_path, 1, {}))
    own = [["resnet_twin", method] for method in ("two_stage", "swift")]
    assert [row[:2] for row in table["rows"]] == own
    assert all(0 <= value <= 1 for row in table["rows"] for value in row[2:])


def test_backbones_are_judged_in_batches_of_as_many_slides_as_a_training_step(
    store: CropStore,
) -> None:
    torch.manual_seed(0)
    model = build_model(NetConfig("plain", {"widths": [4, 8], "blocks": [1, 1]}), 1).eval()
    slides = list(store.of_split("test"))[:7]
    seen: list[int] = []
    model.student.trunk.register_forward_pre_hook(lambda _, x: seen.append(len(x[0])))
    settings = SwiftSettings(n_cells=4, n_slides=3, top_k=4)
    judge = stride_backbones._judge(model, store, slides, settings, seed=0)
    in_train, in_eval = in_both_modes(model, judge)
    assert seen == [12, 8, 8] * 2
    alone = judge_slides(model.student, model.head, store, slides, 4)
    np.testing.assert_allclose(in_eval, alone, rtol=1e-4, atol=1e-6)
    assert not np.allclose(in_train, in_eval, atol=1e-6)
