"""Small slides made on the spot, shared by the tests of slides/."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from koilo.slides import write_pyramid

Rgb = NDArray[np.uint8]


def texture(width_px: int, height_px: int, seed: int = 0) -> Rgb:
    """Blurred noise in stain colours: something with structure that JPEG keeps well."""
    noise = np.random.default_rng(seed).normal(size=(height_px, width_px, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4) * 400 + np.array([200, 170, 205], np.float32)
    return np.clip(smooth, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class MadeSlide:
    """A slide file and the pixels that went into it; the tile at (256, 0) was given as blank."""

    path: Path
    rgb: Rgb


@pytest.fixture(scope="session")
def made_slide(tmp_path_factory: pytest.TempPathFactory) -> MadeSlide:
    rgb = texture(1500, 1100)
    rgb[:256, 256:512] = 240
    path = tmp_path_factory.mktemp("made") / "made.tiff"

    def tile(x_px0: int, y_px0: int, w_px: int, h_px: int) -> Rgb | None:
        if (x_px0, y_px0) == (256, 0):
            return None
        return rgb[y_px0 : y_px0 + h_px, x_px0 : x_px0 + w_px]

    write_pyramid(
        path,
        (1500, 1100),
        0.25,
        tile,
        background_rgb=(240, 240, 240),
        quality=95,
        tile_px=256,
        description={"synthetic": "phantom", "centre": "A"},
        threads=2,
    )
    return MadeSlide(path, rgb)
