"""A toy bundle with a cell stage, shared by the tests of cells/."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from koilo.bundle import Bundle, write_bundle
from koilo.cells.model import PooledCellNet

TOY = {"encoder": "nanodet", "encoder_config": {"n_stages": 1}, "n_maps": 1}
OUTPUTS = ["NILM", "LSIL", "HSIL", "background"]


def toy_net(n_outputs: int = 4) -> PooledCellNet:
    torch.manual_seed(0)
    net = PooledCellNet(n_outputs, **TOY)
    net.train()
    with torch.no_grad():
        for _ in range(3):  # BatchNorm statistics that are not a fresh net's
            net(torch.rand(8, 3, 32, 32) * 255)
        net.head.weight.normal_()
    return net.eval()


def toy_spec() -> dict[str, Any]:
    return {
        "name": "toy",
        "stages": {
            "detector": {},
            "cells": {
                "model": "pooled",
                "config": TOY,
                "mpp": 0.5,
                "input_px": 32,
                "classes": ["NILM", "LSIL", "HSIL"],
                "outputs": OUTPUTS,
                "folds": {"background": "NILM"},
            },
            "head": {"classes": ["NILM", "LSIL", "HSIL"]},
        },
        "operating_points": {},
        "not_assessed": [],
        "trained_on": [],
    }


@pytest.fixture
def toy_bundle(tmp_path: Path) -> Bundle:
    nothing = {"none": np.zeros(1, np.float32)}
    tensors = {name: value.numpy() for name, value in toy_net().state_dict().items()}
    every = {"detector": nothing, "cells": tensors, "head": nothing}
    return write_bundle(tmp_path / "toy", toy_spec(), every, "# toy")
