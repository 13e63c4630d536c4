"""Open slides, find what is on them, judge their quality, cut them into tiles, write pyramids."""

from koilo.slides.slide import Slide, open_slide

__all__ = ["Slide", "open_slide"]
