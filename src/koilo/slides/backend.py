"""The one seam of this part: what a file format must offer so that a Slide can read it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""RGB pixels, uint8 (H, W, 3)."""

WHITE = 255


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a slide: its size in its own pixels, level-0 pixels per pixel.

    ``downsample`` is the true one (see ``true_downsample``), by which koilo computes.
    """

    width_px: int
    height_px: int
    downsample: float


@dataclass(frozen=True)
class FileFacts:
    """What the file says of itself; nothing in it is guessed.

    ``mpp`` is None where the file names no believable pixel size, and ``mpp_origin`` then says why;
    otherwise it names the tag. ``bounds_px0`` is ``(x, y, w, h)`` of the part that was scanned.
    ``reader_note`` says why the fast reader was not used, where it was not.
    """

    format: str
    vendor: str | None = None
    mpp: float | None = None
    mpp_origin: str = "the file names no pixel size"
    objective: float | None = None
    objective_origin: str = "the file names no objective"
    bounds_px0: tuple[int, int, int, int] | None = None
    reader_note: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)


class SlideBackend(Protocol):
    """Pixels of one file. ``read_level`` is called from several threads at once."""

    name: str
    kind: Literal["slide", "field"]
    levels: tuple[Level, ...]
    facts: FileFacts

    def read_level(self, level: int, x_px: int, y_px: int, w_px: int, h_px: int) -> Image:
        """Read ``(h_px, w_px, 3)`` at ``(x_px, y_px)`` in the level's own pixels; white outside.

        Raises:
            SlideReadError: these pixels cannot be decoded.
        """
        ...

    def associated_names(self) -> tuple[str, ...]:
        """Names of the label, macro, thumbnail … that the file carries."""
        ...

    def read_associated(self, name: str) -> Image:
        """Read one associated image, uint8 (H, W, 3).

        Raises:
            SlideReadError: it cannot be decoded.
        """
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


def true_downsample(size0_px: tuple[int, int], size_px: tuple[int, int]) -> float:
    """Level-0 pixels per pixel of a level, from the two sizes, rounding undone.

    Levels made by halving lose a part of a pixel each time: 33,864 px halved eight times are 132,
    which looks like 257 and is 256. A power of two or whole number is taken where it explains
    both sizes; otherwise the mean ratio, as OpenSlide computes.

    >>> true_downsample((33864, 32462), (132, 126)), true_downsample((1000, 1000), (300, 300))
    (256.0, 3.3333333333333335)
    """
    (width0, height0), (width, height) = size0_px, size_px
    mean = (width0 / width + height0 / height) / 2
    for whole in (2 ** round(math.log2(mean)), round(mean)):
        fits = all(
            at in (at0 // whole, -(-at0 // whole))
            for at0, at in ((width0, width), (height0, height))
        )
        if whole >= 1 and fits:
            return float(whole)
    return mean


def blank(w_px: int, h_px: int) -> Image:
    """A white image, uint8 (h_px, w_px, 3)."""
    return np.full((h_px, w_px, 3), WHITE, dtype=np.uint8)


def overlap(start: int, length: int, limit: int) -> tuple[int, int]:
    """The part ``[low, high)`` of ``[start, start + length)`` that lies in ``[0, limit)``.

    >>> overlap(-5, 20, 10)
    (0, 10)
    >>> overlap(12, 5, 10)
    (12, 12)
    """
    low = max(start, 0)
    return low, max(low, min(start + length, limit))
