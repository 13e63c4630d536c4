"""Decide a slide's pixel size from what its file says: believed, or None with the reason."""

from __future__ import annotations

import math
from collections.abc import Mapping

from koilo.errors import PixelSizeError

MPP_MIN = 0.05
MPP_MAX = 4.0
_SQUARE_TOLERANCE = 0.05


def believable(mpp: float) -> bool:
    """True where ``mpp`` (µm per pixel) is one a microscope slide can have.

    >>> believable(0.25), believable(1000.0), believable(float("nan"))
    (True, False, False)
    """
    return MPP_MIN <= mpp <= MPP_MAX


def check_given_mpp(mpp: float, path: object) -> float:
    """Return the pixel size a person gave, or refuse it.

    Raises:
        PixelSizeError: outside 0.05-4 µm.
    """
    if not believable(mpp):
        raise PixelSizeError(
            f"The pixel size given for {path} is {mpp:g} µm. Between {MPP_MIN} and {MPP_MAX:g} µm "
            "is allowed. Give the scanner's µm per pixel, such as 0.25 for 40x."
        )
    return float(mpp)


def judge_mpp(mpp_x: float, mpp_y: float, origin: str) -> tuple[float | None, str]:
    """Judge the two pixel sizes a file gives: ``(mpp, origin)``, or ``(None, reason)``.

    >>> judge_mpp(0.25, 0.25, "aperio.MPP")
    (0.25, 'aperio.MPP')
    >>> judge_mpp(1000.0, 1000.0, "TIFF resolution tags")[1]
    'TIFF resolution tags say 1000 µm, outside 0.05-4 µm'
    """
    mpp = math.sqrt(mpp_x * mpp_y) if mpp_x > 0 and mpp_y > 0 else math.nan
    if not believable(mpp):
        shown = mpp_x if mpp_x == mpp_y else f"{mpp_x:g} x {mpp_y:g}"
        shown = f"{shown:g}" if isinstance(shown, float) else shown
        return None, f"{origin} say {shown} µm, outside {MPP_MIN}-{MPP_MAX:g} µm"
    if abs(mpp_x - mpp_y) > _SQUARE_TOLERANCE * mpp:
        return None, f"{origin} say {mpp_x:g} x {mpp_y:g} µm, pixels that are not square"
    return (mpp_x if mpp_x == mpp_y else mpp), origin


def number(text: str | None) -> float | None:
    """A property's text as a number, or None where it is none.

    >>> number("0.25"), number("n/a"), number(None)
    (0.25, None, None)
    """
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def mpp_of_openslide(properties: Mapping[str, str]) -> tuple[float | None, str]:
    """The pixel size in OpenSlide's properties: ``(mpp, origin)`` or ``(None, reason)``."""
    mpp_x = number(properties.get("openslide.mpp-x"))
    mpp_y = number(properties.get("openslide.mpp-y"))
    if mpp_x is None or mpp_y is None:
        return None, "the file names no pixel size"
    vendor = properties.get("openslide.vendor")
    origin = "TIFF resolution tags" if vendor == "generic-tiff" else f"{vendor} metadata"
    return judge_mpp(mpp_x, mpp_y, origin)


def objective_of_openslide(properties: Mapping[str, str]) -> tuple[float | None, str]:
    """The objective's power in OpenSlide's properties, and where it came from."""
    power = number(properties.get("openslide.objective-power"))
    if power is None or not 0 < power <= 200:
        return None, "the file names no objective"
    return power, f"{properties.get('openslide.vendor')} metadata"
