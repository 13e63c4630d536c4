"""Sizes under which every method of the comparison trains in a moment."""

from __future__ import annotations

import sys
from dataclasses import replace

from koilo.train import LoopConfig
from koilo.train.recipes.swift import SwiftSettings
from koilo.train.stages import NetConfig
from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "runs"))

import stride

LOOP = LoopConfig(steps=2, optimizer="adam", weight_decay=1e-3, device="cpu", threads=1)
WATCHED = replace(LOOP, evaluate_every=1)
PLAN = stride.Plan(
    NetConfig(
        "convnext_twin",
        {"widths": [4, 6, 8, 8], "depths": [1, 1, 1, 1], "drop_path": 0.0},
        head_config={"hidden": 8},
    ),
    None,
    SwiftSettings(n_cells=4, n_slides=2, top_k=4),
    cells=LOOP,
    head=LOOP,
    long_head=WATCHED,
    joint=WATCHED,
    colour=WATCHED,
)
