"""Find suspicious cells: readers decode tiles while workers measure them and run the detector.

Tiles reach the workers in the order of the grid whatever reader was first, so that batches, and
with them the last bit of every score, do not depend on the number of threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, TypeVar

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from koilo.detect import Detector, TopK
from koilo.pipeline.workers import Workers, batched
from koilo.slides import Slide, stream_tiles
from koilo.types import Tile

T = TypeVar("T")

OVERLAP_PX = 48
"""Pixels by which tiles overlap: more than a cell's box, so that each cell is whole in one tile."""

_BATCH = {"cpu": 2, "cuda": 32}
"""Tiles a network sees at once: on a CPU more gain nothing and cost memory."""

Pixels = NDArray[np.uint8]
Boxes = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class FoundCells(Generic[T]):
    """Boxes (N, 4) x, y, w, h in level-0 pixels with scores (N,), best first; a measure a tile.

    ``busy_s``: seconds that the workers spent, all of them together, by what they did.
    """

    boxes_px0: NDArray[np.float32]
    scores: NDArray[np.float32]
    measures: list[T]
    busy_s: dict[str, float]


def find_cells(
    slide: Slide,
    tiles: Sequence[Tile],
    detector: Detector,
    workers: Workers,
    *,
    top_k: int,
    measure: Callable[[Tile, Pixels], T],
    excluded_px0: BaseGeometry,
    threads: int,
    advance: Callable[[float], None],
) -> FoundCells[T]:
    """Stream ``tiles`` through ``measure`` and the detector, and keep the best ``top_k`` cells.

    Args:
        slide: an open slide with a pixel size.
        tiles: of `koilo.slides.tile_grid`, at the detector's pixel size.
        detector: finds boxes in batches of tiles.
        workers: threads that compute.
        top_k: most cells kept, one box a cell.
        measure: called by the workers with each tile and its pixels uint8 (H, W, 3), less those
            beyond the slide.
        excluded_px0: pen, bubbles …: a box centred there is no cell.
        threads: reader threads.
        advance: called with the number of tiles done.

    Raises:
        SlideReadError: a tile cannot be decoded.
    """
    best = TopK(top_k, floor=detector.score_floor)
    shapely.prepare(excluded_px0)
    measures: list[T] = []
    busy_s = {"tile quality": 0.0, "detector": 0.0}

    def work(batch: list[tuple[Tile, Pixels]]) -> tuple[list[Tile], list[T], list[Boxes]]:
        started = time.monotonic()
        inside = [(tile, cut_to_slide(slide, tile, rgb)) for tile, rgb in batch]
        measured = [measure(tile, rgb) for tile, rgb in inside]
        measure_s = time.monotonic() - started
        found = detector.predict(np.stack([mirrored(rgb, tile.size_px) for tile, rgb in inside]))
        busy_s["tile quality"] += measure_s  # a lost update among threads would cost a statistic
        busy_s["detector"] += time.monotonic() - started - measure_s
        return [tile for tile, _ in batch], measured, found

    # Closed at once when something breaks: the readers must be gone before the slide is closed.
    with closing(stream_tiles(slide, tiles, threads=threads)) as stream:
        batches = batched(in_order(stream, tiles), _BATCH[detector.device.type])
        for done, measured, found in workers.map_in_order(work, batches):
            measures += measured
            for tile, boxes in zip(done, found, strict=True):
                _offer(best, slide, tile, boxes, excluded_px0)
            advance(len(done))
    boxes_px0, scores = best.result()
    return FoundCells(boxes_px0, scores, measures, busy_s)


def in_order(
    stream: Iterable[tuple[Tile, Pixels]], tiles: Sequence[Tile]
) -> Iterator[tuple[Tile, Pixels]]:
    """Give a stream's tiles in the order of ``tiles``; holds only those that came early."""
    early: dict[Tile, Pixels] = {}
    wanted = iter(tiles)
    tile = next(wanted, None)
    for arrived, rgb in stream:
        early[arrived] = rgb
        while tile is not None and tile in early:
            yield tile, early.pop(tile)
            tile = next(wanted, None)


def cut_to_slide(slide: Slide, tile: Tile, rgb: Pixels) -> Pixels:
    """The part of a tile that lies within the slide, at least one pixel of it."""
    downsample = slide.downsample_at(tile.mpp)
    width = max(1, int((slide.dimensions[0] - tile.x_px0) / downsample))
    height = max(1, int((slide.dimensions[1] - tile.y_px0) / downsample))
    return rgb[:height, :width]


def mirrored(rgb: Pixels, size_px: int) -> Pixels:
    """``rgb`` (H, W, 3) filled up to a square of ``size_px`` by mirroring, as in training."""
    height, width = rgb.shape[:2]
    if (height, width) == (size_px, size_px):
        return rgb
    below, right = size_px - height, size_px - width
    padded = cv2.copyMakeBorder(rgb, 0, below, 0, right, cv2.BORDER_REFLECT_101)
    return np.asarray(padded, np.uint8)


def _offer(best: TopK, slide: Slide, tile: Tile, found: Boxes, excluded_px0: BaseGeometry) -> None:
    """Offer a tile's boxes in level-0 pixels, but for those centred off the slide or on pen."""
    boxes_px, scores = found
    downsample = slide.downsample_at(tile.mpp)
    boxes = boxes_px * np.float32(downsample)
    boxes[:, :2] += (tile.x_px0, tile.y_px0)
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    wanted = (centres < slide.dimensions).all(axis=1)
    if not excluded_px0.is_empty:
        wanted &= ~shapely.contains_xy(excluded_px0, centres)
    side_px0 = tile.size_px * downsample
    frame = (float(tile.x_px0), float(tile.y_px0), side_px0, side_px0)
    best.add(boxes[wanted], scores[wanted], tile_px0=frame)
