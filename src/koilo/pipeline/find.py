"""Find suspicious cells: readers decode tiles, measures are taken and the detector runs, at once.

Tiles reach the detector in the order of the grid whatever thread was first, so that batches, and
with them the last bit of every score, do not depend on the number of readers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from koilo.detect import Detector, TopK
from koilo.slides import Slide, stream_tiles
from koilo.types import Tile

T = TypeVar("T")

BATCH = 4
"""Tiles that the detector sees at once: more gain nothing on a CPU and cost memory."""

OVERLAP_PX = 48
"""Pixels by which tiles overlap: more than a cell's box, so that each cell is whole in one tile."""


@dataclass(frozen=True)
class FoundCells(Generic[T]):
    """Boxes (N, 4) x, y, w, h in level-0 pixels with scores (N,), best first; a measure a tile."""

    boxes_px0: NDArray[np.float32]
    scores: NDArray[np.float32]
    measures: list[T]
    seconds: dict[str, float]


def find_cells(
    slide: Slide,
    tiles: Sequence[Tile],
    detector: Detector,
    *,
    top_k: int,
    floor: float,
    measure: Callable[[Tile, NDArray[np.uint8]], T],
    excluded_px0: BaseGeometry,
    threads: int,
    advance: Callable[[float], None],
) -> FoundCells[T]:
    """Stream ``tiles`` through ``measure`` and the detector, and keep the best ``top_k`` cells.

    Args:
        slide: an open slide with a pixel size.
        tiles: of `koilo.slides.tile_grid`, at the detector's pixel size.
        detector: finds boxes in batches of tiles.
        top_k: most cells kept, one box a cell.
        floor: boxes at or under this score are left out.
        measure: called in threads of their own with each tile and its pixels uint8 (H, W, 3),
            less those beyond the slide.
        excluded_px0: pen, bubbles …: a box centred there is no cell.
        threads: reader threads.
        advance: called with the number of tiles done.

    Raises:
        SlideReadError: a tile cannot be decoded.
    """
    best = TopK(top_k, floor=floor)
    shapely.prepare(excluded_px0)
    measured: list[Future[T]] = []
    detect_s = 0.0
    started = time.monotonic()
    with ThreadPoolExecutor(threads, thread_name_prefix="koilo-measure") as pool:
        stream = in_order(stream_tiles(slide, tiles, threads=threads), tiles)
        for batch in batched(stream, BATCH):
            inside = [(tile, cut_to_slide(slide, tile, rgb)) for tile, rgb in batch]
            measured += [pool.submit(measure, tile, rgb) for tile, rgb in inside]
            before = time.monotonic()
            found = detector.predict(
                np.stack([mirrored(rgb, detector.tile_px) for _, rgb in inside])
            )
            detect_s += time.monotonic() - before
            for (tile, _), (boxes, scores) in zip(batch, found, strict=True):
                _offer(best, slide, tile, boxes, scores, excluded_px0)
            advance(len(batch))
        measures = [future.result() for future in measured]
    tiles_s = time.monotonic() - started - detect_s
    before = time.monotonic()
    boxes_px0, scores = best.result()
    merge_s = time.monotonic() - before
    return FoundCells(
        boxes_px0, scores, measures, {"tiles": tiles_s, "detector": detect_s, "merge": merge_s}
    )


def in_order(
    stream: Iterable[tuple[Tile, NDArray[np.uint8]]], tiles: Sequence[Tile]
) -> Iterator[tuple[Tile, NDArray[np.uint8]]]:
    """Give a stream's tiles in the order of ``tiles``; holds only those that came early."""
    early: dict[Tile, NDArray[np.uint8]] = {}
    wanted = iter(tiles)
    tile = next(wanted, None)
    for arrived, rgb in stream:
        early[arrived] = rgb
        while tile is not None and tile in early:
            yield tile, early.pop(tile)
            tile = next(wanted, None)


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of ``size`` items, the last one shorter."""
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def cut_to_slide(slide: Slide, tile: Tile, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The part of a tile that lies within the slide, at least one pixel of it."""
    downsample = slide.downsample_at(tile.mpp)
    width = max(1, int((slide.dimensions[0] - tile.x_px0) / downsample))
    height = max(1, int((slide.dimensions[1] - tile.y_px0) / downsample))
    return rgb[:height, :width]


def mirrored(rgb: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """``rgb`` (H, W, 3) filled up to a square of ``size_px`` by mirroring, as in training."""
    height, width = rgb.shape[:2]
    if (height, width) == (size_px, size_px):
        return rgb
    below, right = size_px - height, size_px - width
    padded = cv2.copyMakeBorder(rgb, 0, below, 0, right, cv2.BORDER_REFLECT_101)
    return np.asarray(padded, np.uint8)


def _offer(
    best: TopK,
    slide: Slide,
    tile: Tile,
    boxes_px: NDArray[np.float32],
    scores: NDArray[np.float32],
    excluded_px0: BaseGeometry,
) -> None:
    """Offer a tile's boxes in level-0 pixels, but for those centred off the slide or on pen."""
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
