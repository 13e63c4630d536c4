"""Decode the JPEG tiles of slide files in their right colours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from koilo.slides.backend import Image, Level

Colour = Literal["RGB", "YCbCr"]

_SOI = b"\xff\xd8"
_EOI = b"\xff\xd9"
_ADOBE = {
    "RGB": b"\xff\xee\x00\x0eAdobe\x00\x65\x00\x00\x00\x00\x00",
    "YCbCr": b"\xff\xee\x00\x0eAdobe\x00\x65\x00\x00\x00\x00\x01",
}
_APP0, _APP14 = b"\xff\xe0", b"\xff\xee"


@dataclass(frozen=True)
class TiledLevel:
    """Where the JPEG tiles of one level lie in their file.

    ``offsets`` and ``lengths`` have one entry a tile, row by row; a length of 0 is a missing tile.
    ``tables`` are JPEG tables that all tiles share, without start and end markers. ``colour`` is
    what the *container's* tag says; a stream's own JFIF or Adobe marker outranks it, since it was
    written by the encoder, and tags are what converters get wrong.
    """

    level: Level
    file: Path
    tile_width_px: int
    tile_height_px: int
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    colour: Colour
    tables: bytes = b""

    @property
    def columns(self) -> int:
        """Tiles side by side."""
        return -(-self.level.width_px // self.tile_width_px)

    @property
    def rows(self) -> int:
        """Tiles one below the other."""
        return -(-self.level.height_px // self.tile_height_px)


def shared_tables(stream: bytes | None) -> bytes:
    """The tables of an abbreviated "tables only" stream, without its start and end markers."""
    if not stream:
        return b""
    return stream.removeprefix(_SOI).removesuffix(_EOI)


def complete_stream(data: bytes, tables: bytes, colour: Colour) -> bytes:
    """Make a tile's (perhaps abbreviated) stream whole: shared tables in, colour named.

    libjpeg guesses the colour of a stream that has neither JFIF nor Adobe marker; the container's
    tag knows it, so an Adobe marker is put in front where the stream has none of its own.
    """
    own = data[2:4] in (_APP0, _APP14) or b"Adobe\0" in tables or b"JFIF\0" in tables
    if own and not tables:
        return data
    return b"".join((_SOI, b"" if own else _ADOBE[colour], tables, data[2:]))


def stream_colour(data: bytes, tables: bytes, tag: Colour) -> Colour:
    """The colour space a tile is truly in, given what its container's tag says.

    A stream whose chroma is subsampled is YCbCr even where nothing but the tag speaks: nobody
    subsamples green and blue.

    Raises:
        ValueError: it is no JPEG stream.
    """
    _, _, space, subsampling = simplejpeg.decode_jpeg_header(complete_stream(data, tables, tag))
    if space == "RGB" and subsampling not in ("444", ""):
        return "YCbCr"
    return "RGB" if space == "RGB" else "YCbCr"


def decode_tile(data: bytes, at: TiledLevel) -> Image:
    """Decode one whole tile, uint8 (tile_height_px, tile_width_px, 3).

    Raises:
        ValueError: the stream is damaged, however slightly, or of another size than its tile.
    """
    if not data.startswith(_SOI):
        raise ValueError("it does not begin as a JPEG")
    stream = complete_stream(data, at.tables, at.colour)
    pixels: Image = simplejpeg.decode_jpeg(stream, colorspace="RGB")
    if pixels.shape != (at.tile_height_px, at.tile_width_px, 3):
        raise ValueError(f"it decodes to {pixels.shape[1]} x {pixels.shape[0]} pixels")
    return pixels
