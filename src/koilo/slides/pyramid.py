"""Write a slide as a pyramidal JPEG TIFF in one stream, in bounded memory.

Each tile of level 0 is asked for once, encoded, and shrunk into the level above; a level's row of
tiles is written as soon as it is whole. Only one row of tiles a level is ever held, and blank tiles
are not held at all: one encoded blank serves them all.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg

from koilo.files import atomic_path
from koilo.slides.backend import Image
from koilo.slides.tiff_writer import TiffLevel, TiffTileWriter

TileProvider = Callable[[int, int, int, int], Image | None]
"""``(x_px0, y_px0, w_px, h_px)`` -> uint8 RGB (h_px, w_px, 3), or None where there is only glass.

It is called from several threads at once, once a tile, in rows from the top."""

_TILES_AHEAD = 4  # a thread: tiles in work or waiting to be written


def write_pyramid(  # noqa: PLR0913  one call describes a whole file
    path: Path,
    size: tuple[int, int],
    mpp: float | None,
    tile_provider: TileProvider,
    *,
    background_rgb: tuple[int, int, int] = (255, 255, 255),
    quality: int = 85,
    tile_px: int = 512,
    downsample: int = 2,
    description: Mapping[str, Any] | None = None,
    progress: Callable[[float], None] | None = None,
    threads: int | None = None,
) -> None:
    """Write ``path`` as a tiled JPEG TIFF with all its levels; it appears only once it is whole.

    The same pixels give the same bytes, however many threads work.

    Args:
        path: the file to write; BigTIFF is chosen where it could pass 4 GB.
        size: ``(width, height)`` of level 0 in pixels.
        mpp: µm per pixel of level 0, written as resolution tags; None writes none.
        tile_provider: gives the pixels of each level-0 tile, cropped at the slide's edge.
        background_rgb: colour of the tiles for which the provider gives None.
        quality: of the JPEG, 1 to 100; chroma is halved both ways.
        tile_px: side of the square tiles, a multiple of 16 and of ``downsample``.
        downsample: from each level to the next.
        description: written as JSON into ImageDescription; ``{"synthetic": "phantom"}`` or
            ``"composed"`` declares a made slide, and every reader here will say so.
        progress: called with the fraction done, 0 to 1, after each row of tiles.
        threads: how many encode (and call ``tile_provider``) at once; by default one a core.

    Raises:
        OutputError: the file cannot be written (disk full, no permission).
    """
    if min(size) < 1 or tile_px % 16 or tile_px % downsample or downsample < 2:
        raise ValueError(f"cannot tile {size} px by {tile_px} px and shrink by {downsample}")
    threads = threads or os.cpu_count() or 1
    text = json.dumps(dict(description or {}), ensure_ascii=True)
    levels = list(_levels(size, mpp, tile_px, downsample, text))
    encoder = _Encoder(tile_px, downsample, quality, background_rgb)
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        writer = TiffTileWriter(handle, levels, tile_px)
        with ThreadPoolExecutor(threads, thread_name_prefix="koilo-pyramid") as pool:
            stream = _Stream(writer, levels, encoder, pool, threads * _TILES_AHEAD)
            try:
                stream.write(tile_provider, progress)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        writer.finish()


def _levels(
    size: tuple[int, int], mpp: float | None, tile_px: int, downsample: int, text: str
) -> Iterator[TiffLevel]:
    """Every level down to the first that fits in one tile; a part of a pixel counts as one."""
    (width, height), factor = size, 1
    while True:
        at_mpp = None if mpp is None else mpp * factor
        yield TiffLevel(width, height, at_mpp, text if factor == 1 else "")
        if max(width, height) <= tile_px:
            return
        factor *= downsample
        width, height = -(-size[0] // factor), -(-size[1] // factor)


class _Encoder:
    """Turns a tile's pixels into JPEG bytes and into its part of the level above."""

    def __init__(
        self, tile_px: int, downsample: int, quality: int, background_rgb: tuple[int, int, int]
    ) -> None:
        self.tile_px = tile_px
        self.downsample = downsample
        self.background = np.asarray(background_rgb, dtype=np.uint8)
        self._quality = quality
        blank = np.empty((tile_px, tile_px, 3), dtype=np.uint8)
        blank[:] = self.background
        self.blank_jpeg = self._jpeg(blank)

    def encode(self, image: Image | None) -> tuple[bytes | None, Image | None]:
        """Encode one tile: ``(JPEG bytes, shrunk pixels)``, or ``(None, None)`` where blank."""
        if image is None:
            return None, None
        height, width = image.shape[:2]
        down, right = self.tile_px - height, self.tile_px - width
        if down or right:  # repeat the last pixels, so that no edge rings into the picture
            image = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REPLICATE)
        side = self.tile_px // self.downsample
        shrunk = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        keep = (slice(-(-height // self.downsample)), slice(-(-width // self.downsample)))
        return self._jpeg(image), shrunk[keep]

    def _jpeg(self, image: Image) -> bytes:
        pixels = np.ascontiguousarray(image)
        return bytes(
            simplejpeg.encode_jpeg(
                pixels, quality=self._quality, colorspace="RGB", colorsubsampling="420"
            )
        )


@dataclass
class _Stream:
    """The tiles on their way: level by level, one unfinished row of tiles each."""

    writer: TiffTileWriter
    levels: list[TiffLevel]
    encoder: _Encoder
    pool: ThreadPoolExecutor
    ahead: int
    pending: dict[int, dict[int, Image]] = field(default_factory=dict)
    """level -> column -> pixels so far of the tile in the level's unfinished row"""

    def write(self, provider: TileProvider, progress: Callable[[float], None] | None) -> None:
        """Write every level, asking the provider for level 0 row by row."""
        tile_px, level0 = self.encoder.tile_px, self.levels[0]
        rows = level0.rows(tile_px)
        for row in range(rows):
            y_px0 = row * tile_px
            height = min(tile_px, level0.height_px - y_px0)

            def ask(column: int, y_px0: int = y_px0, height: int = height) -> Image | None:
                width = min(tile_px, level0.width_px - column * tile_px)
                return _checked(provider(column * tile_px, y_px0, width, height), width, height)

            self._write_row(0, row, ask)
            if progress is not None:
                progress((row + 1) / rows)

    def _write_row(self, level: int, row: int, source: Callable[[int], Image | None]) -> None:
        """Encode one row of tiles in the pool, write it in order, pass it on to the next level."""
        waiting: deque[tuple[int, Future[tuple[bytes | None, Image | None]]]] = deque()
        for column in range(self.levels[level].columns(self.encoder.tile_px)):
            waiting.append((column, self.pool.submit(self._encode_at, source, column)))
            if len(waiting) > self.ahead:
                self._settle(level, row, *waiting.popleft())
        while waiting:
            self._settle(level, row, *waiting.popleft())
        if level + 1 < len(self.levels):
            self._finish_row(level, row)

    def _encode_at(
        self, source: Callable[[int], Image | None], column: int
    ) -> tuple[bytes | None, Image | None]:
        return self.encoder.encode(source(column))

    def _settle(
        self, level: int, row: int, column: int, work: Future[tuple[bytes | None, Image | None]]
    ) -> None:
        """Wait for one tile, write it, and hand its shrunk pixels to the level above."""
        data, shrunk = work.result()
        self.writer.add_tile(level, row, column, data or self.encoder.blank_jpeg, data is None)
        if shrunk is not None and level + 1 < len(self.levels):
            self._place(level + 1, row, column, shrunk)

    def _place(self, level: int, row: int, column: int, shrunk: Image) -> None:
        """Put a shrunk tile of the level below at its place in this level's unfinished row."""
        factor, tile_px = self.encoder.downsample, self.encoder.tile_px
        at_column, at_row = column // factor, row // factor
        tiles = self.pending.setdefault(level, {})
        if at_column not in tiles:
            width = min(tile_px, self.levels[level].width_px - at_column * tile_px)
            height = min(tile_px, self.levels[level].height_px - at_row * tile_px)
            tiles[at_column] = np.empty((height, width, 3), dtype=np.uint8)
            tiles[at_column][:] = self.encoder.background
        part = tile_px // factor
        left, top = (column % factor) * part, (row % factor) * part
        tiles[at_column][top : top + shrunk.shape[0], left : left + shrunk.shape[1]] = shrunk

    def _finish_row(self, level: int, row: int) -> None:
        """Write the next level's row where the one just written was its last part."""
        last = row == self.levels[level].rows(self.encoder.tile_px) - 1
        if last or (row + 1) % self.encoder.downsample == 0:
            tiles = self.pending.pop(level + 1, {})
            self._write_row(level + 1, row // self.encoder.downsample, tiles.get)


def _checked(image: Image | None, width: int, height: int) -> Image | None:
    if image is not None and (image.shape != (height, width, 3) or image.dtype != np.uint8):
        raise ValueError(
            f"a tile must be uint8 {(height, width, 3)}, not {image.dtype} {image.shape}"
        )
    return image
