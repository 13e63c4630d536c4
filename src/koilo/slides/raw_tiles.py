"""Read tiled JPEG slides tile by tile: ``os.pread`` and libjpeg-turbo, no lock around either."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Literal

import numpy as np

from koilo.errors import SlideOpenError, SlideReadError
from koilo.slides.backend import WHITE, FileFacts, Image, SlideBackend, blank, overlap
from koilo.slides.jpeg_tiles import TiledLevel, decode_tile

_CACHE_BYTES = 48_000_000


class RawTilesBackend:
    """A slide whose tiles are JPEG streams at known places of its files.

    Metadata and the associated images it does not index itself come from ``reference``.
    """

    name = "raw-jpeg"
    kind: Literal["slide", "field"] = "slide"

    def __init__(
        self,
        path: Path,
        tiled: Sequence[TiledLevel],
        facts: FileFacts,
        reference: SlideBackend | None = None,
        associated: Mapping[str, TiledLevel] | None = None,
    ) -> None:
        """Open the files that hold the tiles.

        Raises:
            SlideOpenError: a file cannot be opened, or ends before its last tile.
        """
        self._path = path
        self._tiled = tuple(tiled)
        self._reference = reference
        self._associated = dict(associated or {})
        self._cache = _TileCache(_CACHE_BYTES)
        self.levels = tuple(at.level for at in tiled)
        self.facts = facts
        self._handles: dict[Path, int] = {}
        try:
            for at in (*self._tiled, *self._associated.values()):
                self._open(at)
        except BaseException:
            self.close()
            raise

    def read_level(self, level: int, x_px: int, y_px: int, w_px: int, h_px: int) -> Image:
        """Read ``(h_px, w_px, 3)`` at ``(x_px, y_px)`` in the level's own pixels; white outside.

        Raises:
            SlideReadError: a tile is damaged; the message names it.
        """
        at = self._tiled[level]
        if self._is_one_tile(at, x_px, y_px, w_px, h_px):
            tile = self._read_tile(at, level, x_px // w_px, y_px // h_px)
            return blank(w_px, h_px) if tile is None else tile
        inside = x_px >= 0 and y_px >= 0
        inside &= x_px + w_px <= at.level.width_px and y_px + h_px <= at.level.height_px
        region = np.empty((h_px, w_px, 3), np.uint8) if inside else blank(w_px, h_px)
        for column, row in _tiles_under(at, x_px, y_px, w_px, h_px):
            self._paste(region, (x_px, y_px), at, level, (column, row))
        return region

    def _paste(
        self,
        region: Image,
        origin_px: tuple[int, int],
        at: TiledLevel,
        level: int,
        place: tuple[int, int],
    ) -> None:
        """Copy into the region at ``origin_px`` its part of the tile at ``(column, row)``."""
        left, top = place[0] * at.tile_width_px, place[1] * at.tile_height_px
        right = min(left + at.tile_width_px, at.level.width_px)
        bottom = min(top + at.tile_height_px, at.level.height_px)
        x_low, x_high = max(left, origin_px[0]), min(right, origin_px[0] + region.shape[1])
        y_low, y_high = max(top, origin_px[1]), min(bottom, origin_px[1] + region.shape[0])
        part = (x_high - x_low, y_high - y_low) != (at.tile_width_px, at.tile_height_px)
        tile = self._cached_tile(at, level, *place, keep=part)
        into = region[
            y_low - origin_px[1] : y_high - origin_px[1],
            x_low - origin_px[0] : x_high - origin_px[0],
        ]
        if tile is None:
            into[:] = WHITE
        else:
            into[:] = tile[y_low - top : y_high - top, x_low - left : x_high - left]

    def associated_names(self) -> tuple[str, ...]:
        """Names of the label, macro, thumbnail … that the file carries."""
        others = () if self._reference is None else self._reference.associated_names()
        return tuple(sorted({*self._associated, *others}))

    def read_associated(self, name: str) -> Image:
        """Read one associated image, uint8 (H, W, 3).

        Raises:
            SlideReadError: it cannot be decoded.
        """
        at = self._associated.get(name)
        if at is None:
            assert self._reference is not None  # only then does the name exist
            return self._reference.read_associated(name)
        region = blank(at.columns * at.tile_width_px, at.rows * at.tile_height_px)
        for column, row in _tiles_under(at, 0, 0, at.level.width_px, at.level.height_px):
            tile = self._read_tile(at, name, column, row)
            left, top = column * at.tile_width_px, row * at.tile_height_px
            if tile is not None:
                region[top : top + at.tile_height_px, left : left + at.tile_width_px] = tile
        return region[: at.level.height_px, : at.level.width_px]

    def close(self) -> None:
        """Let go of the files."""
        for handle in self._handles.values():
            os.close(handle)
        self._handles.clear()
        self._cache.clear()
        if self._reference is not None:
            self._reference.close()

    def _open(self, at: TiledLevel) -> None:
        """Open a level's file, and see that all its tiles lie inside."""
        try:
            if at.file not in self._handles:
                self._handles[at.file] = os.open(at.file, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            size = os.fstat(self._handles[at.file]).st_size
        except OSError as error:
            raise SlideOpenError(
                f"{at.file} cannot be opened: {error.strerror}. A readable file is needed. "
                "Check its permissions."
            ) from error
        end = int((at.offsets + at.lengths).max(initial=0))
        if end > size:
            raise SlideOpenError(
                f"{at.file} is cut short: its tiles reach to byte {end}, the file has {size}. "
                "A whole file is needed. Copy it again."
            )

    @staticmethod
    def _is_one_tile(at: TiledLevel, x_px: int, y_px: int, w_px: int, h_px: int) -> bool:
        """True where the region is exactly one tile that lies wholly inside the level."""
        return (
            (w_px, h_px) == (at.tile_width_px, at.tile_height_px)
            and x_px % w_px == 0 <= x_px <= at.level.width_px - w_px
            and y_px % h_px == 0 <= y_px <= at.level.height_px - h_px
        )

    def _cached_tile(
        self, at: TiledLevel, level: int, column: int, row: int, *, keep: bool
    ) -> Image | None:
        """One tile; ``keep`` those of which a neighbouring region will want the rest."""
        key = (level, column, row)
        tile = self._cache.get(key)
        if tile is None:
            tile = self._read_tile(at, level, column, row)
            if keep and tile is not None:
                self._cache.put(key, tile)
        return tile

    def _read_tile(self, at: TiledLevel, level: int | str, column: int, row: int) -> Image | None:
        """Decode one tile, (tile_height_px, tile_width_px, 3), or None where the file has none."""
        index = row * at.columns + column
        offset, length = int(at.offsets[index]), int(at.lengths[index])
        if length == 0:
            return None
        try:
            data = os.pread(self._handles[at.file], length, offset)
            return decode_tile(data, at)
        except KeyError as error:
            raise SlideReadError(f"{self._path} is closed. Read inside its with block.") from error
        except (OSError, ValueError) as error:
            raise SlideReadError(
                f"{self._path}: the tile in column {column}, row {row} of level {level} (byte "
                f"{offset}) is damaged: {str(error).rstrip('.')}. Every tile must decode. "
                "Copy or export the slide again."
            ) from error


class _TileCache:
    """The decoded tiles used last, up to a number of bytes; the lock is held for a look-up only."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._tiles: OrderedDict[tuple[int, int, int], Image] = OrderedDict()
        self._lock = Lock()

    def get(self, key: tuple[int, int, int]) -> Image | None:
        with self._lock:
            tile = self._tiles.get(key)
            if tile is not None:
                self._tiles.move_to_end(key)
            return tile

    def put(self, key: tuple[int, int, int], tile: Image) -> None:
        with self._lock:
            if key not in self._tiles:
                self._bytes += tile.nbytes
            self._tiles[key] = tile
            while self._bytes > self._limit_bytes:
                self._bytes -= self._tiles.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        with self._lock:
            self._tiles.clear()
            self._bytes = 0


def _tiles_under(
    at: TiledLevel, x_px: int, y_px: int, w_px: int, h_px: int
) -> Iterator[tuple[int, int]]:
    """``(column, row)`` of each tile that a region of the level touches."""
    x_low, x_high = overlap(x_px, w_px, at.level.width_px)
    y_low, y_high = overlap(y_px, h_px, at.level.height_px)
    if x_low == x_high or y_low == y_high:
        return
    for row in range(y_low // at.tile_height_px, (y_high - 1) // at.tile_height_px + 1):
        for column in range(x_low // at.tile_width_px, (x_high - 1) // at.tile_width_px + 1):
            yield column, row
