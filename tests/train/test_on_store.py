"""`koilo train swift`: all stages on a toy store, to a bundle that can be loaded."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from koilo.bundle import load_bundle
from koilo.config import parse
from koilo.datasets.crop_store import CropStore
from koilo.encoders.starting import load_start
from koilo.errors import TrainingError
from koilo.evaluate.operating_point import lock_threshold
from koilo.pipeline import load_models
from koilo.train import LoopConfig
from koilo.train.joint import Classes
from koilo.train.on_store import SwiftConfig, refuse_other_cut, train_swift
from koilo.train.recipes.swift import SwiftSettings
from koilo.train.stages import NetConfig, build_model, score_store, train_swift_stage
from tests.conftest import ROOT
from tests.train.toy_store import make_toy_store

LOOP = LoopConfig(steps=3, optimizer="adam", weight_decay=1e-3, device="cpu", threads=1)
NET = NetConfig(
    encoder="convnext_twin",
    encoder_config={"widths": [4, 6, 8, 8], "depths": [1, 1, 1, 1], "drop_path": 0.0},
    head_config={"hidden": 8},
)
SETTINGS = SwiftSettings(n_cells=4, n_slides=2, top_k=4, tau_teacher=0.2)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CropStore:
    return make_toy_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def run(store: CropStore, tmp_path_factory: pytest.TempPathFactory) -> SwiftConfig:
    """A finished run of all four stages."""
    config = SwiftConfig(
        store=store.folder,
        out=tmp_path_factory.mktemp("run"),
        name="toy",
        net=NET,
        cells=LOOP,
        head=LOOP,
        loop=LOOP,
        colour=LOOP,
        settings=SETTINGS,
    )
    train_swift(config)
    return config


def test_every_stage_leaves_its_run_and_every_slide_its_score(run: SwiftConfig) -> None:
    stages = sorted(path.name for path in run.out.iterdir() if path.is_dir())
    assert stages == ["1-cells", "2-head", "3-swift", "4-colour", "bundle"]
    with open(run.out / "scores.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 20
    positive = [row["label"] != "NILM" for row in rows if row["split"] == "validation"]
    score = [float(row["p_positive"]) for row in rows if row["split"] == "validation"]
    threshold = lock_threshold(positive, score)
    assert float(rows[0]["threshold"]) == pytest.approx(threshold, abs=1e-6)
    total = sum(float(value) for name, value in rows[0].items() if name in _p_columns(rows[0]))
    assert total == pytest.approx(1, abs=1e-4)
    assert float(rows[0]["p_positive"]) == pytest.approx(1 - float(rows[0]["p_NILM"]), abs=2e-6)


def test_swift_may_begin_at_random_weights(run: SwiftConfig, tmp_path: Path) -> None:
    train_swift(replace(run, out=tmp_path, two_stages=False, colour=None))
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == [
        "3-swift", "bundle",
    ]  # fmt: skip


def _p_columns(row: dict[str, str]) -> list[str]:
    return [name for name in row if name.startswith("p_") and name != "p_positive"]


def test_the_bundle_loads_for_slides_and_says_what_it_is(run: SwiftConfig) -> None:
    bundle = load_bundle(run.out / "bundle")
    models = load_models(bundle, torch.device("cpu"))
    assert bundle.name == "toy"
    assert models.kinds == ("slide",)
    assert models.top_k == 4
    assert bundle.operating_point("sens95")["n"] == 10
    assert "10 synthetic slides of 2 centres" in bundle.card
    assert not any(line.startswith("AGC") for line in bundle.spec["not_assessed"])


def test_the_bundle_says_of_a_bag_what_the_training_said(
    run: SwiftConfig, store: CropStore
) -> None:
    models = load_models(load_bundle(run.out / "bundle"), torch.device("cpu"))
    slide = store.of_split("validation")[1]
    crops = np.ascontiguousarray(store.crops[store.bag(slide.slide_id, 4)])
    p, _ = models.head.predict(*models.classifier.predict(crops))
    with open(run.out / "scores.csv", newline="") as handle:
        row = next(r for r in csv.DictReader(handle) if r["slide_id"] == slide.slide_id)
    told = [float(row[name]) for name in _p_columns(row)]
    assert p.tolist() == pytest.approx(told, abs=1e-6)


def test_the_slide_that_set_the_threshold_screens_as_positive(
    run: SwiftConfig, store: CropStore
) -> None:
    bundle = load_bundle(run.out / "bundle")
    models = load_models(bundle, torch.device("cpu"))
    positive = [slide for slide in store.of_split("validation") if slide.label != "NILM"]
    score = []
    for slide in positive:
        crops = np.ascontiguousarray(store.crops[store.bag(slide.slide_id, 4)])
        p, _ = models.head.predict(*models.classifier.predict(crops))
        score.append(1.0 - float(p[0]))
    threshold = float(bundle.operating_point("sens95")["threshold"])
    assert min(score) >= threshold  # all of five: 95 % of them, rounded up
    assert min(score) == pytest.approx(threshold, abs=2e-6)


def test_without_labelled_cells_slides_alone_can_be_trained_on(
    run: SwiftConfig, store: CropStore, tmp_path: Path
) -> None:
    shutil.copytree(store.folder, tmp_path / "unlabelled")
    table = pq.read_table(tmp_path / "unlabelled" / "cells.parquet").to_pydict()
    table["given"] = [""] * len(table["given"])
    pq.write_table(pa.table(table), tmp_path / "unlabelled" / "cells.parquet")
    config = replace(run, store=tmp_path / "unlabelled", out=tmp_path / "out", colour=None)
    with pytest.raises(TrainingError, match="label"):
        train_swift(config)
    slides_alone = replace(SETTINGS, terms=("slide",))
    train_swift(replace(config, two_stages=False, settings=slides_alone))


def test_the_audit_sheet_is_a_picture_with_a_row_a_rule_and_class(run: SwiftConfig) -> None:
    sheet = np.asarray(Image.open(run.out / "pseudo_labels.png"))
    assert sheet.shape[0] > 50
    assert sheet.std() > 10


def test_a_finished_run_is_not_trained_again(run: SwiftConfig) -> None:
    weights = run.out / "3-swift" / "model.safetensors"
    before = weights.read_bytes()
    train_swift(run)
    assert weights.read_bytes() == before


def test_a_store_without_positives_to_lock_a_threshold_on_is_refused(store: CropStore) -> None:
    slides = tuple(s for s in store.slides if s.split == "train" or s.label == "NILM")
    model = build_model(NET, 0)
    with pytest.raises(TrainingError, match="holds 0 positive of 5 slides"):
        score_store(model, replace(store, slides=slides), NET.classes, 4, ["validation"])


def relabelled(store: CropStore, folder: Path, change: Callable[[dict[str, str]], None]) -> Path:
    """A copy of a store whose manifest has every row changed."""
    shutil.copytree(store.folder, folder)
    with open(folder / "manifest.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:
        change(row)
    with open(folder / "manifest.csv", "w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def test_what_only_a_later_stage_would_miss_is_refused_before_the_first(
    run: SwiftConfig, store: CropStore, tmp_path: Path
) -> None:
    def all_nilm(row: dict[str, str]) -> None:
        row["label"] = "NILM" if row["split"] == "validation" else row["label"]

    unlocked = replace(run, store=relabelled(store, tmp_path / "nilm", all_nilm))
    classes = Classes(slides=NET.classes.slides[:-1], cells=NET.classes.cells[:-1])
    fewer = replace(run, net=replace(NET, classes=classes))
    for config, said in (
        (unlocked, "holds 0 positive of 10 slides"),
        (fewer, "Slides of .* are labelled AGC"),
        (replace(run, store=emptied(store, tmp_path)), "slides without a cell: s19"),
    ):
        with pytest.raises(TrainingError, match=said):
            train_swift(replace(config, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"top_k": 3}, "keeps 3 cells of a slide where settings.top_k is 4"),
        ({"detector_sha256": "0" * 64}, "not found by the detector of bundle cytology"),
    ],
)
def test_a_store_whose_bags_are_not_what_will_be_screened_is_refused(
    store: CropStore, facts: dict[str, object], said: str
) -> None:
    source = load_bundle("cytology")
    own = {"top_k": 4, "detector_sha256": source.spec["sha256"]["detector.safetensors"]}
    refuse_other_cut(replace(store, facts=own), source, 4)
    with pytest.raises(TrainingError, match=said):
        refuse_other_cut(replace(store, facts={**own, **facts}), source, 4)


def emptied(store: CropStore, folder: Path) -> Path:
    """A copy of a store whose last slide's cells lie outside its bag."""
    shutil.copytree(store.folder, folder / "emptied")
    path = folder / "emptied" / "cells.parquet"
    table = pq.read_table(path).to_pydict()
    pairs = zip(table["slide_id"], table["rank"], strict=True)
    table["rank"] = [-1 if name == "s19" else rank for name, rank in pairs]
    pq.write_table(pa.table(table), path)
    return folder / "emptied"


@pytest.mark.parametrize(
    "net",
    [
        replace(NET, encoder_config={**NET.encoder_config, "widths": [4, 6, 8, 10]}),
        replace(NET, classes=Classes(cells=("NILM", "LSIL", "ASC-US", "ASC-H+HSIL+SCC", "AGC"))),
    ],
    ids=["sizes", "classes"],
)
def test_a_run_of_other_networks_or_classes_is_refused_not_resumed(
    run: SwiftConfig, net: NetConfig
) -> None:
    with pytest.raises(TrainingError, match="belongs to another configuration"):
        train_swift(replace(run, net=net))


def test_the_cpu_settings_are_the_twins_and_the_defaults_the_papers() -> None:
    def config(*words: str) -> SwiftConfig:
        return parse(
            SwiftConfig, ["--store", "s", *words], prog="koilo train swift", description=""
        )

    twin = config("--config", str(ROOT / "runs" / "swift_cpu.yaml"))
    assert (twin.settings.top_k, twin.loop.steps) == (48, 800)
    assert (twin.settings.chunk, twin.cells.precision, twin.loop.precision) == (0, "fp32", "fp32")
    assert twin.start is not None
    load_start(build_model(twin.net, 0).student.trunk, twin.start)  # the built-in bundle's fits
    assert twin.colour is not None
    assert twin.colour.lr == pytest.approx(twin.loop.lr / 10)
    paper = config()
    assert (paper.settings.n_cells, paper.settings.n_slides, paper.settings.top_k) == (128, 2, 256)
    assert (paper.net.encoder, paper.loop.steps) == ("convnext_tiny", 320_000)
    assert (paper.loop.optimizer, paper.loop.schedule) == ("adam", "linear")
    assert (paper.settings.chunk, paper.cells.precision, paper.loop.precision) == (
        64,
        "bf16",
        "bf16",
    )


def test_a_stage_that_began_from_other_weights_is_refused_not_resumed(
    run: SwiftConfig, store: CropStore, tmp_path: Path
) -> None:
    def go_on(head: Path) -> None:
        start = [run.out / "1-cells" / "model.safetensors", head]
        out = run.out / "3-swift"
        train_swift_stage(build_model(NET, 0), store, NET, SETTINGS, LOOP, out, start)

    go_on(run.out / "2-head" / "model.safetensors")
    save_file(build_model(NET, 7).head.state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(TrainingError, match="belongs to another configuration, recipe or data"):
        go_on(tmp_path / "model.safetensors")
