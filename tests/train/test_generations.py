"""The verb semi leaves a cell network; CReST hands its pseudo-labels from run to run."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from koilo.cells.predict import build_cell_net
from koilo.datasets.crop_store import CropStore
from koilo.train.generations import train_semi
from tests.train.conftest import assert_same_bits
from tests.train.test_semi import TRUNK, settings
from tests.train.toy_store import make_toy_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CropStore:
    return make_toy_store(tmp_path_factory.mktemp("generations") / "store")


@pytest.mark.parametrize("method", ["mean_teacher", "crest"])
def test_the_verb_leaves_a_network_that_the_cells_part_builds(
    store: CropStore, method: str, tmp_path: Path
) -> None:
    train_semi(settings(store, method, tmp_path))
    net = build_cell_net("mean", n_outputs=5, encoder="plain", encoder_config=TRUNK)
    net.load_state_dict(load_file(tmp_path / "cells.safetensors"))
    assert (tmp_path / "metrics.json").exists()


def test_crest_hands_pseudo_labels_on_and_a_finished_run_repeats_itself(
    store: CropStore, tmp_path: Path
) -> None:
    config = settings(store, "crest", tmp_path)
    train_semi(config)
    lines = (tmp_path / "generation_1" / "pseudo_labels.csv").read_text().splitlines()
    assert lines[0] == "row,label"
    assert len(lines) > 1
    first = load_file(tmp_path / "cells.safetensors")
    train_semi(config)
    assert_same_bits(load_file(tmp_path / "cells.safetensors"), first)
