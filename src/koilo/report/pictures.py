"""Pictures for a page that stands alone: JPEG and PNG as data URIs, and the focus map."""

from __future__ import annotations

import base64
import io
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from koilo.report.marks import Frame

OVERVIEW_SIDE_PX = 1400
CROP_SIDE_PX = 192
MAP_SIDE_PX = 640
WORST_BLUR_UM = 2.5
"""blur drawn darkest; sharp tiles of a real scanner lie below 0.85 µm"""

_SHARP = np.array([222.0, 235.0, 247.0])
_BLURRED = np.array([94.0, 30.0, 60.0])


class QualityMap(NamedTuple):
    """Blur per tile, and what part of the slide it covers.

    ``blur_um``: (rows, columns), width of the tile's edges in µm, lower is sharper, NaN where no
    tile was judged. ``limit_um``: wider edges count as out of focus; None: nothing is counted.
    """

    blur_um: NDArray[np.floating[Any]]
    frame_px0: Frame
    limit_um: float | None = None


def jpeg_uri(rgb: NDArray[np.uint8], *, side_px: int, quality: int = 86) -> str:
    """A picture as a JPEG data URI, shrunk so that neither side exceeds ``side_px``.

    Args:
        rgb: uint8 (H, W, 3).
        side_px: largest side of the picture in the page.
        quality: JPEG quality, 1 to 95.

    Raises:
        ValueError: the array is not a non-empty uint8 RGB picture.
    """
    return _encode(shrink(rgb, side_px), "JPEG", quality=quality, optimize=True)


def shrink(rgb: NDArray[np.uint8], side_px: int) -> Image.Image:
    """The picture with neither side over ``side_px``; never enlarged.

    Raises:
        ValueError: the array is not a non-empty uint8 (H, W, 3).
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise ValueError(
            f"A report's picture has shape {rgb.shape} and type {rgb.dtype}. "
            "It must be uint8 of shape (height, width, 3)."
        )
    image = Image.fromarray(np.ascontiguousarray(rgb))
    image.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    return image


def focus_map_uri(
    quality: QualityMap, overview_rgb: NDArray[np.uint8] | None, overview_frame: Frame | None
) -> str:
    """The focus map as a PNG data URI: light tiles are sharp, dark ones blurred, over the overview.

    Args:
        quality: blur per tile and its frame.
        overview_rgb: uint8 (H, W, 3) or None; then the map stands alone.
        overview_frame: the overview's ``(x_px0, y_px0, w_px0, h_px0)``.
    """
    tiles = _map_pixels(quality)  # (rows, columns, 4)
    if overview_rgb is None or overview_frame is None:
        scale = max(1, MAP_SIDE_PX // max(tiles.shape[:2]))
        image = Image.fromarray(np.repeat(np.repeat(tiles, scale, axis=0), scale, axis=1))
        return _encode(image, "PNG", optimize=True)
    grey = shrink(overview_rgb, MAP_SIDE_PX).convert("L").convert("RGB")
    faded = Image.blend(grey, Image.new("RGB", grey.size, "white"), 0.45)
    left, top, right, bottom = _placed(quality.frame_px0, overview_frame, grey.size)
    size = max(1, right - left), max(1, bottom - top)
    layer = Image.fromarray(tiles).resize(size, Image.Resampling.NEAREST)
    faded.paste(layer, (left, top), layer)
    return _encode(faded, "JPEG", quality=84, optimize=True)


def _map_pixels(quality: QualityMap) -> NDArray[np.uint8]:
    known = np.isfinite(quality.blur_um)
    blur = np.clip(np.where(known, quality.blur_um, 0.0) / WORST_BLUR_UM, 0, 1)
    colour = _SHARP + blur[..., None] * (_BLURRED - _SHARP)  # (rows, columns, 3)
    alpha = np.where(known, 190, 0)[..., None]
    return np.concatenate([colour, alpha], axis=2).round().astype(np.uint8)


def _placed(inner: Frame, outer: Frame, size_px: tuple[int, int]) -> tuple[int, int, int, int]:
    """``inner`` as (left, top, right, bottom) in pixels of a picture of ``outer``."""
    x_scale, y_scale = size_px[0] / outer[2], size_px[1] / outer[3]
    left, top = (inner[0] - outer[0]) * x_scale, (inner[1] - outer[1]) * y_scale
    return (
        round(left),
        round(top),
        round(left + inner[2] * x_scale),
        round(top + inner[3] * y_scale),
    )


def _encode(image: Image.Image, kind: str, **options: Any) -> str:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{data}"
