"""Size by magnification: the same ground and the same box on the glass, and a table of it."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from koilo.detect import build_detector
from koilo.evaluate.detection import FieldFinds
from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "runs"))

import detector_sizes


@pytest.mark.parametrize("mpp", detector_sizes.MAGNIFICATIONS.values())
@pytest.mark.parametrize("size", detector_sizes.SIZES)
def test_tiles_show_the_same_ground_and_boxes_have_the_same_width_at_every_pixel_size(
    size: str, mpp: float
) -> None:
    settings = detector_sizes.settings_at(mpp)
    assert settings.tile_px * settings.mpp == 160
    assert settings.tile_px % 32 == 0
    config = detector_sizes.config_at(size, mpp)
    assert config["box_px"] * mpp == pytest.approx(20.5)
    assert detector_sizes.count_weights(build_detector("centre", config)) > 10_000


def test_the_small_detector_is_less_than_half_the_shipped_one() -> None:
    small, shipped = (
        detector_sizes.count_weights(build_detector("centre", config))
        for config in detector_sizes.SIZES.values()
    )
    assert 2 * small < shipped


def test_a_perfect_detector_has_full_marks_and_random_boxes_have_not() -> None:
    random = np.random.default_rng(0)
    fields = []
    for block in range(4):
        corners = random.uniform(0, 450, (3, 2))
        boxes = np.concatenate([corners, np.full((3, 2), 20.5)], axis=1)
        nothing = np.zeros((0, 4))
        fields.append(
            FieldFinds(boxes, np.full(3, 0.9), boxes, nothing, 1.0, (500, 500), "f", block)
        )
    facts = {"thousand weights": 1.0, "training s": 2.0}
    args = Namespace(fold=0, steps=3, seed=0, smoke=True, page=Path("detector_sizes.json"))
    page = detector_sizes.page(args, [("small", "10x", fields, fields, facts)], 5.0)
    table = page["tables"]["Size and magnification"]
    row = dict(zip(table["columns"], table["rows"][0], strict=True))
    assert row["CRIC: centre_ap"]["estimate"] == 1
    assert row["CRIC: mAP50-95"] == row["phantoms: mAP50-95"] == 1
    assert page["controls"]["random boxes: centre_ap"] < 0.2
    assert json.dumps(page)
