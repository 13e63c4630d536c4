"""A bundle's slide head: what it reads, what it gives, which bundles it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from koilo.bundle import load_bundle, write_bundle
from koilo.errors import BundleError
from koilo.files import sha256_file
from koilo.mil import build_head, head_inputs, load_head

CELLS = ["NILM", "ASC-US", "LSIL", "ASC-H", "HSIL", "SCC"]
CLASSES = ["NILM", "ASC-US", "LSIL", "ASC-H", "HSIL+SCC"]


def make_bundle(folder: Path, model: str = "abmil", inputs: str = "log_p", **stage: Any) -> Path:
    d_in = {"log_p": 6, "features": 4, "both": 10}[inputs]
    torch.manual_seed(0)
    head = build_head(model, d_in, 5, {})
    head_stage = {
        "model": model,
        "config": {"d_in": d_in, "inputs": inputs},
        "classes": CLASSES,
        "top_k": 8,
        **stage,
    }
    spec = {
        "name": "toy",
        "stages": {"detector": {}, "cells": {"classes": CELLS}, "head": head_stage},
        "operating_points": {},
        "not_assessed": [],
        "trained_on": [],
    }
    tensors = {name: value.numpy() for name, value in head.state_dict().items()}
    write_bundle(folder, spec, {"detector": {}, "cells": {}, "head": tensors}, "toy")
    return folder


def cells(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 4)).astype(np.float32), rng.dirichlet(np.ones(6), n)


@pytest.mark.parametrize("inputs", ["features", "log_p", "both"])
def test_probabilities_sum_to_one_over_the_bundles_classes(tmp_path: Path, inputs: str) -> None:
    head = load_head(load_bundle(make_bundle(tmp_path, inputs=inputs)))
    p, attention = head.predict(*cells(5))
    assert head.classes == tuple(CLASSES)
    assert p.shape == (5,)
    assert float(p.sum()) == pytest.approx(1, abs=1e-6)
    assert attention is not None
    assert attention.shape == (5,)


def test_a_head_without_attention_says_none(tmp_path: Path) -> None:
    _, attention = load_head(load_bundle(make_bundle(tmp_path, "mean"))).predict(*cells(3))
    assert attention is None


def test_cells_after_the_first_top_k_are_not_read(tmp_path: Path) -> None:
    head = load_head(load_bundle(make_bundle(tmp_path)))
    features, probabilities = cells(12)
    p, attention = head.predict(features, probabilities)
    first, _ = head.predict(features[:8], probabilities[:8])
    np.testing.assert_allclose(p, first, rtol=1e-6)
    assert attention is not None
    assert attention.shape == (12,)
    assert (attention[8:] == 0).all()
    assert float(attention[:8].sum()) == pytest.approx(1, abs=1e-5)


def test_no_cell_is_no_question_for_the_head(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no result"):
        load_head(load_bundle(make_bundle(tmp_path))).predict(*cells(0))


def test_a_certain_cell_gives_a_finite_input() -> None:
    x = head_inputs(np.zeros((1, 2)), np.array([[1.0, 0, 0, 0, 0, 0]]), "log_p")
    assert np.isfinite(x).all()
    assert x[0, 0] == 0


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ({"model": "abmill"}, "abmil"),
        ({"config": {"d_in": 6}}, "inputs"),
        ({"config": {"d_in": 9, "inputs": "log_p"}}, "does not fit"),
        ({"config": {"d_in": 6, "inputs": "pixels"}}, "log_p"),
        ({"top_k": None}, "top_k"),
    ],
)
def test_a_bundle_whose_head_does_not_fit_is_refused_in_one_line(
    tmp_path: Path, stage: dict[str, Any], said: str
) -> None:
    make_bundle(tmp_path)
    spec = json.loads((tmp_path / "bundle.json").read_text())
    spec["stages"]["head"].update(stage)
    assert spec["sha256"]["head.safetensors"] == sha256_file(tmp_path / "head.safetensors")
    (tmp_path / "bundle.json").write_text(json.dumps(spec))
    with pytest.raises(BundleError, match=said) as caught:
        load_head(load_bundle(tmp_path))
    assert "\n" not in str(caught.value)
    assert "toy" in str(caught.value)
