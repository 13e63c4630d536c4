"""The forms of a study as CSV: a reader's for each period, a panel reader's, the arbitration's.

A form never says what a slide is: no label, no panel, no AI result. Those who fill one in touch
``read_on, seconds, call, comment`` and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from koilo.study.allocation import Assignment
from koilo.study.sheets import Problems, read_sheet, write_sheet
from koilo.study.words import read_ai_result, read_ai_use, read_call, read_day, read_seconds

FORMS = "forms"
PANEL = ("panel_1", "panel_2")
ARBITRATION = "arbitration"
AI_FORM = "ai.csv"

_READER_COLUMNS = ("study", "reader", "period", "order", "slide_id", "ai")
_PANEL_COLUMNS = ("study", "panel", "order", "slide_id")
_FILLED = ("read_on", "seconds", "call", "comment")


@dataclass(frozen=True)
class FilledRow:
    """What a reader wrote of one slide; ``call`` is empty where the row is blank."""

    call: str
    read_on: date | None
    seconds: float | None


def reader_form(folder: Path, reader: str, period: int) -> Path:
    """Where a reader's form of a period lies."""
    return folder / FORMS / f"reader_{reader}_period_{period}.csv"


def panel_form(folder: Path, name: str) -> Path:
    """Where a panel reader's form, or the arbitration's, lies."""
    return folder / FORMS / f"{name}.csv"


def write_reader_form(
    path: Path, study: str, assignments: Sequence[Assignment], period: int
) -> None:
    """A blank form of one reader and period, in the order that the plan gives."""
    rows = [
        {
            "study": study,
            "reader": each.reader,
            "period": period,
            "order": each.place(period),
            "slide_id": each.slide_id,
            "ai": "with" if each.with_ai(period) else "without",
        }
        for each in sorted(assignments, key=lambda each: each.place(period))
    ]
    write_sheet(path, [*_READER_COLUMNS, *_FILLED], rows)


def write_panel_form(path: Path, study: str, panel: str, slide_ids: Sequence[str]) -> None:
    """A blank form of a panel reader or of the arbitration, in the order given."""
    rows = [
        {"study": study, "panel": panel, "order": number, "slide_id": slide_id}
        for number, slide_id in enumerate(slide_ids, start=1)
    ]
    write_sheet(path, [*_PANEL_COLUMNS, "read_on", "call", "comment"], rows)


def write_ai_form(path: Path, slide_ids: Sequence[str]) -> None:
    """A blank list of what the AI alone says of each slide."""
    write_sheet(path, ["slide_id", "ai_result"], [{"slide_id": name} for name in slide_ids])


def read_reader_form(
    path: Path, study: str, assignments: Sequence[Assignment], period: int
) -> dict[str, FilledRow]:
    """A filled form by slide; rows may be blank, and stand in any order.

    Raises:
        ManifestError: it is another study's, reader's or period's form, a slide stands twice or
            is none of this reader's, or a field is wrong; rows and columns are named.
    """
    planned = {each.slide_id: each for each in assignments}
    problems = Problems(path)
    found: dict[str, FilledRow] = {}
    columns = [*_READER_COLUMNS, "read_on", "seconds", "call"]
    for number, row in read_sheet(path, columns, "a reader's form"):
        expected = {"study": study, "reader": assignments[0].reader, "period": str(period)}
        _check_identity(problems, number, row, expected, planned, found)
        mine = planned.get(row["slide_id"])
        use = problems.read(number, "ai", row["ai"], read_ai_use)
        if mine and use is not None and use != mine.with_ai(period):
            told = "with" if mine.with_ai(period) else "without"
            problems.add(number, f"ai: it is '{row['ai']}', and the plan says {told}")
        found[row["slide_id"]] = _filled(problems, number, row)
    problems.refuse()
    return found


def read_panel_form(path: Path, study: str, panel: str, slide_ids: Iterable[str]) -> dict[str, str]:
    """The calls of a panel reader or of the arbitration by slide; blank ones are left out.

    Raises:
        ManifestError: as `read_reader_form`.
    """
    planned = dict.fromkeys(slide_ids)
    problems = Problems(path)
    found: dict[str, str] = {}
    for number, row in read_sheet(path, [*_PANEL_COLUMNS, "call"], "a panel form"):
        expected = {"study": study, "panel": panel}
        _check_identity(problems, number, row, expected, planned, found)
        found[row["slide_id"]] = problems.read(number, "call", row["call"], read_call) or ""
    problems.refuse()
    return {slide_id: call for slide_id, call in found.items() if call}


def read_ai_form(path: Path, slide_ids: Iterable[str]) -> dict[str, str]:
    """What the AI alone said, by slide; blank ones are left out.

    Raises:
        ManifestError: a slide is none of the study's or stands twice, or a word is wrong.
    """
    planned = dict.fromkeys(slide_ids)
    problems = Problems(path)
    found: dict[str, str] = {}
    for number, row in read_sheet(path, ["slide_id", "ai_result"], "a list of AI results"):
        _check_identity(problems, number, row, {}, planned, found)
        result = problems.read(number, "ai_result", row["ai_result"], read_ai_result)
        found[row["slide_id"]] = result or ""
    problems.refuse()
    return {slide_id: result for slide_id, result in found.items() if result}


def _check_identity(
    problems: Problems,
    number: int,
    row: Mapping[str, str],
    expected: Mapping[str, str],
    planned: Mapping[str, object],
    found: Mapping[str, object],
) -> None:
    for name, value in expected.items():
        if row[name] != value:
            problems.add(number, f"{name}: it is '{row[name]}' (this form needs '{value}')")
    if row["slide_id"] not in planned:
        problems.add(number, f"slide_id: '{row['slide_id']}' is not planned for this form")
    elif row["slide_id"] in found:
        problems.add(number, f"slide_id: '{row['slide_id']}' stands twice (allowed: once)")


def _filled(problems: Problems, number: int, row: Mapping[str, str]) -> FilledRow:
    return FilledRow(
        problems.read(number, "call", row["call"], read_call) or "",
        problems.read(number, "read_on", row["read_on"], read_day),
        problems.read(number, "seconds", row["seconds"], read_seconds),
    )
