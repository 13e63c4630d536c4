"""Read a slide through OpenSlide: every format it knows, the reference for the faster readers."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Literal

import numpy as np
import openslide
from PIL import Image as PilImage

from koilo.errors import SlideOpenError, SlideReadError
from koilo.slides.backend import FileFacts, Image, Level, true_downsample
from koilo.slides.pixel_size import mpp_of_openslide, objective_of_openslide


class OpenSlideBackend:
    """One file, or DICOM series, opened by OpenSlide; its reads are thread-safe by themselves."""

    name = "openslide"
    kind: Literal["slide", "field"] = "slide"

    def __init__(self, path: Path) -> None:
        """Open ``path``.

        Raises:
            SlideOpenError: OpenSlide does not know the format, or the file is damaged.
        """
        self._path = path
        self._closed = False
        try:
            self._slide = openslide.OpenSlide(path)
        except (openslide.OpenSlideError, OSError) as error:
            raise SlideOpenError(
                f"{path} cannot be opened: {_reason(error)}. Whole slides that OpenSlide reads, "
                "tiled TIFF, DICOM folders, PNG and JPEG can be. Copy or export the slide again."
            ) from error
        sizes = self._slide.level_dimensions
        self._downsamples = self._slide.level_downsamples
        self.levels = tuple(
            Level(width, height, true_downsample(sizes[0], (width, height)))
            for width, height in sizes
        )
        self.facts = _facts(_properties(self._slide), self.levels[0])

    def read_level(self, level: int, x_px: int, y_px: int, w_px: int, h_px: int) -> Image:
        """Read ``(h_px, w_px, 3)`` at ``(x_px, y_px)`` in the level's own pixels; white outside.

        Raises:
            SlideReadError: OpenSlide could not decode it.
        """
        if self._closed:
            raise SlideReadError(f"{self._path} is closed. Read inside its with block.")
        downsample = self._downsamples[level]  # OpenSlide's own, which it will divide by
        x_px0, y_px0 = round(x_px * downsample), round(y_px * downsample)
        try:
            rgba = self._slide.read_region((x_px0, y_px0), level, (w_px, h_px))
        except openslide.OpenSlideError as error:
            raise SlideReadError(
                f"{self._path}: the region at ({x_px0}, {y_px0}) of level {level} cannot be read: "
                f"{_reason(error)}. Every tile must decode. Copy or export the slide again."
            ) from error
        return _over_white(rgba)

    def associated_names(self) -> tuple[str, ...]:
        """Names of the label, macro, thumbnail … that the file carries."""
        return tuple(sorted(self._slide.associated_images))

    def read_associated(self, name: str) -> Image:
        """Read one associated image, uint8 (H, W, 3).

        A handle of its own is opened for it: an error inside OpenSlide spoils the handle for good,
        and a broken label must not cost the slide.

        Raises:
            SlideReadError: it cannot be decoded.
        """
        try:
            with openslide.OpenSlide(self._path) as slide:
                return _over_white(slide.associated_images[name])
        except (openslide.OpenSlideError, OSError) as error:
            raise SlideReadError(
                f"{self._path}: its {name} image cannot be read: {_reason(error)}. "
                "The slide itself may still be readable. Export it again if you need this image."
            ) from error

    def close(self) -> None:
        """Let go of the file."""
        if not self._closed:
            self._closed = True
            self._slide.close()


def _properties(slide: openslide.OpenSlide) -> dict[str, str]:
    """All properties but those of garbled names, which OpenSlide lists and then cannot find."""
    found = {}
    for name in slide.properties:
        with contextlib.suppress(KeyError):
            found[name] = slide.properties[name]
    return found


def _facts(properties: dict[str, str], level0: Level) -> FileFacts:
    mpp, mpp_origin = mpp_of_openslide(properties)
    objective, objective_origin = objective_of_openslide(properties)
    vendor = properties.get("openslide.vendor")
    keys = ("bounds-x", "bounds-y", "bounds-width", "bounds-height")
    bounds = [properties.get(f"openslide.{key}") for key in keys]
    known = [int(value) for value in bounds if value is not None and value.isdecimal()]
    whole = (0, 0, level0.width_px, level0.height_px)
    return FileFacts(
        format=vendor or "unknown",
        vendor=vendor,
        mpp=mpp,
        mpp_origin=mpp_origin,
        objective=objective,
        objective_origin=objective_origin,
        bounds_px0=(known[0], known[1], known[2], known[3]) if len(known) == 4 else whole,
        properties=properties,
    )


def _over_white(rgba: PilImage.Image) -> Image:
    pixels = np.asarray(rgba)  # (H, W, 4)
    alpha = pixels[..., 3:]
    if alpha.size == 0 or alpha.min() == 255:
        return np.ascontiguousarray(pixels[..., :3])
    weight = alpha.astype(np.uint16)
    mixed = (pixels[..., :3] * weight + 255 * (255 - weight) + 127) // 255
    return mixed.astype(np.uint8)


def _reason(error: Exception) -> str:
    if isinstance(error, openslide.OpenSlideUnsupportedFormatError):
        return "it is no slide format that OpenSlide knows, or it is cut short"
    return str(error).rstrip(".") or type(error).__name__
