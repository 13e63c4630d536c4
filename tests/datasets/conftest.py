"""Small pictures and data sets that the converters' tests share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest


def write_picture(path: Path, width: int = 40, height: int = 30, grey: int = 200) -> Path:
    """Write a plain PNG, its folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((height, width, 3), grey, np.uint8))
    return path


def write_json_file(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """A COCO folder: two pictures, a name with a blank, one category to be mapped."""
    folder = tmp_path / "coco"
    write_picture(folder / "images" / "a field.png")
    write_picture(folder / "b.png", grey=180)
    write_json_file(
        folder / "annotations.json",
        {
            "images": [
                {"id": 7, "file_name": "a field.png", "mpp": 0.3, "case_id": 12},
                {"id": 9, "file_name": "b.png"},
            ],
            "categories": [{"id": 1, "name": "hsil"}, {"id": 2, "name": "koilocyte"}],
            "annotations": [
                {"id": 1, "image_id": 7, "category_id": 1, "bbox": [1, 2, 10, 8]},
                {"id": 2, "image_id": 9, "category_id": 2, "bbox": [5.5, 6, 7, 8.25]},
            ],
        },
    )
    return folder
