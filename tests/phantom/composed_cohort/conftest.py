from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from koilo.datasets.cric import cric_folds
from koilo.datasets.crop_store import CropStore
from koilo.phantom import Bank
from koilo.phantom.composed_cohort import grounds
from koilo.phantom.composed_cohort.config import ComposedConfig
from koilo.phantom.composed_cohort.write import write_composed_cohort
from koilo.phantom.multicentre.config import SplitSize

MPP = 0.5
TINY = ComposedConfig(
    seed=7,
    splits=dict.fromkeys(("train", "validation", "test"), SplitSize(14, 8)),
    top_k=8,
    cells=(8, 10, 12),
    lesions=(1, 2),
    phantom_grounds=1,
)
LABELS = {
    "clean": ("NILM",),
    "low": ("NILM", "ASC-US", "LSIL"),
    "high": ("NILM", "ASC-H", "HSIL", "SCC"),
}


@pytest.fixture(scope="session")
def cric(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three fields a fold in CRIC's layout: dots 28 µm apart, and a lesion beside a NILM dot."""
    root = tmp_path_factory.mktemp("cric")
    (root / "fields").mkdir()
    lines = ["field,field_id,cell_id,bethesda,x_px,y_px,mpp"]
    for fold in range(3):
        own = sorted(number for number, place in cric_folds().items() if place[1] == fold)
        for number, labels in zip(own, LABELS.values(), strict=False):
            image = np.full((400, 500, 3), 235, np.uint8)
            points = [(x, y) for x in range(56, 460, 56) for y in range(56, 360, 56)]
            cells = [(*at, labels[i % len(labels)]) for i, at in enumerate(points)]
            if labels != ("NILM",):
                cells.append((56 + 16, 56, labels[-1]))
            for i, (x, y, label) in enumerate(cells):
                cv2.circle(image, (x, y), 22, (225, 190, 200), -1)
                cv2.circle(image, (x, y), 6 + 2 * (label != "NILM"), (110, 60, 70), -1)
                lines.append(f"fields/{number:03d}.png,{number},{number}-{i},{label},{x},{y},{MPP}")
            for x, y in points[::3]:  # nuclei that nobody labelled
                cv2.circle(image, (x + 28, y + 28), 5, (90, 60, 60), -1)
            cv2.imwrite(str(root / "fields" / f"{number:03d}.png"), image)
    (root / "cells.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="session")
def one_bank(bank: Bank) -> Bank:
    """The same phantom cells for every ground of these tests, drawn once."""
    grounds.draw_bank = lambda *_, **__: bank
    return bank


@pytest.fixture(scope="session")
def tiny(cric: Path, one_bank: Bank, tmp_path_factory: pytest.TempPathFactory) -> CropStore:
    return write_composed_cohort(cric, tmp_path_factory.mktemp("composed") / "tiny", TINY)
