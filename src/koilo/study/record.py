"""The trial record: one row a slide and reader, with all columns of STRIDE's Extended Data Table 1.

Nine columns are the paper's: sample (``slide_id``), group, first and second review, what the AI
said alone, gold standard, two panel readers, arbitration. The others are what a crossover of
several readers needs besides; a record may lack them, and then less can be said of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path

from koilo.errors import ManifestError
from koilo.study.sheets import Problems, read_sheet, write_sheet
from koilo.study.words import (
    AI,
    is_positive,
    read_ai_result,
    read_ai_use,
    read_call,
    read_day,
    read_group,
    read_seconds,
)

PAPER_COLUMNS = (
    *("slide_id", "group", "first_review", "second_review", "ai_result"),
    *("gold", "panel_1", "panel_2", "arbitration"),
)
_OF_SLIDE = ("hospital", "ai_result", "gold", "panel_1", "panel_2", "arbitration")
"""What must be the same in all rows of a slide."""

_READERS = {
    "group": read_group,
    "first_ai": read_ai_use,
    "second_ai": read_ai_use,
    "first_review": read_call,
    "second_review": read_call,
    "ai_result": read_ai_result,
    "gold": read_call,
    "panel_1": read_call,
    "panel_2": read_call,
    "arbitration": read_call,
    "first_on": read_day,
    "second_on": read_day,
    "first_seconds": read_seconds,
    "second_seconds": read_seconds,
}


@dataclass(frozen=True)
class Reading:
    """One reader's two reviews of one slide; a call is ``""`` where it is missing.

    Calls are Bethesda classes, several joined by ``+``; ``ai_result`` may be ``positive``.
    ``first_ai`` says whether the first review saw the AI's result, None where nobody says.
    """

    slide_id: str
    group: str
    first_review: str
    second_review: str
    ai_result: str
    gold: str
    panel_1: str = ""
    panel_2: str = ""
    arbitration: str = ""
    hospital: str = ""
    reader: str = ""
    first_ai: bool | None = None
    second_ai: bool | None = None
    first_on: date | None = None
    second_on: date | None = None
    first_seconds: float | None = None
    second_seconds: float | None = None

    @property
    def complete(self) -> bool:
        """Whether both reviews are there, so that they can be compared."""
        return bool(self.first_review and self.second_review)

    @property
    def truly_positive(self) -> bool:
        """Whether the gold standard is anything but NILM."""
        return is_positive(self.gold)

    @property
    def name(self) -> str:
        """The slide, and its reader where one is named."""
        return f"{self.slide_id} ({self.reader})" if self.reader else self.slide_id


COLUMNS = tuple(each.name for each in fields(Reading))


def read_record(path: Path) -> tuple[Reading, ...]:
    """Read and check a trial record.

    A gold standard that is empty is taken from arbitration, or from a panel that agrees.

    Raises:
        ManifestError: naming rows, columns and what is allowed, in one line.
    """
    problems = Problems(path)
    readings: list[tuple[int, Reading]] = []
    for number, values in read_sheet(path, PAPER_COLUMNS, "a trial record"):
        if reading := _reading(problems, number, values):
            readings.append((number, reading))
    _check_doubles(problems, readings)
    _check_slides(problems, readings)
    problems.refuse()
    found = tuple(reading for _, reading in readings)
    if not found:
        raise ManifestError(f"{path} holds no reading. One row a slide and reader is needed.")
    return found


def write_record(path: Path, readings: Iterable[Reading]) -> None:
    """Write a trial record that `read_record` reads back."""
    use = {flag: word for word, flag in AI.items()}
    rows = []
    for reading in readings:
        row = {name: getattr(reading, name) for name in COLUMNS}
        for name in ("first_ai", "second_ai"):
            row[name] = use.get(row[name])
        rows.append(row)
    write_sheet(path, COLUMNS, rows)


def gold_of(panel_1: str, panel_2: str, arbitration: str) -> str:
    """The panel's word: the arbitration, else what both said; empty where they differ.

    >>> gold_of("LSIL", "ASC-US", "ASC-US"), gold_of("LSIL", "LSIL", ""), gold_of("LSIL", "", "")
    ('ASC-US', 'LSIL', '')
    """
    return arbitration or (panel_1 if panel_1 == panel_2 else "")


def _reading(problems: Problems, number: int, values: dict[str, str]) -> Reading | None:
    """One row as a reading; None, with the problems noted, where a field is wrong."""
    n_before = len(problems.found)
    read = {
        name: problems.read(number, name, values[name], reader)
        for name, reader in _READERS.items()
        if name in values
    }
    if not values["slide_id"]:
        problems.add(number, "slide_id: it is empty (allowed: any name)")
    if len(problems.found) > n_before:
        return None
    plain = {name: values.get(name, "") for name in ("slide_id", "hospital", "reader")}
    reading = Reading(**{**plain, **read})  # type: ignore[arg-type]
    for problem in _contradictions(reading):
        problems.add(number, problem)
    panel = gold_of(reading.panel_1, reading.panel_2, reading.arbitration)
    return reading if reading.gold else Reading(**{**vars(reading), "gold": panel})


def _contradictions(reading: Reading) -> Iterable[str]:
    """What cannot be true within one row."""
    panel = gold_of(reading.panel_1, reading.panel_2, reading.arbitration)
    if not (reading.gold or panel):
        yield (
            "gold: it is empty and the panel does not give it (allowed: a class, or two panel "
            "readers who agree, or an arbitration)"
        )
    if reading.gold and panel and reading.gold != panel:
        yield f"gold: it is {reading.gold}, but the panel's word is {panel} (they must be one)"
    if reading.first_on and reading.second_on and reading.second_on < reading.first_on:
        yield (
            f"second_on: {reading.second_on} lies before the first review, {reading.first_on} "
            "(allowed: the same day or later)"
        )
    if reading.first_ai is not None and reading.first_ai == reading.second_ai:
        both = "with" if reading.first_ai else "without"
        yield f"second_ai: both reviews are {both} AI (allowed: one with and one without)"


def _check_doubles(problems: Problems, readings: Sequence[tuple[int, Reading]]) -> None:
    seen: dict[tuple[str, str], int] = {}
    for number, reading in readings:
        key = reading.slide_id, reading.reader
        if key in seen:
            who = f"reader {reading.reader}" if reading.reader else "the record"
            problems.add(
                number,
                f"slide_id: {who} has slide {reading.slide_id} twice (first in row {seen[key]}; "
                "allowed: once a reader)",
            )
        seen.setdefault(key, number)


def _check_slides(problems: Problems, readings: Sequence[tuple[int, Reading]]) -> None:
    """Gold, panel, AI and hospital belong to the slide: readers cannot differ in them."""
    first: dict[str, tuple[int, Reading]] = {}
    for number, reading in readings:
        before, known = first.setdefault(reading.slide_id, (number, reading))
        for name in _OF_SLIDE:
            if getattr(known, name) != getattr(reading, name):
                problems.add(
                    number,
                    f"{name}: slide {reading.slide_id} has '{getattr(reading, name)}' here and "
                    f"'{getattr(known, name)}' in row {before} (allowed: one value a slide)",
                )
