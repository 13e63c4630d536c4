"""Diagnosis of joint training: maps against the truth, slides at several sizes of their cells."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from koilo.train.stages import NetConfig, build_model
from koilo.train.views import strong_view
from tests.conftest import ROOT
from tests.runs.toy_plan import PLAN as TOY
from tests.train.toy_store import CELLS_A_SLIDE, make_toy_store

sys.path.insert(0, str(ROOT / "runs"))

import stride
import stride_diagnosis
import stride_page

PLAN = replace(TOY, net=NetConfig("nanodet_frozen_norm", head_config={"hidden": 8}))


def test_maps_and_views_of_what_has_run_are_told_and_swapped_slides_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_toy_store(tmp_path / "cohort", n_slides=40)
    (store.folder / "truth").mkdir()
    names = [slide.slide_id for slide in store.slides]
    swapped = [slide.label == "AGC" for slide in store.slides]
    table = pa.table({"slide_id": names, "swapped": swapped})
    pq.write_table(table, store.folder / "truth" / "slides.parquet")
    model = build_model(PLAN.net, 1)
    run = stride.run_folder(tmp_path / "out", 1, "two_stage", {})
    for part, net in (("cells", model), ("long_head", model.head)):
        (run / part).mkdir(parents=True)
        save_file(net.state_dict(), run / part / "model.safetensors")
        (run / part / "metrics.json").write_text('{"metrics": {}}')
    read: list[str] = []
    evenly = stride_diagnosis.evenly
    monkeypatch.setattr(
        stride_diagnosis,
        "evenly",
        lambda slides, n: (
            read.extend(s.label for s in slides if s.split == "train") or evenly(slides, n)
        ),
    )
    monkeypatch.setattr(stride_page, "cpu_plan", lambda **_: PLAN)
    page = tmp_path / "page.json"
    arguments = [str(store.folder), str(tmp_path / "out"), "--smoke", "--page", str(page)]
    monkeypatch.setattr(sys, "argv", ["stride_diagnosis.py", *arguments])
    stride_diagnosis.main()
    assert set(read) == {"ASC-US", "LSIL", "ASC-H", "HSIL+SCC"}
    told = json.loads(page.read_text())
    assert 0 < told["controls"]["cells labelled at random: of these right"] < 1
    assert told["notes"][-1].startswith("Not run: slide_ft, swift_no_cam, swift, continued, ")
    maps, views, colours = told["tables"].values()
    assert colours["rows"] == []
    assert [row[1] for row in maps["rows"]] == ["gradcam", "hirescam", "eq4", "attention"]
    assert [row[1] for row in views["rows"]] == list(stride_diagnosis.VIEWS)
    for made in (maps, views):
        assert {len(row) for row in made["rows"]} == {len(made["columns"])}
        assert all(0 <= value <= 1 for row in made["rows"] for value in row[2:])


def test_attention_of_a_bag_is_shared_out_and_each_map_is_another() -> None:
    model = build_model(PLAN.net, 1).eval()
    width = model.student.n_features
    features = np.random.default_rng(0).normal(size=(CELLS_A_SLIDE, width)).astype(np.float32)
    maps = stride_diagnosis.maps_of(model.head, features, 2)
    assert float(maps["attention"].sum()) == pytest.approx(1)
    assert not torch.allclose(maps["gradcam"], maps["hirescam"])


def test_the_magnified_view_enlarges_a_nucleus_and_the_still_one_changes_nothing() -> None:
    y, x = torch.meshgrid(torch.arange(64) - 31.5, torch.arange(64) - 31.5, indexing="ij")
    disc = (x**2 + y**2 < 12**2).float().expand(100, 3, 64, 64)
    areas = {
        name: strong_view(disc, torch.Generator().manual_seed(0), view).mean() / disc.mean()
        for name, view in stride_diagnosis.VIEWS.items()
    }
    assert areas["as they are"] == pytest.approx(1, abs=1e-3)
    assert areas["cut to .925-1"] == pytest.approx(1.08, abs=0.02)


def test_the_worst_way_of_colours_costs_more_than_any_way_and_no_way_nothing() -> None:
    model = build_model(PLAN.net, 1).eval()
    torch.manual_seed(0)
    bag = 0.2 + 0.6 * torch.rand(CELLS_A_SLIDE, 3, 32, 32)

    def loss(change: str) -> float:
        chance = torch.Generator().manual_seed(3)
        moved = stride_diagnosis.recolour(model.student, model.head, bag, 2, change, chance)
        assert moved.shape == bag.shape
        with torch.no_grad():
            logits = stride_diagnosis._logits(model.student, model.head, moved)
        return float(torch.nn.functional.cross_entropy(logits, torch.tensor([2])))

    losses = {change: loss(change) for change in stride_diagnosis.CHANGES}
    assert len(set(losses.values())) == len(losses)
    assert losses["RGB the worst way"] > max(losses["RGB any way"], losses["as they are"])


def test_colours_are_moved_alike_for_every_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_toy_store(tmp_path / "cohort", n_slides=40)
    study = stride.Study(store, PLAN, tmp_path, 1, {})
    model = build_model(PLAN.net, 1)
    monkeypatch.setattr(study, "judged", lambda method: model.parts(averaged=False))
    rows = [stride_diagnosis.colour_rows(study, name, 8) for name in ("swift", "continued")]
    assert [row[1] for row in rows[0]] == list(stride_diagnosis.CHANGES)
    assert [row[1:] for row in rows[0]] == [row[1:] for row in rows[1]]
