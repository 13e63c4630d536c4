"""Lay a grid of tiles over a slide's foreground and stream their pixels from reader threads."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Generator, Iterator, Sequence
from typing import Protocol

import shapely
from shapely.geometry.base import BaseGeometry

from koilo.errors import SlideError, SlideReadError
from koilo.slides.backend import Image
from koilo.slides.slide import Slide
from koilo.types import Tile

_TILES_WAITING = 4
"""Tiles a reader thread may be ahead of whoever takes them (0.8 MB each at 512 px)."""


class HasPolygons(Protocol):
    """What a foreground must have here: its area as shapely polygons in level-0 pixels."""

    @property
    def polygons_px0(self) -> BaseGeometry:
        """The foreground's area."""
        ...


def tile_grid(
    slide: Slide,
    foreground: HasPolygons | None,
    *,
    size_px: int = 512,
    mpp: float = 1.0,
    overlap_px: int = 0,
) -> list[Tile]:
    """Cover the foreground with square tiles, row by row from the top left.

    The grid starts at the scanned bounds' corner and is the same whatever the foreground; tiles
    that touch none of it are left out. The last tile of a row may reach beyond the slide, where it
    reads white. A field of no pixel size has no grid at an mpp.

    Args:
        slide: the slide to cover.
        foreground: what to cover; None covers all of the scanned bounds.
        size_px: side of a tile in its own pixels.
        mpp: µm per pixel of a tile.
        overlap_px: by how many of its pixels a tile reaches over the next one.

    Raises:
        PixelSizeError: the slide's pixel size is unknown.
    """
    if not 0 <= overlap_px < size_px:
        raise ValueError(f"overlap_px must be from 0 to {size_px - 1}, not {overlap_px}")
    downsample = slide.downsample_at(mpp)
    x_px0, y_px0, width_px0, height_px0 = slide.bounds_px0
    step_px0, side_px0 = (size_px - overlap_px) * downsample, size_px * downsample
    area = None if foreground is None else foreground.polygons_px0
    if area is not None:
        if area.is_empty:
            return []
        shapely.prepare(area)
    columns = _steps(width_px0, side_px0, step_px0)
    tiles = []
    for row in range(_steps(height_px0, side_px0, step_px0)):
        for column in range(columns):
            left, top = x_px0 + column * step_px0, y_px0 + row * step_px0
            square = shapely.box(left, top, left + side_px0, top + side_px0)
            if area is None or area.intersects(square):
                tiles.append(Tile(round(left), round(top), size_px, mpp))
    return tiles


def _steps(length_px0: float, side_px0: float, step_px0: float) -> int:
    """Tiles needed to cover a length.

    >>> _steps(1000, 512, 512), _steps(512, 512, 448), _steps(513, 512, 448)
    (2, 1, 2)
    """
    return 1 + max(0, math.ceil((length_px0 - side_px0) / step_px0 - 1e-9))


def stream_tiles(
    slide: Slide, tiles: Sequence[Tile], *, threads: int = 2
) -> Generator[tuple[Tile, Image], None, None]:
    """Yield ``(tile, uint8 RGB (size_px, size_px, 3))`` for every tile, as threads finish them.

    The order is that of finishing: near that of ``tiles``, never guaranteed. Readers run ahead by a
    few tiles only, so memory stays bounded however slowly tiles are taken. Leaving the loop early
    stops the readers.

    Raises:
        SlideReadError: a tile cannot be decoded; the tiles after it are not read.
        PixelSizeError: the slide's pixel size is unknown.
    """
    if threads < 1:
        raise ValueError(f"threads must be at least 1, not {threads}")
    readers = _Readers(slide, tiles, threads)
    try:
        yield from readers.results()
    finally:
        readers.stop()


class _Readers:
    """Threads that take the next tile from a shared list and put its pixels into one queue."""

    def __init__(self, slide: Slide, tiles: Sequence[Tile], threads: int) -> None:
        self._slide = slide
        self._todo = iter(tiles)
        self._todo_lock = threading.Lock()
        self._stopped = threading.Event()
        self._done: queue.Queue[tuple[Tile, Image | Exception] | None] = queue.Queue(
            threads * _TILES_WAITING
        )
        self._threads = [
            threading.Thread(target=self._read, name=f"koilo-reader-{n}", daemon=True)
            for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def results(self) -> Iterator[tuple[Tile, Image]]:
        """Yield until every thread has said that it is done."""
        running = len(self._threads)
        while running:
            item = self._done.get()
            if item is None:
                running -= 1
                continue
            tile, pixels = item
            if isinstance(pixels, Exception):
                raise _as_read_error(self._slide, tile, pixels)
            yield tile, pixels

    def stop(self) -> None:
        """Let the threads end, and wait for them: the slide may be closed afterwards."""
        self._stopped.set()
        for thread in self._threads:
            while thread.is_alive():
                self._drain()
                thread.join(0.01)

    def _drain(self) -> None:
        try:
            while True:
                self._done.get_nowait()
        except queue.Empty:
            return

    def _read(self) -> None:
        while not self._stopped.is_set():
            with self._todo_lock:
                tile = next(self._todo, None)
            if tile is None:
                break
            try:
                at, size = (tile.x_px0, tile.y_px0), (tile.size_px, tile.size_px)
                pixels: Image | Exception = self._slide.read_at_mpp(at, tile.mpp, size)
            except Exception as error:  # whatever it is, it is raised where tiles are taken
                pixels = error
            self._done.put((tile, pixels))
        self._done.put(None)


def _as_read_error(slide: Slide, tile: Tile, error: Exception) -> Exception:
    if isinstance(error, SlideError):
        return error
    failure = SlideReadError(
        f"{slide.path}: the tile at ({tile.x_px0}, {tile.y_px0}) cannot be read: "
        f"{type(error).__name__}: {error}. Every tile must decode. Copy or export the slide again."
    )
    failure.__cause__ = error
    return failure
