"""Choose the reader for a path by what the file is, not by its name."""

from __future__ import annotations

from pathlib import Path

from koilo.errors import SlideOpenError
from koilo.slides.backend import SlideBackend
from koilo.slides.openslide_backend import OpenSlideBackend
from koilo.slides.plain_image import PlainImageBackend

_PLAIN_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM")


def open_backend(path: Path) -> SlideBackend:
    """Open ``path`` with the fastest reader that reads it right.

    Raises:
        SlideOpenError: missing, empty, damaged, or of no format known here.
    """
    head = _head(path)
    if head.startswith(_PLAIN_MAGIC) and path.suffix.lower() != ".mrxs":  # MRXS begins as a JPEG
        return PlainImageBackend(path)
    return OpenSlideBackend(path)


def _head(path: Path) -> bytes:
    try:
        with open(path, "rb") as handle:
            head = handle.read(256)
    except OSError as error:
        raise SlideOpenError(
            f"{path} cannot be opened: {error.strerror}. A readable file or DICOM folder is "
            "needed. Check the path and its permissions."
        ) from error
    if not head:
        raise SlideOpenError(f"{path} is empty (0 bytes). A whole file is needed. Copy it again.")
    return head
