"""Whose slide it is: a CSV that the user gives; without it no export names a patient."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from koilo.errors import ManifestError

SEXES = ("female", "male", "other", "unknown")
COLUMNS = ("slide_id", "patient_id", "family", "given", "birth_date", "sex")
_LONGEST = 64  # what DICOM's LO and a component of a person name hold
_BIDI = re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")


@dataclass(frozen=True)
class Patient:
    """A person as the laboratory gave her; empty texts where it said nothing."""

    patient_id: str
    family: str = ""
    given: str = ""
    birth_date: date | None = None
    sex: str = ""


def read_patients(path: Path) -> dict[str, Patient]:
    """Read a CSV of patients: slide_id -> patient.

    Raises:
        ManifestError: naming every row that is wrong, in one line.
    """
    try:
        rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")))
        names = set(rows.fieldnames or ())
        listed = list(rows)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(
            f"{path} cannot be read as a list of patients ({error}). It is a UTF-8 CSV with "
            f"{', '.join(COLUMNS)}. Check the file."
        ) from error
    if not {"slide_id", "patient_id"} <= names:
        raise ManifestError(
            f"{path} lacks slide_id or patient_id. A list of patients is a CSV with "
            f"{', '.join(COLUMNS)}. Add the column."
        )
    patients: dict[str, Patient] = {}
    problems = []
    for number, row in enumerate(listed, start=2):
        try:
            slide_id = unicodedata.normalize("NFC", row["slide_id"] or "")
            if slide_id in patients:
                raise ValueError(f"slide {slide_id[:40]!r} stands twice")
            patients[slide_id] = _patient(row)
        except ValueError as error:
            problems.append(f"row {number}: {error}")
    if problems:
        more = f"; and {len(problems) - 8} more" if problems[8:] else ""
        raise ManifestError(
            f"{path} is no list of patients: {'; '.join(problems[:8])}{more}. Mend these."
        )
    return patients


def _patient(row: dict[str, str | None]) -> Patient:
    texts = {name: (row.get(name) or "").strip() for name in COLUMNS[1:]}
    for name in ("patient_id", "family", "given"):
        text = texts[name] = unicodedata.normalize("NFC", texts[name])
        if len(text) > _LONGEST:
            raise ValueError(f"{name} has {len(text)} characters (allowed: {_LONGEST})")
        if _BIDI.search(text) or any(unicodedata.category(c) in ("Cc", "Cs") for c in text):
            raise ValueError(f"{name} holds characters that cannot be seen")
    if not texts["patient_id"]:
        raise ValueError("there is no patient_id")
    sex = texts["sex"].casefold()
    if sex and sex not in SEXES:
        raise ValueError(f"sex is {texts['sex'][:20]!r} (allowed: {', '.join(SEXES)}, or empty)")
    return Patient(
        texts["patient_id"],
        texts["family"],
        texts["given"],
        _birth_date(texts["birth_date"]),
        sex,
    )


def _birth_date(text: str) -> date | None:
    if not text:
        return None
    try:
        born = date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"birth_date is {text[:20]!r} (allowed: YYYY-MM-DD)") from None
    if born > date.today():
        raise ValueError(f"birth_date {text} lies in the future")
    return born
