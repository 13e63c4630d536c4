from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from koilo.report import pictures
from koilo.report.pictures import QualityMap


def decode(uri: str) -> np.ndarray:
    data = base64.b64decode(uri.split(",", 1)[1])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))


def test_a_jpeg_uri_holds_the_picture_and_is_only_ever_shrunk():
    rgb = np.full((60, 120, 3), (200, 100, 50), np.uint8)
    assert decode(pictures.jpeg_uri(rgb, side_px=200)).shape[:2] == (60, 120)
    small = decode(pictures.jpeg_uri(rgb, side_px=40))
    assert small.shape[:2] == (20, 40)
    assert np.abs(small[..., :3].astype(int) - (200, 100, 50)).max() < 6


def test_blurred_tiles_are_darker_than_sharp_ones_and_missing_ones_clear():
    blur_um = np.array([[2.5, 0.2, np.nan]])
    tiles = decode(pictures.focus_map_uri(QualityMap(blur_um, (0, 0, 3, 1)), None, None))
    third = tiles.shape[1] // 3
    blurred, sharp, missing = (tiles[0, third * i + third // 2].astype(int) for i in range(3))
    assert blurred[:3].sum() + 200 < sharp[:3].sum()
    assert missing[3] == 0


def test_the_focus_map_lies_where_its_frame_says_on_the_overview():
    overview = np.full((100, 200, 3), 255, np.uint8)
    quality = QualityMap(np.full((2, 2), 9.0), (1000.0, 0.0, 1000.0, 1000.0))
    shown = decode(pictures.focus_map_uri(quality, overview, (0.0, 0.0, 2000.0, 1000.0)))
    assert shown[50, 40, :3].min() > 245
    assert shown[50, 160, :3].max() < 180
