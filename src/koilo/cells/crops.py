"""Cut crops around cells out of a slide so that every piece of the slide is read once.

Cells are sorted into squares of the slide at the model's pixel size. Of each square only the box
that its crops touch is read, and that once; a crop across squares is put together from them. All
pieces lie on one pixel grid, so there is no seam.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from koilo.slides import Slide

Image = NDArray[np.uint8]

_SQUARE_PX = 256


def read_crops(slide: Slide, centres_px0: ArrayLike, mpp: float, size_px: int) -> Image:
    """Read square crops around points of a slide.

    Args:
        slide: an open slide with a pixel size.
        centres_px0: ``(N, 2)``, x before y, in level-0 pixels; N may be 0.
        mpp: µm per pixel of the crops.
        size_px: side of the crops, in pixels of ``mpp``.

    Returns:
        uint8 RGB ``(N, size_px, size_px, 3)`` in the order of the centres, each centred to within
        half a pixel; what lies outside the slide mirrors what lies inside.

    Raises:
        PixelSizeError: the slide's pixel size is unknown.
        SlideReadError: a piece cannot be decoded.
    """
    downsample = slide.downsample_at(mpp)
    centres = np.asarray(centres_px0, np.float64).reshape(-1, 2) / downsample  # (N, 2)
    size = np.maximum(1, np.floor(np.asarray(slide.dimensions) / downsample)).astype(int)
    starts = np.rint(centres - size_px / 2).astype(int)  # (N, 2), top left on the common grid
    low = np.clip(starts, 0, size - 1)
    high = np.clip(starts + size_px, low + 1, size)
    crops = np.zeros((len(starts), size_px, size_px, 3), np.uint8)
    for square, indices in _squares(low, high).items():
        left_top = np.maximum(low[indices].min(0), square)
        right_bottom = np.minimum(high[indices].max(0), np.add(square, _SQUARE_PX))
        width, height = (right_bottom - left_top).tolist()
        x_px0, y_px0 = (left_top * downsample).tolist()
        piece = slide.read_at_mpp((x_px0, y_px0), mpp, (width, height))
        for index in indices:
            _paste(piece, left_top, crops[index], starts[index], low[index], high[index])
    for index in range(len(crops)):
        _mirror_outside(crops[index], low[index] - starts[index], high[index] - starts[index])
    return crops


def _squares(low: NDArray[Any], high: NDArray[Any]) -> dict[tuple[int, int], list[int]]:
    """Top left of each square that a crop touches -> those crops; squares row by row."""
    touched: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, (first, last) in enumerate(zip(low, high, strict=True)):
        for corner in _corners(first, last):
            touched[corner].append(index)
    return dict(sorted(touched.items(), key=lambda item: item[0][::-1]))


def _corners(low: NDArray[Any], high: NDArray[Any]) -> Iterator[tuple[int, int]]:
    first, last = low // _SQUARE_PX, (high - 1) // _SQUARE_PX
    for row in range(int(first[1]), int(last[1]) + 1):
        for column in range(int(first[0]), int(last[0]) + 1):
            yield column * _SQUARE_PX, row * _SQUARE_PX


def _paste(
    piece: Image,
    left_top: NDArray[Any],
    crop: Image,
    start: NDArray[Any],
    low: NDArray[Any],
    high: NDArray[Any],
) -> None:
    """Copy what ``piece``, at ``left_top`` of the grid, shows of the crop at ``start``."""
    first = np.maximum(low, left_top)
    last = np.minimum(high, left_top + np.asarray(piece.shape[1::-1]))
    (x, y), (x_end, y_end) = first - start, last - start
    (u, v), (u_end, v_end) = first - left_top, last - left_top
    crop[y:y_end, x:x_end] = piece[v:v_end, u:u_end]


def _mirror_outside(crop: Image, low: NDArray[Any], high: NDArray[Any]) -> None:
    """Fill what lies outside the valid box ``low``-``high`` of a crop, mirrored, in place."""
    side = crop.shape[0]
    if not low.any() and (high == side).all():
        return
    # A centre outside the slide leaves a sliver at the nearest edge; it is mirrored all the same.
    left, top = np.clip(low, 0, side - 1).tolist()
    right, bottom = np.clip(high, 1, side).tolist()
    inside = crop[top:bottom, left:right].copy()
    crop[:] = cv2.copyMakeBorder(
        inside, top, side - bottom, left, side - right, cv2.BORDER_REFLECT_101
    )
