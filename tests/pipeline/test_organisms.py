"""Organisms from a bundle's head to the cells, the slide's result, its files and its report."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from koilo.bundle import Bundle, add_stage, load_bundle
from koilo.cells.organisms import OrganismHead
from koilo.errors import BundleError
from koilo.manifest import SlideEntry
from koilo.pipeline.models import load_models
from koilo.pipeline.read import read_one
from koilo.results import read_slide_result, write_slide_result

from . import toys

CPU = torch.device("cpu")


def add_organisms(folder, threshold: float = 0.5, **changes) -> Bundle:
    """The toy bundle with a head that takes red cells for Candida and nothing for herpes."""
    head = OrganismHead(3, 2, hidden=1, dropout=0.0)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()
        head.layers[0].weight.copy_(torch.tensor([[40.0, 0, -40]]))
        head.layers[0].bias.fill_(-8.0)
        head.layers[3].weight.copy_(torch.tensor([[1.0], [0.0]]))
        head.layers[3].bias.copy_(torch.tensor([-2.0, -9.0]))
    stage = {"names": ["candida", "herpes"], "thresholds": [threshold] * 2, "d_in": 3, "hidden": 1}
    tensors = {name: np.asarray(value) for name, value in head.state_dict().items()}
    return add_stage(folder, "organisms", stage | changes, tensors, "# A toy\n")


@pytest.fixture
def seen(tmp_path, slides):
    toys.write_toy_bundle(tmp_path / "b")
    models = load_models(add_organisms(tmp_path / "b"), CPU)
    return read_one(SlideEntry("lesion", slides["lesion"]), models).result


def test_cells_are_counted_by_organism_and_no_class_changes(seen, tmp_path, slides):
    red = [cell for cell in seen.cells if cell.label == "HSIL"]
    assert red
    assert seen.organisms["candida"] == {"threshold": 0.5, "n_cells": len(red)}
    assert seen.organisms["herpes"]["n_cells"] == 0
    plain = load_models(toys.write_toy_bundle(tmp_path / "plain"), CPU)
    without = read_one(SlideEntry("lesion", slides["lesion"]), plain).result
    assert without.organisms == {}
    assert all(cell.organisms == {} for cell in without.cells)
    assert without.probabilities == seen.probabilities
    assert [c.probabilities for c in without.cells] == [c.probabilities for c in seen.cells]


def test_the_files_keep_what_was_seen(seen, tmp_path):
    write_slide_result(tmp_path / "s", seen)
    table = pq.read_table(tmp_path / "s" / "cells.parquet")
    assert table.column_names[-2:] == ["organism_candida", "organism_herpes"]
    geojson = json.loads((tmp_path / "s" / "cells.geojson").read_text())
    measured = [feature["properties"]["measurements"] for feature in geojson["features"]]
    assert all({"organism_candida", "organism_herpes"} <= each.keys() for each in measured)
    again = read_slide_result(tmp_path / "s")
    assert again.organisms == seen.organisms
    for before, after in zip(seen.cells, again.cells, strict=True):
        assert after.organisms == pytest.approx(before.organisms)


def test_a_slide_without_cells_says_none_of_each(tmp_path, slides):
    toys.write_toy_bundle(tmp_path / "b")
    models = load_models(add_organisms(tmp_path / "b"), CPU)
    result = read_one(SlideEntry("blank", slides["blank"]), models).result
    assert {name: found["n_cells"] for name, found in result.organisms.items()} == {
        "candida": 0, "herpes": 0
    }  # fmt: skip
    write_slide_result(tmp_path / "s", result)
    assert read_slide_result(tmp_path / "s").organisms == result.organisms


@pytest.mark.parametrize("changes", [{"names": ["candida"]}, {"thresholds": [2, 0]}, {"d_in": 4}])
def test_a_head_that_does_not_fit_is_refused_in_one_line(tmp_path, changes):
    toys.write_toy_bundle(tmp_path / "b")
    add_organisms(tmp_path / "b", **changes)
    with pytest.raises(BundleError, match="organisms of bundle toy does not fit") as caught:
        load_models(load_bundle(tmp_path / "b"), CPU)
    assert "\n" not in str(caught.value)
