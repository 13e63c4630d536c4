"""Write an SVS or tiled TIFF anew with its pyramid alone: known tags, tiles byte for byte."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import tifffile

from koilo.errors import SlideOpenError
from koilo.files import atomic_path
from koilo.slides.jpeg_comments import without_comments

_KEPT = {
    *(254, 256, 257, 258, 259, 262, 266, 274, 277, 282, 283, 284, 296, 317, 322, 323, 338, 339),
    *(529, 530, 531, 532),
}
"""Tags of numbers that say how the tiles are to be read; none of them holds a text."""
_DESCRIPTION, _OFFSETS, _LENGTHS, _JPEG_TABLES = 270, 324, 325, 347
_ASCII, _LONG, _UNDEFINED, _LONG8 = 2, 4, 7, 16
_JPEG_LIKE = {7, 33003, 33004, 33005, 34712}
_NUMBERS = ("AppMag", "MPP", "OriginalWidth", "OriginalHeight", "Left", "Top")
"""Entries of Aperio's description that are numbers of the image and not of a person or machine."""
_SAME_SHAPE = 0.05
_LEVELS = (0, 1)
"""Values of NewSubfileType that a level may have; Aperio's macro has 9."""


def copy_tiff(path: Path, out: Path, kind: str) -> tuple[str, ...]:
    """Copy the levels of ``path``; gives what was left out.

    Raises:
        SlideOpenError: it is damaged, not tiled, or an OME-TIFF.
        OutputError: ``out`` cannot be written.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            pages = list(tiff.pages)
            levels = _levels(path, pages)
            with atomic_path(out) as temporary, open(temporary, "wb") as handle:
                writer = _Writer(handle, tiff.byteorder, tiff.is_bigtiff)
                for page in levels:
                    writer.add(page, _description(page, kind))
            return _left_out(pages, levels)
    except (tifffile.TiffFileError, struct.error, ValueError, IndexError, KeyError) as error:
        raise SlideOpenError(
            f"{path} cannot be copied: its directories are damaged ({error}). A whole TIFF is "
            "needed. Copy or export the slide again."
        ) from error


def _levels(path: Path, pages: list[Any]) -> list[Any]:
    """The pages of the pyramid: tiled and of the first one's shape."""
    first = pages[0]
    if not first.is_tiled:
        raise SlideOpenError(
            f"{path} is not tiled. SVS, plain tiled TIFF and DICOM series can be de-identified. "
            "Convert it to one of these first."
        )
    if first.is_ome or str(first.description).lstrip().startswith("<"):
        raise SlideOpenError(
            f"{path} describes itself in XML (OME or a vendor's). SVS, plain tiled TIFF and DICOM "
            "series can be de-identified. Convert it to one of these first."
        )
    shape = first.imagewidth / first.imagelength
    return [
        page
        for page in pages
        if page.is_tiled
        and int(page.subfiletype) in _LEVELS
        and page.imagewidth <= first.imagewidth
        and abs(page.imagewidth / page.imagelength / shape - 1) < _SAME_SHAPE
        and not re.search(r"label|macro", str(page.description), re.IGNORECASE)
    ]


def _description(page: Any, kind: str) -> str:
    """A new description: Aperio's numbers, koilo's mark of a made slide, or nothing."""
    text = str(page.description)
    if kind == "aperio":
        size = f"{page.imagewidth}x{page.imagelength} ({page.tilewidth}x{page.tilelength})"
        found = re.findall(r"\|\s*(\w+)\s*=\s*(\d+(?:\.\d+)?)\s*(?=\||$)", text)
        kept = [f"|{name} = {value}" for name, value in found if name in _NUMBERS]
        return f"Aperio Image Library\r\n{size}{''.join(kept)}"
    try:
        synthetic = json.loads(text)["synthetic"]
    except (ValueError, KeyError, TypeError):
        return ""
    return json.dumps({"synthetic": synthetic}) if synthetic in ("phantom", "composed") else ""


def _left_out(pages: list[Any], levels: list[Any]) -> tuple[str, ...]:
    kept = {page.index for page in levels}
    images = [
        f"an image of {page.imagewidth} x {page.imagelength} pixels (label, macro or thumbnail)"
        for page in pages
        if page.index not in kept
    ]
    known = {*_KEPT, _OFFSETS, _LENGTHS, _JPEG_TABLES}
    tags = sorted({int(tag.code) for page in levels for tag in page.tags} - known)
    return (*images, *([f"tags {', '.join(map(str, tags))}"] if tags else []))


@dataclass
class _Writer:
    """Writes tiles first and then their directory, page by page, in the source's byte order."""

    handle: BinaryIO
    order: str
    big: bool
    copied: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    """(offset, length) in the source -> in the copy: tiles may be shared"""
    link_at: int = 0

    def __post_init__(self) -> None:
        mark = b"II" if self.order == "<" else b"MM"
        numbers = (43, 8, 0, 0) if self.big else (42, 0)
        self.handle.write(mark + struct.pack(self.order + ("HHHQ" if self.big else "HI"), *numbers))
        self.link_at = 8 if self.big else 4

    def add(self, page: Any, description: str) -> None:
        """Copy one page's tiles, then write its directory and link it."""
        source = page.parent.filehandle
        clean = int(page.compression) in _JPEG_LIKE
        places = [
            self._tile(source, offset, length, clean)
            for offset, length in zip(page.dataoffsets, page.databytecounts, strict=True)
        ]
        entries = [*self._kept(page, source)]
        if description:
            entries.append((_DESCRIPTION, _ASCII, description.encode("ascii") + b"\0"))
        kind = _LONG8 if self.big else _LONG
        for tag, values in ((_OFFSETS, [p[0] for p in places]), (_LENGTHS, [p[1] for p in places])):
            layout = f"{self.order}{len(values)}{'Q' if self.big else 'I'}"
            entries.append((tag, kind, struct.pack(layout, *values)))
        self._directory(sorted(entries))

    def _tile(self, source: Any, offset: int, length: int, clean: bool) -> tuple[int, int]:
        if length == 0:
            return 0, 0
        if (offset, length) not in self.copied:
            source.seek(offset)
            data = source.read(length)
            data = without_comments(data) if clean else data
            self.copied[offset, length] = self._append(data), len(data)
        return self.copied[offset, length]

    def _kept(self, page: Any, source: Any) -> Iterator[tuple[int, int, bytes]]:
        """Tag, type and raw value of every tag that is known to be harmless."""
        for tag in page.tags:
            is_number = tag.code in _KEPT and int(tag.dtype) not in (_ASCII, _UNDEFINED)
            if is_number or tag.code == _JPEG_TABLES:
                source.seek(tag.valueoffset)
                value = source.read(tag.count * _ITEM_BYTES[int(tag.dtype)])
                if tag.code == _JPEG_TABLES:
                    value = without_comments(value)
                yield int(tag.code), int(tag.dtype), value

    def _directory(self, entries: list[tuple[int, int, bytes]]) -> None:
        inline = 8 if self.big else 4
        body = struct.pack(self.order + ("Q" if self.big else "H"), len(entries))
        for tag, kind, value in entries:
            count = len(value) // _ITEM_BYTES[kind]
            if len(value) > inline:
                value = self._pointer(self._append(value))
            head = struct.pack(self.order + ("HHQ" if self.big else "HHI"), tag, kind, count)
            body += head + value.ljust(inline, b"\0")
        at = self._append(body + self._pointer(0))
        self.handle.seek(self.link_at)
        self.handle.write(self._pointer(at))
        self.link_at = at + len(body)

    def _append(self, data: bytes) -> int:
        """Write at an even place at the end: that place."""
        at = self.handle.seek(0, 2)
        if at % 2:
            self.handle.write(b"\0")
            at += 1
        self.handle.write(data)
        if not self.big and at + len(data) >= 1 << 32:
            raise ValueError("the copy would exceed the 4 GB of a classic TIFF")
        return at

    def _pointer(self, at: int) -> bytes:
        return struct.pack(self.order + ("Q" if self.big else "I"), at)


_ITEM_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8,
               13: 4, 16: 8, 17: 8, 18: 8}  # fmt: skip
"""Bytes of one value of each of TIFF's types."""
