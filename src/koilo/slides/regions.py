"""Read any region at any scale from a pyramid: nearest finer level, antialiased, no drift.

The frame: output pixel ``i`` covers ``[x_px0 + i * downsample, x_px0 + (i + 1) * downsample)`` of
level 0, whatever level it was made from, so that neighbours meet without seam or shift.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image as PilImage

from koilo.slides.backend import Image, Level

ReadLevel = Callable[[int, int, int, int, int], Image]
"""``(level, x_px, y_px, w_px, h_px)`` in the level's own pixels -> uint8 (h_px, w_px, 3)."""

_COARSER_ALLOWED = 1.01  # a level 1 % too coarse is better than one four times too fine
_DRIFT_PX = 1 / 16  # a shift below this is not worth an interpolation
_SUPPORT_PX = 2  # reach of the bicubic kernel, in output pixels
_BAND_PIXELS = 32_000_000  # source pixels held at once where levels are missing (96 MB)


def nearest_finer_level(levels: Sequence[Level], downsample: float) -> int:
    """Index of the coarsest level that is still as fine as ``downsample`` asks.

    >>> levels = [Level(4000, 4000, 1.0), Level(1000, 1000, 4.0), Level(250, 250, 16.0)]
    >>> [nearest_finer_level(levels, d) for d in (0.5, 3.9, 4.0, 15.0, 99.0)]
    [0, 0, 1, 1, 2]
    """
    fits = [
        i for i, level in enumerate(levels) if level.downsample <= downsample * _COARSER_ALLOWED
    ]
    return max(fits, key=lambda i: levels[i].downsample, default=0)


def read_scaled(
    read_level: ReadLevel,
    levels: Sequence[Level],
    origin_px0: tuple[float, float],
    downsample: float,
    size_px: tuple[int, int],
) -> Image:
    """Read ``size_px = (width, height)`` output pixels of ``downsample`` level-0 pixels each.

    Returns:
        uint8 (height, width, 3); white outside the slide.
    """
    width, height = size_px
    level = nearest_finer_level(levels, downsample)
    level_downsample = levels[level].downsample
    scale = downsample / level_downsample  # level pixels per output pixel
    x_px, y_px = origin_px0[0] / level_downsample, origin_px0[1] / level_downsample
    if _is_plain_copy(x_px, y_px, scale, max(width, height)):
        return read_level(level, round(x_px), round(y_px), width, height)
    band = max(1, int(_BAND_PIXELS / max(1.0, width * scale * scale)))
    if band >= height:
        return _resample(read_level, level, (x_px, y_px), scale, (width, height))
    region = np.empty((height, width, 3), dtype=np.uint8)
    for top in range(0, height, band):
        rows = min(band, height - top)
        region[top : top + rows] = _resample(
            read_level, level, (x_px, y_px + top * scale), scale, (width, rows)
        )
    return region


def _is_plain_copy(x_px: float, y_px: float, scale: float, longest_px: int) -> bool:
    drift = abs(scale - 1) * longest_px
    return max(abs(x_px - round(x_px)), abs(y_px - round(y_px)), drift) < _DRIFT_PX


def _resample(
    read_level: ReadLevel,
    level: int,
    origin_px: tuple[float, float],
    scale: float,
    size_px: tuple[int, int],
) -> Image:
    """Resample one region whose origin and scale are in the level's pixels."""
    (x_px, y_px), (width, height) = origin_px, size_px
    margin = math.ceil(_SUPPORT_PX * max(scale, 1.0)) + 1
    left, top = math.floor(x_px) - margin, math.floor(y_px) - margin
    right = math.ceil(x_px + width * scale) + margin
    bottom = math.ceil(y_px + height * scale) + margin
    source = read_level(level, left, top, right - left, bottom - top)
    box = (x_px - left, y_px - top, x_px - left + width * scale, y_px - top + height * scale)
    gap = 3.0 if scale > 6 else None  # far from any level: box-shrink first, then interpolate
    picture = PilImage.fromarray(source)
    resized = picture.resize((width, height), PilImage.Resampling.BICUBIC, box, reducing_gap=gap)
    return np.asarray(resized)
