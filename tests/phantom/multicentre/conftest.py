from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from koilo.datasets.crop_store import CropStore
from koilo.phantom.multicentre import write
from koilo.phantom.multicentre.config import CohortConfig, SplitSize

TINY = CohortConfig(
    seed=5,
    splits={name: SplitSize(16, 10) for name in ("train", "validation", "test", "unseen")},
    top_k=8,
    crop_px=32,
    bank_cells=dict.fromkeys(("train", "validation", "test"), 60),
    calibration_slides=2,
    reference_crops=10,
    labelled={"ASC-US": 4, "LSIL": 6, "ASC-H+HSIL+SCC": 4, "AGC": 4, "NILM": 20},
)


@pytest.fixture(scope="session", autouse=True)
def sprites_drawn_once() -> None:
    """The same sprites in every cohort of these tests, drawn once."""
    write.draw_job = cache(write.draw_job)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> CropStore:
    folder: Path = tmp_path_factory.mktemp("cohort") / "tiny"
    return write.write_cohort(folder, TINY, workers=1)
