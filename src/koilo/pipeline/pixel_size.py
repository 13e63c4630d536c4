"""Open a slide for reading under the rules for its pixel size: never guessed, always told."""

from __future__ import annotations

from koilo.errors import PixelSizeError
from koilo.manifest import SlideEntry
from koilo.slides import Slide, open_slide

COARSEST = 1.3
"""How many times coarser than the cell model's pixels a slide's may be."""

_DIFFERENCE = 0.05

MISMATCH = "mpp mismatch"


def open_to_read(entry: SlideEntry, given_mpp: float | None, model_mpp: float) -> Slide:
    """Open ``entry`` with the manifest's pixel size, else the given one, else the file's.

    Args:
        entry: the slide's line of the manifest.
        given_mpp: µm per pixel that the user gave for all slides, or None.
        model_mpp: µm per pixel of the cell model's crops.

    Raises:
        SlideOpenError: the file cannot be opened.
        PixelSizeError: there is no pixel size, it is outside 0.05-4 µm, or too coarse.
    """
    slide = open_slide(entry.path, mpp=_first(entry.mpp, given_mpp))
    try:
        slide.downsample_at(model_mpp)
        if slide.mpp is not None and slide.mpp > COARSEST * model_mpp:
            raise PixelSizeError(
                f"{entry.path} has {slide.mpp:g} µm per pixel, over {COARSEST:g} times coarser "
                f"than the {model_mpp:g} µm of the cell model. At most {COARSEST * model_mpp:g} µm "
                "is allowed. Scan the slide at a higher magnification."
            )
    except PixelSizeError:
        slide.close()
        raise
    return slide


def mpp_flags(entry: SlideEntry, given_mpp: float | None, file_mpp: float | None) -> list[str]:
    """``["mpp mismatch"]`` where two of the pixel sizes at hand differ by more than 5 %."""
    known = [mpp for mpp in (entry.mpp, given_mpp, file_mpp) if mpp is not None]
    return [MISMATCH] if known and max(known) > (1 + _DIFFERENCE) * min(known) else []


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)
