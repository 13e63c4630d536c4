"""Atomic writes, hashes, locks, rows of a CSV: a file with its final name is whole."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from koilo.errors import OutputError

_CHUNK = 1 << 20


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses while ``path`` is written into one clear line.

    Raises:
        OutputError: the disk is full or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise _output_error(path, error) from error


def remove_file(path: Path) -> None:
    """Remove a file of ours where there is one.

    Raises:
        OutputError: it, or its folder, is something else or cannot be changed.
    """
    with output_errors(path):
        path.unlink(missing_ok=True)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on a clean exit flush it to disk and rename it.

    The writer must have closed the file before the block ends. On an error nothing of the final
    name appears or changes and the temporary file is removed.

    Raises:
        OutputError: the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            with open(temporary, "rb+") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically, UTF-8 without a byte-order mark."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON atomically; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def ensure_folder(path: Path) -> Path:
    """Make a folder (and its parents) to write into and prove that it can be written.

    Raises:
        OutputError: a file stands in its place, or it cannot be made or written.
    """
    with output_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".koilo-probe-{os.getpid()}"
        try:
            probe.write_bytes(b"koilo")
        finally:
            probe.unlink(missing_ok=True)
    return path


def read_csv_rows(path: Path) -> tuple[tuple[str, ...], list[dict[str, str]]]:
    """Columns and rows of a UTF-8 CSV, with or without a byte-order mark; blank lines count not.

    A field that a short row lacks is empty.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not UTF-8, not parted by commas, a quote is never closed, or a row has
            more fields than the header: what such a row says would stand in the wrong columns.
    """
    reader = csv.DictReader(
        io.StringIO(path.read_text(encoding="utf-8-sig")), restval="", strict=True
    )
    try:
        columns = tuple(reader.fieldnames or ())
        rows = []
        for row in reader:
            if any(map(str.strip, row.pop(None, ()))):
                raise ValueError(
                    f"line {reader.line_num} has more fields than the header; a text with commas "
                    "stands in double quotes"
                )
            rows.append(row)
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}; a quote may not be closed") from error
    if len(columns) == 1 and ";" in columns[0]:
        raise ValueError("its columns are parted by ; and not by commas")
    return columns, rows


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a whole file, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while chunk := handle.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_text(text: str) -> str:
    """Hex SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


@contextmanager
def folder_lock(folder: Path, name: str = ".koilo.lock") -> Iterator[None]:
    """Hold ``folder`` for this process; the lock goes with the process, also after kill -9.

    Raises:
        OutputError: another process holds it.
    """
    import fcntl

    path = folder / name
    with output_errors(path):
        handle = open(path, "a+")  # noqa: SIM115  closed below, after the lock is released
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"{folder} is in use by another koilo run. One run at a time may write there. "
                "Wait for it to end, or choose another --out."
            ) from error
        yield
    finally:
        handle.close()


def _output_error(path: Path, error: OSError) -> OutputError:
    reasons = {
        errno.ENOSPC: "the disk is full. Free some space",
        errno.EFBIG: "the file would exceed the size this process may write. Raise the limit",
        errno.EROFS: "the file system is read-only. Choose another folder",
        errno.EACCES: "permission is denied. Choose a folder you may write to",
        errno.EEXIST: "a file stands where a folder is needed. Move it or choose another folder",
        errno.ENOTDIR: "a file stands where a folder is needed. Move it or choose another folder",
    }
    reason = reasons.get(error.errno or 0, f"{error.strerror or error}. Check the folder")
    return OutputError(f"Cannot write {path}: {reason} and run the same command again.")
