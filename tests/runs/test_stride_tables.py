"""Heads by features and a swept field on a toy cohort: every row is there."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import ResNetConfig, ResNetModel

from koilo.bundle import load_bundle
from koilo.datasets.crop_store import CropStore
from koilo.errors import ConfigError
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
import stride_features
import stride_sweep
import stride_tables


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("out")


def test_each_head_and_rival_has_a_row_on_each_kind_of_features_and_is_not_made_again(
    store: CropStore, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = ChengSettings(steps=2, lengths=(2,), weights=1, width=8)
    monkeypatch.setattr(stride_tables, "ChengRival", partial(ChengRival, settings=small))
    study = stride.Study(store, PLAN, out, 1, {})
    kinds = ["two_stage", "mean_teacher", "simclr", "swift"]
    table = stride_tables.heads_table(study, kinds)
    names = {*HEADS} - stride_tables.NOT_OF_FEATURES | {"Cheng 2021", "Zhu 2021"}
    assert [(row[0], row[1]) for row in table["rows"]] == [
        (kind, name) for kind in kinds for name in sorted(names, key=lambda n: (n[0].isupper(), n))
    ]
    assert len(table["columns"]) == 2 + 2 * len(stride_tables.JUDGED)
    assert all(0 <= value <= 1 for row in table["rows"] for value in row[2:])
    monkeypatch.setattr(stride_tables, "read_features", None)
    assert stride_tables.heads_table(study, kinds) == table


def test_an_encoder_of_ones_own_is_a_row_without_rivals_known_by_its_weights(
    store: CropStore, out: Path, tmp_path: Path
) -> None:
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1]}
    folder = tmp_path / "mine"
    ResNetModel(ResNetConfig(**sizes, layer_type="basic")).save_pretrained(folder)
    study = stride.Study(store, PLAN, out, 1, {})
    rows = stride_tables.heads_table(study, [str(folder)])["rows"]
    assert {row[0] for row in rows} == {"mine"}
    assert {row[1] for row in rows} == {*HEADS} - stride_tables.NOT_OF_FEATURES
    known_by = stride_features.key_of(str(folder))
    (folder / "model.safetensors").write_bytes(b"other")
    assert stride_features.key_of(str(folder)) != known_by


def test_unknown_features_are_refused_with_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match=r"'resnet9000' is unknown. Allowed: two_stage.*folder"):
        stride_features.known_features("swift,resnet9000")


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


def test_backbones_begin_at_random_weights_whatever_the_study_begins_in(
    store: CropStore, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stride_tables, "BACKBONES", ("resnet_twin",))
    plan = replace(PLAN, start=load_bundle(stride.START).folder)  # of another trunk
    table = stride_tables.backbones_table(stride.Study(store, plan, out, 1, {}))
    assert [row[:2] for row in table["rows"]] == [
        ["resnet_twin", m] for m in ("two_stage", "swift")
    ]
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
    in_train, in_eval = in_both_modes(
        model, stride_tables._judge(model, store, slides, settings, seed=0)
    )
    assert seen == [12, 8, 8] * 2
    alone = judge_slides(model.student, model.head, store, slides, 4)
    np.testing.assert_allclose(in_eval, alone, rtol=1e-4, atol=1e-6)
    assert not np.allclose(in_train, in_eval, atol=1e-6)
