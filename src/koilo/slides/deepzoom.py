"""Give one Deep Zoom (DZI) tile of a slide, for viewers such as OpenSeadragon.

Deep Zoom levels are counted from the smallest, which is one pixel, to the full picture; each is
half the next. Names carry their frame: ``_z`` is in pixels of a Deep Zoom level.
"""

from __future__ import annotations

from koilo.slides.backend import Image
from koilo.slides.slide import Slide


def deep_zoom_levels(slide: Slide) -> list[tuple[int, int]]:
    """Sizes ``(width_z, height_z)`` of the Deep Zoom levels, smallest first.

    >>> class Small:
    ...     bounds_px0 = (0, 0, 5, 3)
    >>> deep_zoom_levels(Small())
    [(1, 1), (2, 1), (3, 2), (5, 3)]
    """
    sizes = [(slide.bounds_px0[2], slide.bounds_px0[3])]
    while max(sizes[-1]) > 1:
        width_z, height_z = sizes[-1]
        sizes.append((max(1, (width_z + 1) // 2), max(1, (height_z + 1) // 2)))
    return sizes[::-1]


def deep_zoom_dzi(slide: Slide, *, tile_px: int = 254, overlap_px: int = 1) -> str:
    """The ``.dzi`` XML that tells a viewer the picture's size and tiling."""
    _, _, width, height = slide.bounds_px0
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<Image xmlns="http://schemas.microsoft.com/deepzoom/2008" Format="jpeg" '
        f'Overlap="{overlap_px}" TileSize="{tile_px}">'
        f'<Size Width="{width}" Height="{height}"/></Image>'
    )


def deep_zoom_tile(
    slide: Slide, level: int, column: int, row: int, *, tile_px: int = 254, overlap_px: int = 1
) -> Image:
    """Read one Deep Zoom tile: uint8 (height, width, 3), smaller at the picture's edges.

    Args:
        slide: the slide; its scanned bounds are the picture.
        level: counted from the smallest; the last of ``deep_zoom_levels`` is the full picture.
        column: of the tile, from the left.
        row: of the tile, from the top.
        tile_px: side of a tile without its overlap.
        overlap_px: pixels that a tile shares with each neighbour.

    Raises:
        IndexError: there is no such level, column or row.
        SlideReadError: the slide's own tile cannot be decoded.
    """
    sizes = deep_zoom_levels(slide)
    if not 0 <= level < len(sizes):
        raise IndexError(f"no Deep Zoom level {level}: there are 0 to {len(sizes) - 1}")
    width_z, height_z = sizes[level]
    if not (0 <= column * tile_px < width_z and 0 <= row * tile_px < height_z):
        raise IndexError(f"no tile in column {column}, row {row} of Deep Zoom level {level}")
    left_z, right_z = _span(column, width_z, tile_px, overlap_px)
    top_z, bottom_z = _span(row, height_z, tile_px, overlap_px)
    downsample = 2.0 ** (len(sizes) - 1 - level)
    x_px0, y_px0, _, _ = slide.bounds_px0
    origin_px0 = (x_px0 + left_z * downsample, y_px0 + top_z * downsample)
    return slide.read_at_downsample(origin_px0, downsample, (right_z - left_z, bottom_z - top_z))


def _span(index: int, length_z: int, tile_px: int, overlap_px: int) -> tuple[int, int]:
    start = index * tile_px - (overlap_px if index else 0)
    return start, min(length_z, (index + 1) * tile_px + overlap_px)
