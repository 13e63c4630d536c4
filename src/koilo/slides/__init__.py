"""Open slides, find what is on them, judge their quality, cut them into tiles, write pyramids."""

from koilo.slides.deepzoom import deep_zoom_dzi, deep_zoom_levels, deep_zoom_tile
from koilo.slides.pyramid import write_pyramid
from koilo.slides.slide import Slide, open_slide
from koilo.slides.tiles import stream_tiles, tile_grid

__all__ = [
    "Slide",
    "deep_zoom_dzi",
    "deep_zoom_levels",
    "deep_zoom_tile",
    "open_slide",
    "stream_tiles",
    "tile_grid",
    "write_pyramid",
]
