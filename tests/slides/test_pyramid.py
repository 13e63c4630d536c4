"""The pyramid writer: whole or absent, the same bytes by any number of threads, readable by all."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import cv2
import numpy as np
import openslide
import pytest
import tifffile

from koilo.errors import OutputError
from koilo.slides import open_slide, write_pyramid

from .conftest import MadeSlide, texture


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b).mean())


def test_level_0_holds_the_pixels_that_were_given(made_slide: MadeSlide) -> None:
    with open_slide(made_slide.path) as slide:
        pixels = slide.read_region((0, 0), 0, (1500, 1100))
    assert difference(pixels, made_slide.rgb) < 2
    assert (np.abs(pixels[:256, 256:512].astype(int) - 240) <= 1).all(), "the blank tile"


def test_every_level_is_the_mean_of_the_one_below(made_slide: MadeSlide) -> None:
    with open_slide(made_slide.path) as slide:
        assert slide.level_dimensions == ((1500, 1100), (750, 550), (375, 275), (188, 138))
        below = made_slide.rgb
        for level, (width, height) in enumerate(slide.level_dimensions[1:], start=1):
            even = below[: below.shape[0] // 2 * 2, : below.shape[1] // 2 * 2]
            mean = cv2.resize(
                even, (even.shape[1] // 2, even.shape[0] // 2), interpolation=cv2.INTER_AREA
            )
            got = slide.read_region((0, 0), level, (width, height))
            # Chroma is stored at half the resolution, so that lightness is what can be compared.
            lightness = got[: mean.shape[0], : mean.shape[1]].mean(2)
            assert np.abs(lightness - mean.mean(2)).mean() < 3.5
            below = got


def test_openslide_and_tifffile_read_it_alike(made_slide: MadeSlide) -> None:
    with openslide.OpenSlide(made_slide.path) as slide:
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.25)
        assert slide.properties["openslide.vendor"] == "generic-tiff"
        region = np.asarray(slide.read_region((0, 0), 0, (1500, 1100)).convert("RGB"))
    with tifffile.TiffFile(made_slide.path) as tiff:
        assert tiff.pages.first.description == '{"synthetic": "phantom", "centre": "A"}'
        assert len(tiff.pages) == 4
        assert difference(tiff.pages.first.asarray(), region) < 0.01


@pytest.mark.parametrize("mpp", [0.2273, 0.23, 0.25, 0.4991, 1.0, 3.999])
def test_the_pixel_size_survives(tmp_path: Path, mpp: float) -> None:
    write_pyramid(tmp_path / "a.tiff", (40, 30), mpp, lambda *_: None, tile_px=16)
    with open_slide(tmp_path / "a.tiff") as slide:
        assert slide.mpp == pytest.approx(mpp, rel=1e-6)
        assert slide.synthetic is None


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 16), (33, 65), (129, 31)])
@pytest.mark.parametrize("downsample", [2, 4])
def test_odd_sizes_and_other_steps_are_whole(
    tmp_path: Path, size: tuple[int, int], downsample: int
) -> None:
    rgb = texture(*size)
    write_pyramid(
        tmp_path / "a.tiff",
        size,
        0.5,
        lambda x, y, w, h: rgb[y : y + h, x : x + w],
        quality=95,
        tile_px=16,
        downsample=downsample,
    )
    with open_slide(tmp_path / "a.tiff") as slide, openslide.OpenSlide(tmp_path / "a.tiff") as same:
        assert slide.dimensions == size == same.dimensions
        assert max(slide.level_dimensions[-1]) <= 16
        for level, at_size in enumerate(slide.level_dimensions):
            got = slide.read_region((0, 0), level, at_size)
            assert abs(got.mean() - rgb.mean()) < 12


def test_the_bytes_do_not_depend_on_the_threads(tmp_path: Path) -> None:
    rgb = texture(300, 260)

    def tile(x: int, y: int, w: int, h: int) -> np.ndarray | None:
        return None if (x + y) % 128 else rgb[y : y + h, x : x + w]

    for threads in (1, 5):
        path = tmp_path / f"{threads}.tiff"
        write_pyramid(path, (300, 260), 0.25, tile, tile_px=64, threads=threads)
    assert (tmp_path / "1.tiff").read_bytes() == (tmp_path / "5.tiff").read_bytes()


def test_a_large_slide_is_bigtiff_and_its_blanks_cost_next_to_nothing(tmp_path: Path) -> None:
    rgb = texture(512, 512)
    path = tmp_path / "large.tiff"
    done: list[float] = []

    def tile(x: int, y: int, w: int, h: int) -> np.ndarray | None:
        return rgb[:h, :w] if (x, y) == (40_960, 20_480) else None

    write_pyramid(path, (82_000, 30_000), 0.25, tile, progress=done.append)
    assert path.read_bytes()[:4] == b"II+\0"
    assert path.stat().st_size < 1_000_000
    assert done[-1] == 1.0
    assert done == sorted(done)
    with open_slide(path) as slide, openslide.OpenSlide(path) as same:
        assert slide.dimensions == (82_000, 30_000) == same.dimensions
        assert difference(slide.read_region((40_960, 20_480), 0, (512, 512)), rgb) < 3
        thumbnail = slide.thumbnail((400, 400))
    assert thumbnail[100, 200].max() < 250, "seen at its place from afar"
    assert (thumbnail[:90] == 255).all()


def test_an_error_while_writing_leaves_nothing_behind(tmp_path: Path) -> None:
    def tile(x: int, y: int, w: int, h: int) -> np.ndarray:
        if y:
            raise ZeroDivisionError("a bug in the painter")
        return np.zeros((h, w, 3), np.uint8)

    with pytest.raises(ZeroDivisionError):
        write_pyramid(tmp_path / "a.tiff", (100, 100), 0.25, tile, tile_px=16)
    with pytest.raises(ValueError, match="a tile must be uint8"):
        write_pyramid(tmp_path / "a.tiff", (9, 9), 0.25, lambda *_: np.zeros((2, 2, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_clear_line_and_no_file(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (512, 512, 3), dtype=np.uint8)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))
        with pytest.raises(OutputError, match=r"Cannot write .*a\.tiff"):
            write_pyramid(tmp_path / "a.tiff", (512, 512), 0.25, lambda *_: noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_sizes_that_cannot_be_tiled_are_refused(tmp_path: Path) -> None:
    for size, tile_px, downsample in (((0, 5), 16, 2), ((5, 5), 20, 2), ((5, 5), 16, 3)):
        with pytest.raises(ValueError, match="cannot tile"):
            write_pyramid(
                tmp_path / "a.tiff",
                size,
                0.25,
                lambda *_: None,
                tile_px=tile_px,
                downsample=downsample,
            )
