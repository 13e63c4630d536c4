"""Read GeoJSON one feature at a time, plain or gzipped: a million cells take no more than one."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, TextIO

from koilo.errors import ManifestError

Feature = Mapping[str, Any]
Extent = tuple[float, float, float, float]
"""x0, y0, x1, y1 of an object; a point's has no area."""

_CHUNK = 1 << 20
_LONGEST = 1 << 26
"""Characters of one feature, or of one value beside the features; more is no cell."""


def read_features(path: Path) -> Iterator[Feature]:
    """Yield the features of a collection, of a list of features, or the one feature of a file.

    Only the feature at hand is held in memory. What stands before a fault has been yielded by then.

    Raises:
        ManifestError: the file cannot be read, is cut short, or holds something else.
    """
    try:
        opened: Any = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8-sig") as handle:
            yield from _features(_JsonText(handle))
    except (OSError, EOFError, ValueError, zlib.error, RecursionError) as error:
        raise ManifestError(
            f"{path} is not QuPath's GeoJSON ({type(error).__name__}: {error}). A collection or "
            "list of features is expected. Export it again from QuPath."
        ) from error


def extents(geometry: Any) -> tuple[Extent, ...]:
    """The place of each object of a geometry: one, but for several points.

    A hole lies within its polygon and changes nothing; the parts of a multipolygon are one object.

    >>> extents({"type": "MultiPoint", "coordinates": [[1, 2], [3, 4]]})
    ((1.0, 2.0, 1.0, 2.0), (3.0, 4.0, 3.0, 4.0))

    Raises:
        ValueError: it is no polygon or point, or holds what are no coordinates.
    """
    kind = geometry.get("type") if isinstance(geometry, Mapping) else None
    try:
        if kind == "Point":
            return (_extent([geometry["coordinates"]]),)
        if kind == "MultiPoint":
            return tuple(_extent([point]) for point in geometry["coordinates"])
        if kind == "Polygon":
            return (_area(geometry["coordinates"][0]),)
        if kind == "MultiPolygon":
            return (_area([point for part in geometry["coordinates"] for point in part[0]]),)
    except (LookupError, TypeError, OverflowError):
        raise ValueError(f"a {kind} without coordinates") from None
    raise ValueError(f"a {kind}" if isinstance(kind, str) else "no geometry")


def _area(ring: list[Any]) -> Extent:
    """The extent of a ring that encloses something."""
    x0, y0, x1, y1 = _extent(ring)
    if x1 <= x0 or y1 <= y0:
        raise ValueError("a polygon without area")
    return x0, y0, x1, y1


def _extent(points: list[Any]) -> Extent:
    xs, ys = [float(point[0]) for point in points], [float(point[1]) for point in points]
    if not xs or not all(map(math.isfinite, (*xs, *ys))):
        raise ValueError("coordinates that are no finite numbers")
    return min(xs), min(ys), max(xs), max(ys)


def _features(text: _JsonText) -> Iterator[Feature]:
    if text.peek() == "[":
        yield from _checked(text.items())
    else:
        rest: dict[str, Any] = {}
        n_lists = 0
        for key in text.names():
            if key == "features" and text.peek() == "[":
                n_lists += 1
                yield from _checked(text.items())
            else:
                rest[key] = text.value()
        if not n_lists:
            yield from _checked(iter([rest]))
    if text.peek():
        raise ValueError("something follows its end")


def _checked(values: Iterator[Any]) -> Iterator[Feature]:
    for number, value in enumerate(values, start=1):
        if not isinstance(value, Mapping) or value.get("type") != "Feature":
            raise ValueError(f"object {number} is no feature")
        yield value


class _JsonText:
    """A cursor in a JSON text that is read piece by piece, as far as the next value needs it."""

    def __init__(self, handle: TextIO) -> None:
        self._handle = handle
        self._text = ""
        self._at = 0
        self._decoder = json.JSONDecoder(parse_constant=_no_number)

    def peek(self) -> str:
        """The next character that is no space, not taken; empty at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in " \t\r\n":
                    return self._text[self._at]
                self._at += 1
            if not self._read_on():
                return ""

    def items(self) -> Iterator[Any]:
        """The values of the list that begins here, one by one."""
        self._take("[")
        while self.peek() != "]":
            yield self.value()
            if self.peek() != "]":
                self._take(",")
        self._take("]")

    def names(self) -> Iterator[str]:
        """The names of the object that begins here; the caller takes the value after each."""
        self._take("{")
        while self.peek() != "}":
            key = self.value()
            if not isinstance(key, str):
                raise ValueError("a key is no text")
            self._take(":")
            yield key
            if self.peek() != "}":
                self._take(",")
        self._take("}")

    def value(self) -> Any:
        """Take the value that begins here, whole."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                if not self._read_on():
                    raise
                continue
            if end == len(self._text) and self._read_on():
                continue  # a number may go on in the next piece
            self._at = end
            return value

    def _take(self, character: str) -> None:
        found = self.peek()
        if found != character:
            raise ValueError(f"{character!r} expected, {found!r} found" if found else "cut short")
        self._at += 1

    def _read_on(self) -> bool:
        """Read a piece more, at least as long as what is held; False at the end of the file."""
        held = self._text[self._at :]
        if len(held) > _LONGEST:
            raise ValueError(f"one value is over {_LONGEST >> 20} million characters long, or cut")
        piece = self._handle.read(max(_CHUNK, len(held)))
        self._text, self._at = held + piece, 0
        return bool(piece)


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")
