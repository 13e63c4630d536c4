"""Cells of a store: labels fold into classes, draws are even, what is left can be loaded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from koilo.cells.predict import build_cell_net
from koilo.datasets.crop_store import CropStore
from koilo.errors import TrainingError
from koilo.train.stored_cells import (
    bag_rows,
    draw_evenly,
    labelled_cells,
    measured_cells,
    score_cells,
    write_cell_model,
)
from tests.train.toy_store import CELLS_A_SLIDE, make_toy_store

CLASSES = ("NILM", "ASC-US", "LSIL", "ASC-H+HSIL+SCC", "AGC")
TINY = {"encoder": "plain", "encoder_config": {"widths": (4, 8), "blocks": (1, 1)}}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CropStore:
    return make_toy_store(tmp_path_factory.mktemp("cells") / "store")


def test_labelled_cells_are_the_training_split_s_given_labels(store: CropStore) -> None:
    cells = labelled_cells(store, CLASSES)
    assert len(cells) == 20  # two of each of ten training slides
    assert [CLASSES[label] for label in cells.labels] == store.cells.given[cells.rows].tolist()


def test_a_label_outside_the_classes_is_refused(store: CropStore) -> None:
    with pytest.raises(TrainingError, match=r"are labelled AGC\. Allowed"):
        labelled_cells(store, CLASSES[:4])


def test_measured_cells_are_the_truth_of_another_split(store: CropStore) -> None:
    cells = measured_cells(store, CLASSES, split="validation", limit=0)
    assert len(cells) == 10 * CELLS_A_SLIDE
    assert set(cells.labels.tolist()) == set(range(5))
    some = measured_cells(store, CLASSES, split="validation", limit=7)
    again = measured_cells(store, CLASSES, split="validation", limit=7)
    assert len(some) == 7
    assert some.rows.tolist() == again.rows.tolist()


def test_bags_of_a_split_without_slides_are_refused(store: CropStore) -> None:
    assert len(bag_rows(store)) == 10 * CELLS_A_SLIDE
    with pytest.raises(TrainingError, match="No slide of split 'nowhere'"):
        bag_rows(store, "nowhere")


def test_classes_are_drawn_evenly() -> None:
    labels = np.array([0] * 90 + [2] * 8 + [3] * 2)
    places = draw_evenly(labels, 6000, np.random.default_rng(0))
    shares = np.bincount(labels[places], minlength=4) / 6000
    np.testing.assert_allclose(shares, [1 / 3, 0, 1 / 3, 1 / 3], atol=0.03)


def test_a_model_that_calls_everything_nilm_has_the_f1_written_out() -> None:
    p = np.tile(np.array([[1.0, 0.0, 0.0]], np.float32), (10, 1))
    labels = np.array([0] * 8 + [1] * 2)
    values = score_cells(p, labels, ("NILM", "ASC-US", "LSIL"))
    assert values["f1_NILM"] == pytest.approx(16 / 18)
    assert values["macro_f1"] == pytest.approx(8 / 18)
    assert values["lesion_auc"] == 0.5
    assert "f1_LSIL" not in values


def test_what_is_left_builds_the_same_network_again(store: CropStore, tmp_path: Path) -> None:
    net = build_cell_net("mean", n_outputs=5, **TINY).eval()
    weights = write_cell_model(tmp_path, net, store, CLASSES, TINY)
    stage = json.loads((tmp_path / "cells.json").read_text())
    again = build_cell_net(stage["model"], n_outputs=len(stage["classes"]), **stage["config"])
    again.load_state_dict(load_file(weights))
    images = torch.rand(2, 3, 32, 32) * 255
    torch.testing.assert_close(again.eval()(images), net(images))
    assert set(load_file(tmp_path / "trunk.safetensors")) == set(net.trunk.state_dict())
    assert (stage["mpp"], stage["input_px"]) == (0.75, 32)
