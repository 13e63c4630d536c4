"""Read a plain image (PNG, JPEG, BMP, untiled TIFF) as a field: one level, held in memory."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image as PilImage
from PIL import TiffImagePlugin, UnidentifiedImageError

from koilo.errors import SlideOpenError, SlideReadError
from koilo.slides.backend import FileFacts, Image, Level, blank, overlap
from koilo.slides.pixel_size import judge_mpp

MAX_PIXELS = 300_000_000
"""A field is held whole; above this many pixels (900 MB) it has to come as a tiled slide."""

_UM_PER_UNIT = {2: 25_400.0, 3: 10_000.0}  # TIFF ResolutionUnit: inch, centimetre


class PlainImageBackend:
    """One picture without levels, decoded when opened, so that a broken one is refused at once.

    Pixels are taken as stored: an EXIF rotation is not applied, transparency shows white.
    """

    name = "plain"
    kind: Literal["slide", "field"] = "field"

    def __init__(self, path: Path) -> None:
        """Open and decode ``path``.

        Raises:
            SlideOpenError: it is no image, is damaged, or is too large for a field.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow warns of size and odd tags; judged below
                with PilImage.open(path) as picture:
                    self.facts = _facts(path, picture)
                    self._pixels = _decode(picture)
        except Exception as error:  # damaged pictures raise anything
            raise SlideOpenError(
                f"{path} cannot be opened: {_reason(error)}. A field is a whole PNG, JPEG, BMP or "
                f"TIFF of at most {MAX_PIXELS // 1_000_000} megapixels. Save or copy it again, or "
                "convert a larger one to a tiled TIFF."
            ) from error
        self.levels: tuple[Level, ...] = (Level(self._pixels.shape[1], self._pixels.shape[0], 1.0),)

    def read_level(self, level: int, x_px: int, y_px: int, w_px: int, h_px: int) -> Image:
        """Read ``(h_px, w_px, 3)`` at ``(x_px, y_px)``; white outside."""
        height, width = self._pixels.shape[:2]
        x_low, x_high = overlap(x_px, w_px, width)
        y_low, y_high = overlap(y_px, h_px, height)
        region = blank(w_px, h_px)
        region[y_low - y_px : y_high - y_px, x_low - x_px : x_high - x_px] = self._pixels[
            y_low:y_high, x_low:x_high
        ]
        return region

    def associated_names(self) -> tuple[str, ...]:
        """A plain image carries no other."""
        return ()

    def read_associated(self, name: str) -> Image:
        """Refuse: a plain image carries no other.

        Raises:
            SlideReadError: always.
        """
        raise SlideReadError(f"A plain image has no {name} image. Only slides do. Read the pixels.")

    def close(self) -> None:
        """Nothing is held open."""


def _decode(picture: PilImage.Image) -> Image:
    if picture.width * picture.height > MAX_PIXELS:
        raise ValueError(f"it has {picture.width} x {picture.height} pixels")
    if picture.mode.startswith("I") or picture.mode == "F":
        samples = np.asarray(picture, dtype=np.float64)
        top = 65_535.0 if samples.max(initial=0) > 255 else 255.0
        grey = np.clip(samples * (255 / top), 0, 255).round().astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(grey[..., None], (*grey.shape, 3)))
    if "A" in picture.getbands() or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        white = PilImage.new("RGBA", rgba.size, (255, 255, 255, 255))
        picture = PilImage.alpha_composite(white, rgba)
    return np.array(picture.convert("RGB"), dtype=np.uint8)


def _facts(path: Path, picture: PilImage.Image) -> FileFacts:
    """What the image says of itself; dots per inch of a PNG or JPEG are never a pixel size."""
    mpp, origin = None, "a plain image names no pixel size (dots per inch do not count)"
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        mpp, origin = _tiff_mpp(picture)
    return FileFacts(
        format=(picture.format or path.suffix.lstrip(".")).lower(),
        mpp=mpp,
        mpp_origin=origin,
        bounds_px0=(0, 0, picture.width, picture.height),
        properties={"plain.mode": picture.mode},
    )


def _tiff_mpp(picture: TiffImagePlugin.TiffImageFile) -> tuple[float | None, str]:
    tags = picture.tag_v2
    um_per_unit = _UM_PER_UNIT.get(tags.get(296, 2))
    x_per_unit, y_per_unit = (float(tags.get(tag, 0) or 0) for tag in (282, 283))
    if um_per_unit is None or x_per_unit <= 0 or y_per_unit <= 0:
        return None, "the file names no pixel size"
    return judge_mpp(um_per_unit / x_per_unit, um_per_unit / y_per_unit, "TIFF resolution tags")


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "it is no image in a known format, or it is cut short"
    return str(error).rstrip(".") or type(error).__name__
