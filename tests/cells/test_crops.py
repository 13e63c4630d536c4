"""Crops are the slide's own pixels, each piece of the slide read once."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from koilo.cells.crops import read_crops
from koilo.errors import PixelSizeError
from koilo.slides import open_slide


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smooth field of 900 x 700 px whose colours tell the place."""
    y, x = np.mgrid[:700, :900]
    rgb = np.stack([x * 255 // 900, y * 255 // 700, (x // 8 + y // 8) % 2 * 60 + 90], -1)
    path = tmp_path_factory.mktemp("field") / "field.png"
    cv2.imwrite(str(path), cv2.GaussianBlur(rgb.astype(np.uint8), (0, 0), 3)[:, :, ::-1])
    return path


def test_crops_at_the_slides_own_scale_are_its_pixels(field: Path) -> None:
    pixels = cv2.imread(str(field))[:, :, ::-1]
    centres = [(400, 300), (256, 256), (100.4, 511.6)]
    with open_slide(field, mpp=0.5) as slide:
        crops = read_crops(slide, centres, 0.5, 96)
    for crop, (x, y) in zip(crops, centres, strict=True):
        left, top = round(x - 48), round(y - 48)
        np.testing.assert_array_equal(crop, pixels[top : top + 96, left : left + 96])


def test_a_crop_across_squares_has_no_seam(field: Path) -> None:
    with open_slide(field, mpp=0.25) as slide:
        crop = read_crops(slide, [(512, 512)], 0.47, 64)[0]
        scale = 0.47 / 0.25
        start = np.rint(np.array([512, 512]) / scale - 32) * scale
        whole = slide.read_at_mpp((start[0], start[1]), 0.47, (64, 64))
    assert np.abs(crop.astype(int) - whole).max() <= 1


def test_what_lies_outside_mirrors_what_lies_inside(field: Path) -> None:
    with open_slide(field, mpp=0.5) as slide:
        crop = read_crops(slide, [(10, 350)], 0.5, 64)[0]
    np.testing.assert_array_equal(crop[:, :22], crop[:, 44:22:-1])
    assert crop[:, 22:].std() > 0


def test_a_centre_outside_the_slide_still_gives_a_crop(field: Path) -> None:
    with open_slide(field, mpp=0.5) as slide:
        crops = read_crops(slide, [(-500, 10), (2000, 2000)], 0.5, 32)
    assert crops.shape == (2, 32, 32, 3)
    assert (crops.std((1, 2)) < 60).all()


def test_order_is_that_of_the_centres_and_no_centre_gives_no_crop(field: Path) -> None:
    centres = np.random.default_rng(0).uniform(60, 600, (40, 2))
    with open_slide(field, mpp=0.5) as slide:
        crops = read_crops(slide, centres, 0.5, 32)
        np.testing.assert_array_equal(read_crops(slide, centres[::-1], 0.5, 32), crops[::-1])
        assert read_crops(slide, np.zeros((0, 2)), 0.5, 32).shape == (0, 32, 32, 3)


def test_each_piece_of_the_slide_is_read_once(field: Path, monkeypatch) -> None:
    centres = np.random.default_rng(0).uniform(60, 600, (200, 2))
    with open_slide(field, mpp=0.5) as slide:
        pieces, read = [], slide.read_at_mpp

        def counting(origin_px0, mpp, size_px):
            pieces.append((*origin_px0, *size_px))
            return read(origin_px0, mpp, size_px)

        monkeypatch.setattr(slide, "read_at_mpp", counting)
        read_crops(slide, centres, 0.5, 32)
    seen = np.zeros((700, 900), int)
    for x, y, width, height in pieces:
        seen[int(y) : int(y) + height, int(x) : int(x) + width] += 1
    assert seen.max() == 1
    assert len(pieces) <= 9


def test_a_slide_without_pixel_size_is_refused(field: Path) -> None:
    with open_slide(field) as slide, pytest.raises(PixelSizeError):
        read_crops(slide, [(100, 100)], 0.5, 32)
