"""Open slides, find what is on them, judge their quality, cut them into tiles, write pyramids."""

from koilo.slides.pyramid import write_pyramid
from koilo.slides.slide import Slide, open_slide

__all__ = ["Slide", "open_slide", "write_pyramid"]
