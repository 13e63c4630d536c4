"""Deep Zoom tiles agree with OpenSlide's own generator and fit together."""

from __future__ import annotations

import numpy as np
import openslide
import pytest
from openslide.deepzoom import DeepZoomGenerator

from koilo.slides import deep_zoom_dzi, deep_zoom_levels, deep_zoom_tile, open_slide

from .conftest import MadeSlide


def test_sizes_and_tiles_are_those_of_openslides_generator(made_slide: MadeSlide) -> None:
    with open_slide(made_slide.path) as slide, openslide.OpenSlide(made_slide.path) as reference:
        generator = DeepZoomGenerator(reference, tile_size=254, overlap=1)
        assert tuple(deep_zoom_levels(slide)) == generator.level_dimensions
        for level in (generator.level_count - 1, generator.level_count - 2, 8):
            columns, rows = generator.level_tiles[level]
            for column, row in {(0, 0), (columns - 1, rows - 1), (columns // 2, rows // 2)}:
                theirs = np.asarray(generator.get_tile(level, (column, row)).convert("RGB"))
                ours = deep_zoom_tile(slide, level, column, row)
                assert ours.shape == theirs.shape
                difference = np.abs(ours.astype(int) - theirs).mean()
                assert difference < (0.01 if level == generator.level_count - 1 else 6)


def test_the_dzi_names_size_and_tiling(made_slide: MadeSlide) -> None:
    with open_slide(made_slide.path) as slide:
        xml = deep_zoom_dzi(slide, tile_px=510, overlap_px=2)
    assert 'TileSize="510"' in xml
    assert '<Size Width="1500" Height="1100"/>' in xml


@pytest.mark.parametrize("place", [(99, 0, 0), (-1, 0, 0), (11, 6, 0), (11, 0, -1), (0, 1, 0)])
def test_a_tile_that_is_not_there_is_an_index_error(
    made_slide: MadeSlide, place: tuple[int, int, int]
) -> None:
    with open_slide(made_slide.path) as slide, pytest.raises(IndexError):
        deep_zoom_tile(slide, *place)
