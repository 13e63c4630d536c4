"""CSV files as people send them back: UTF-8 with or without mark, commas or semicolons."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from koilo.errors import ManifestError
from koilo.files import write_text

V = TypeVar("V")

_SHOWN = 8


class Problems:
    """What is wrong with a file, gathered so that all of it is said in one line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: list[str] = []

    def read(self, row: int, column: str, text: str, reader: Callable[[str], V]) -> V | None:
        """The value of a field; None, and a problem naming row and column, where it is wrong."""
        try:
            return reader(text)
        except ValueError as error:
            self.add(row, f"{column}: {error}")
            return None

    def add(self, row: int, text: str) -> None:
        """A problem of one row (the header is row 1)."""
        self.found.append(f"row {row}, {text}")

    def refuse(self) -> None:
        """Raise where anything was found.

        Raises:
            ManifestError: the first problems, and how many more there are.
        """
        if self.found:
            n_more = len(self.found) - _SHOWN
            more = f"; and {n_more} more" if n_more > 0 else ""
            raise ManifestError(
                f"{self.path}: {'; '.join(self.found[:_SHOWN])}{more}. Mend the file."
            )


def read_sheet(path: Path, required: Sequence[str], what: str) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV with their numbers (the header is row 1), values stripped.

    Empty lines are passed over, and so are columns that nobody asks for.

    Args:
        path: the file; where Excel wrote semicolons, they part the fields.
        required: columns that must be there.
        what: the kind of file, for the message.

    Raises:
        ManifestError: the file cannot be read, or lacks a column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(
            f"{path} cannot be read as {what} ({error}). A UTF-8 CSV with {', '.join(required)} is "
            "needed. Check the file."
        ) from error
    header = text.partition("\n")[0]
    delimiter = ";" if header.count(";") > header.count(",") else ","
    rows = csv.DictReader(io.StringIO(text), delimiter=delimiter)
    missing = [name for name in required if name not in (rows.fieldnames or ())]
    if missing:
        raise ManifestError(
            f"{path} has no column {', '.join(missing)}. {what[:1].upper()}{what[1:]} has "
            f"{', '.join(required)}. Add what is missing."
        )
    found = []
    for row in rows:
        values = {name: (value or "").strip() for name, value in row.items() if name is not None}
        if any(values.values()):
            found.append((rows.line_num, values))
    return found


def write_sheet(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as UTF-8 CSV; None and what a row lacks become empty fields."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(["" if row.get(name) is None else row[name] for name in columns])
    write_text(path, buffer.getvalue())
