"""Know a slide file again: by size, time and a hash of its head, tail and index."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

import tifffile

from koilo.errors import SlideOpenError

_PIECE_BYTES = 1 << 20


def identity(path: Path | str) -> str:
    """Hex SHA-256 of what makes a slide file this one; a changed file gets another.

    Taken over each file's size, modification time, first and last megabyte, and for a TIFF
    the place and length of its tiles. A slide of several files (a DICOM folder, an MRXS with its
    data folder) is taken as a whole. Reading a gigabyte slide takes milliseconds.

    Raises:
        SlideOpenError: the slide is missing or cannot be read.
    """
    digest = hashlib.sha256(b"koilo slide identity 1")
    try:
        for part in _parts(Path(path)):
            status = part.stat()
            digest.update(f"|{status.st_size}|{status.st_mtime_ns}|".encode())
            with open(part, "rb") as handle:
                _hash_pieces(digest, handle, status.st_size)
            _hash_tiff_index(digest, part)
    except OSError as error:
        raise SlideOpenError(
            f"{path} cannot be read: {error.strerror}. A readable file or folder is needed. "
            "Check the path and its permissions."
        ) from error
    return digest.hexdigest()


def _parts(path: Path) -> list[Path]:
    """All files of a slide, in a fixed order."""
    if path.is_dir():
        return sorted(at for at in path.rglob("*") if at.is_file())
    if path.suffix.lower() == ".dcm":
        return sorted(at for at in path.parent.iterdir() if at.suffix.lower() == ".dcm")
    beside = path.with_suffix("")  # MIRAX: data lie in a folder of the slide's name
    if path.suffix.lower() == ".mrxs" and beside.is_dir():
        return [path, *sorted(at for at in beside.rglob("*") if at.is_file())]
    return [path]


def _hash_pieces(digest: hashlib._Hash, handle: BinaryIO, size: int) -> None:
    digest.update(handle.read(_PIECE_BYTES))
    if size > _PIECE_BYTES:
        handle.seek(max(_PIECE_BYTES, size - _PIECE_BYTES), os.SEEK_SET)
        digest.update(handle.read(_PIECE_BYTES))


def _hash_tiff_index(digest: hashlib._Hash, path: Path) -> None:
    """Where every tile lies: it lies in the middle of some files, out of reach of head and tail."""
    with open(path, "rb") as handle:
        if handle.read(2) not in (b"II", b"MM"):
            return
    try:
        with tifffile.TiffFile(path) as tiff:
            for page in tiff.pages:
                digest.update(repr((page.shape, page.dataoffsets, page.databytecounts)).encode())
    except OSError:
        raise
    except Exception:  # a damaged directory: head and tail stand for it
        digest.update(b"no index")
