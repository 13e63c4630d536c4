"""Tables of cells: rankings between chance and perfection, leading cells, neighbours."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from koilo.datasets.crop_store import CropStore
from koilo.train.stages import NetConfig, build_model
from tests.conftest import ROOT
from tests.runs.toy_plan import PLAN as TOY
from tests.train.toy_store import make_toy_store

sys.path.insert(0, str(ROOT / "runs"))

import stride
import stride_cell_tables
import stride_cells
import stride_maps
import stride_page
import stride_readings

# Unlike ConvNeXt this trunk is built without importing transformers, which takes seconds.
PLAN = replace(TOY, net=NetConfig("nanodet_frozen_norm", head_config={"hidden": 8}))
CLASSES = PLAN.net.classes


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CropStore:
    """A toy cohort with its truth; the second cell of each slide is a mimic."""
    splits = ("train", "validation", "test")
    made = make_toy_store(tmp_path_factory.mktemp("cohort"), n_slides=60, splits=splits)
    (made.folder / "truth").mkdir()
    lesions = [2 if slide.label != "NILM" else 0 for slide in made.slides]
    columns = {"slide_id": [slide.slide_id for slide in made.slides], "n_lesions": lesions}
    pq.write_table(pa.table(columns), made.folder / "truth" / "slides.parquet")
    kinds = ["reactive" if rank == 1 else "superficial" for rank in made.cells.rank]
    cells = {"crop": [*range(len(kinds)), -1], "kind": [*kinds, "ascus"]}
    pq.write_table(pa.table(cells), made.folder / "truth" / "cells.parquet")
    return made


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two-stage baseline as it would lie there after training; its weights are random."""
    folder = tmp_path_factory.mktemp("out")
    model = build_model(PLAN.net, 1)
    run = stride.run_folder(folder, 1, "two_stage", {})
    for part, net in (("cells", model), ("long_head", model.head)):
        (run / part).mkdir(parents=True)
        save_file(net.state_dict(), run / part / "model.safetensors")
        (run / part / "metrics.json").write_text('{"metrics": {}}')
    return folder


def test_the_sample_has_equally_many_slides_a_class_and_knows_its_mimics(store: CropStore) -> None:
    sample = stride_readings.draw_sample(store, CLASSES, 12)
    assert sample.labels == [name for name in CLASSES.slides for _ in range(2)]
    assert {kinds[1] for kinds in sample.kind} == {stride_readings.MIMIC}
    assert sample.n_lesions == [0, 0, *[2] * 10]


def test_every_table_and_picture_is_made_of_what_has_run(
    store: CropStore, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stride_page, "cpu_plan", lambda **_: PLAN)
    page = tmp_path / "stride_cells.json"
    arguments = [str(store.folder), str(out), "--smoke", "--page", str(page)]
    monkeypatch.setattr(sys, "argv", ["stride_cells.py", *arguments])
    stride_cells.main()
    told = json.loads(page.read_text())
    assert told["notes"][-1] == "Not run: stain_aug, swift."
    for name in told["pictures"]:
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    tables = told["tables"]
    assert len(tables) == 5
    precision = {
        row[1]: row[2:] for row in tables["Precision@Top-32 by slide class (S-52)"]["rows"]
    }
    assert set(precision) == {*stride_cell_tables.SELECTORS, "chance", "perfect"}
    # A bag of six cells lies within the best 32 whatever the order: two lesions of six.
    assert {value["estimate"] for row in precision.values() for value in row} == {0.3333}
    recall = tables["Share of all lesion cells among the best K (S-52)"]["rows"]
    assert [row[2] for row in recall] == [{"estimate": 1.0, "low": 1.0, "high": 1.0}] * len(recall)
    for table in tables.values():
        assert {len(row) for row in table["rows"]} == {len(table["columns"])}


def test_a_method_has_run_where_its_models_and_those_it_began_from_are(
    store: CropStore, out: Path
) -> None:
    study = stride.Study(store, PLAN, out, 1, {})
    assert stride_readings.has_run(study, "two_stage")
    assert not stride_readings.has_run(study, "swift")


@pytest.mark.parametrize(
    ("calls", "leads"), [([0, 0, 0], 0), ([0, 0, 0, 4], 4), ([2, 2, 1, 0], 2), ([1, 3, 1, 3], 1)]
)
def test_the_commonest_lesion_leads_however_many_normal_cells_there_are(
    calls: list[int], leads: int
) -> None:
    assert stride_cell_tables.leading_class(np.array(calls)) == leads


@given(st.lists(st.sampled_from("abc"), min_size=3, max_size=40), st.integers(3, 30))
def test_no_class_is_drawn_more_often_than_its_share(labels: list[str], n: int) -> None:
    rows = stride_maps.draw_evenly(labels, n, np.random.default_rng(0))
    drawn = [labels[row] for row in rows]
    assert len(set(rows.tolist())) == len(rows) <= n
    for name in set(labels):
        assert drawn.count(name) == min(labels.count(name), n // len(set(labels)))


def test_neighbours_agree_where_classes_lie_apart_and_by_chance_where_they_do_not() -> None:
    random = np.random.default_rng(0)
    labels = ["a"] * 100 + ["b"] * 300
    noise = random.normal(size=(400, 5))
    apart = noise + 40 * (np.array(labels) == "a")[:, None]
    assert stride_maps.neighbour_agreement(apart, labels) == 1
    chance = stride_maps.chance_agreement(labels)
    assert chance == pytest.approx(0.5, abs=0.01)  # a quarter for a, three quarters for b
    assert stride_maps.neighbour_agreement(noise, labels) == pytest.approx(chance, abs=0.05)
    constant = np.concatenate([apart, np.ones((400, 1))], axis=1)
    assert np.isfinite(stride_maps.standardised(constant)).all()
