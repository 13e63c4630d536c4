"""Write the bytes of a tiled JPEG TIFF: tiles in any order as they come, directories at the end."""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

import koilo

_SHORT, _LONG, _RATIONAL, _ASCII, _LONG8 = 3, 4, 5, 2, 16
_ITEM_BYTES = {_ASCII: 1, _SHORT: 2, _LONG: 4, _RATIONAL: 8, _LONG8: 8}
_BIG_FROM_PIXELS = 1_000_000_000  # below, all levels together stay under 4 GB


@dataclass(frozen=True, slots=True)
class TiffLevel:
    """One directory of the file: its size, pixel size (None: not written) and description."""

    width_px: int
    height_px: int
    mpp: float | None
    description: str = ""

    def columns(self, tile_px: int) -> int:
        """Tiles side by side."""
        return -(-self.width_px // tile_px)

    def rows(self, tile_px: int) -> int:
        """Tiles one below the other."""
        return -(-self.height_px // tile_px)


class TiffTileWriter:
    """Appends JPEG tiles to a file and, at the end, the directories that point at them."""

    def __init__(self, handle: BinaryIO, levels: list[TiffLevel], tile_px: int) -> None:
        self._handle = handle
        self._levels = levels
        self._tile_px = tile_px
        self._big = levels[0].width_px * levels[0].height_px >= _BIG_FROM_PIXELS
        counts = [level.columns(tile_px) * level.rows(tile_px) for level in levels]
        self._offsets = [array("Q", bytes(8 * count)) for count in counts]
        self._lengths = [array("Q", bytes(8 * count)) for count in counts]
        self._shared: tuple[int, int] | None = None
        self._position = self._write_header()

    def add_tile(self, level: int, row: int, column: int, data: bytes, shared: bool) -> None:
        """Write one tile; ``shared`` tiles all have the same ``data``, stored only once."""
        at = row * self._levels[level].columns(self._tile_px) + column
        if shared and self._shared is not None:
            offset, length = self._shared
        else:
            offset, length = self._append(data)
            if shared:
                self._shared = (offset, length)
        self._offsets[level][at] = offset
        self._lengths[level][at] = length

    def finish(self) -> None:
        """Write the directories and link them; the file is whole afterwards."""
        link_at = 8 if self._big else 4
        for level in range(len(self._levels)):
            link_at = self._write_directory(level, link_at)
        self._handle.flush()

    def _write_header(self) -> int:
        header = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0) if self._big else b"II*\0\0\0\0\0"
        self._handle.write(header)
        return len(header)

    def _append(self, data: bytes) -> tuple[int, int]:
        """Write ``data`` at an even offset: ``(offset, length)``."""
        offset = self._position
        self._handle.write(data if len(data) % 2 == 0 else data + b"\0")
        self._position += len(data) + len(data) % 2
        return offset, len(data)

    def _write_directory(self, level: int, link_at: int) -> int:
        """Write one directory, link it from ``link_at``; gives the place of its own link."""
        inline = 8 if self._big else 4
        entries = []
        for tag, kind, count, payload in self._tags(level):
            if len(payload) > inline:
                payload = self._pointer(self._append(payload)[0])
            head = struct.pack("<HHQ" if self._big else "<HHI", tag, kind, count)
            entries.append(head + payload.ljust(inline, b"\0"))
        count_format = "<Q" if self._big else "<H"
        body = struct.pack(count_format, len(entries)) + b"".join(entries)
        offset, _ = self._append(body + self._pointer(0))
        self._handle.seek(link_at)
        self._handle.write(self._pointer(offset))
        self._handle.seek(self._position)
        return offset + len(body)

    def _pointer(self, offset: int) -> bytes:
        return struct.pack("<Q" if self._big else "<I", offset)

    def _tags(self, level: int) -> list[tuple[int, int, int, bytes]]:
        """``(tag, type, count, bytes)`` of one directory, sorted by tag."""
        at, big = self._levels[level], self._big
        unit, resolution = 1, struct.pack("<II", 1, 1)
        if at.mpp is not None:
            per_cm = Fraction(10_000 / at.mpp).limit_denominator(20_000)
            unit, resolution = 3, struct.pack("<II", per_cm.numerator, per_cm.denominator)
        wide = _LONG8 if big else _LONG
        software = f"koilo {koilo.__version__}".encode("ascii") + b"\0"
        text = at.description.encode("ascii") + b"\0"
        tags = [
            (254, _LONG, struct.pack("<I", int(level > 0))),
            (256, _LONG, struct.pack("<I", at.width_px)),
            (257, _LONG, struct.pack("<I", at.height_px)),
            (258, _SHORT, struct.pack("<HHH", 8, 8, 8)),
            (259, _SHORT, struct.pack("<H", 7)),  # JPEG
            (262, _SHORT, struct.pack("<H", 6)),  # YCbCr
            (270, _ASCII, text),
            (277, _SHORT, struct.pack("<H", 3)),
            (282, _RATIONAL, resolution),
            (283, _RATIONAL, resolution),
            (284, _SHORT, struct.pack("<H", 1)),
            (296, _SHORT, struct.pack("<H", unit)),
            (305, _ASCII, software),
            (322, _LONG, struct.pack("<I", self._tile_px)),
            (323, _LONG, struct.pack("<I", self._tile_px)),
            (324, wide, _packed(self._offsets[level], big)),
            (325, wide, _packed(self._lengths[level], big)),
            (530, _SHORT, struct.pack("<HH", 2, 2)),
        ]
        return [
            (tag, kind, len(payload) // _ITEM_BYTES[kind], payload)
            for tag, kind, payload in tags
            if tag != 270 or at.description
        ]


def _packed(values: array[int], big: bool) -> bytes:
    return struct.pack(f"<{len(values)}{'Q' if big else 'I'}", *values)
