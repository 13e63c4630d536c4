"""The grid covers the foreground, and the stream gives every tile once, or one clear error."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from shapely.geometry import MultiPolygon, Point, box
from shapely.geometry.base import BaseGeometry
from shapely.ops import unary_union

from koilo.errors import PixelSizeError, SlideReadError
from koilo.slides import open_slide, stream_tiles, tile_grid
from koilo.types import Tile

from .conftest import MadeSlide
from .test_raw_tiles import damage_tile


@dataclass(frozen=True)
class Area:
    polygons_px0: BaseGeometry


def squares(tiles: list[Tile], downsample: float) -> list[BaseGeometry]:
    return [
        box(t.x_px0, t.y_px0, t.x_px0 + t.size_px * downsample, t.y_px0 + t.size_px * downsample)
        for t in tiles
    ]


@pytest.mark.parametrize("overlap_px", [0, 40])
@pytest.mark.parametrize("mpp", [0.25, 0.27, 1.0])
def test_the_grid_covers_the_foreground_and_no_tile_misses_it(
    made_slide: MadeSlide, overlap_px: int, mpp: float
) -> None:
    area = MultiPolygon([Point(400, 300).buffer(250), box(1300, 900, 1500, 1100)])
    with open_slide(made_slide.path) as slide:
        tiles = tile_grid(slide, Area(area), size_px=64, mpp=mpp, overlap_px=overlap_px)
        everything = tile_grid(slide, None, size_px=64, mpp=mpp, overlap_px=overlap_px)
    drawn = squares(tiles, mpp / 0.25)
    assert area.difference(unary_union([s.buffer(1) for s in drawn])).area == 0
    assert all(square.buffer(1).intersects(area) for square in drawn)
    assert set(tiles) < set(everything)
    assert unary_union(squares(everything, mpp / 0.25)).buffer(1).contains(box(0, 0, 1500, 1100))


def test_neighbouring_tiles_share_the_overlap_asked_for(made_slide: MadeSlide) -> None:
    with open_slide(made_slide.path) as slide:
        first, second = tile_grid(slide, None, size_px=128, mpp=0.5, overlap_px=28)[:2]
    assert second.x_px0 - first.x_px0 == (128 - 28) * 2


def test_an_empty_foreground_has_no_tiles(made_slide: MadeSlide) -> None:
    with open_slide(made_slide.path) as slide:
        assert tile_grid(slide, Area(MultiPolygon())) == []


@pytest.mark.data
def test_a_slide_without_pixel_size_has_no_grid(data_dir: Path) -> None:
    path = data_dir / "slides" / "odd" / "boxes.tiff"
    with open_slide(path) as slide, pytest.raises(PixelSizeError):
        tile_grid(slide, None)


@pytest.mark.parametrize("threads", [1, 5])
def test_the_stream_gives_each_tile_once_with_its_pixels(
    made_slide: MadeSlide, threads: int
) -> None:
    with open_slide(made_slide.path) as slide:
        tiles = tile_grid(slide, None, size_px=64, mpp=0.5)
        got = dict(stream_tiles(slide, tiles, threads=threads))
        assert list(sorted(got, key=tiles.index)) == tiles
        for tile, pixels in got.items():
            same = slide.read_at_mpp((tile.x_px0, tile.y_px0), 0.5, (64, 64))
            np.testing.assert_array_equal(pixels, same)


def test_leaving_the_stream_early_ends_its_threads(made_slide: MadeSlide) -> None:
    before = threading.active_count()
    with open_slide(made_slide.path) as slide:
        tiles = tile_grid(slide, None, size_px=64, mpp=0.25)
        stream = stream_tiles(slide, tiles, threads=3)
        next(stream)
        assert threading.active_count() == before + 3
        stream.close()
        assert threading.active_count() == before


def test_readers_wait_for_whoever_takes_the_tiles(
    made_slide: MadeSlide, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = 0
    with open_slide(made_slide.path) as slide:
        honest = slide.read_at_mpp

        def counted(*arguments: object) -> object:
            nonlocal read
            read += 1
            return honest(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(slide, "read_at_mpp", counted)
        tiles = tile_grid(slide, None, size_px=16, mpp=0.25) * 3
        stream = stream_tiles(slide, tiles, threads=2)
        for _ in range(3):
            next(stream)
        threading.Event().wait(0.3)
        assert read < 20 < len(tiles)
        stream.close()


def test_a_damaged_tile_ends_the_stream_with_its_name(
    made_slide: MadeSlide, tmp_path: Path
) -> None:
    path = tmp_path / "damaged.tiff"
    shutil.copy(made_slide.path, path)
    damage_tile(path, 8)
    with open_slide(path) as slide:
        tiles = tile_grid(slide, None, size_px=64, mpp=0.25)
        with pytest.raises(SlideReadError, match="column 2, row 1 of level 0"):
            list(stream_tiles(slide, tiles, threads=3))


def test_any_other_failure_of_a_reader_becomes_a_slide_error(
    made_slide: MadeSlide, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("out of memory")

    with open_slide(made_slide.path) as slide:
        monkeypatch.setattr(slide, "read_at_mpp", fail)
        with pytest.raises(SlideReadError, match="MemoryError"):
            list(stream_tiles(slide, [Tile(0, 0, 64, 0.5)], threads=2))
