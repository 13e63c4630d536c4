"""The words that a form or a record may hold: calls, arms, with or without AI, dates, seconds."""

from __future__ import annotations

import math
from datetime import date

from koilo.taxonomy import CYTOLOGY, NEGATIVE, fold_name

GROUPS = ("A", "B")
"""Arm A reads first without AI and then with it, arm B the other way round."""
AI = {"without": False, "with": True}
POSITIVE = "positive"
ALLOWED_CALL = f"{', '.join(CYTOLOGY)}, or several of them joined by +"

_CANONICAL = {name.casefold(): name for name in CYTOLOGY}


def read_call(text: str) -> str:
    """A class, or several joined by ``+``, in koilo's spelling and order; empty stays empty.

    >>> read_call(" asc-h + lsil "), read_call("")
    ('LSIL+ASC-H', '')

    Raises:
        ValueError: a word is no class, or NILM is joined with another.
    """
    if not text:
        return ""
    members = {_CANONICAL.get(part.strip().casefold(), "") for part in text.split("+")}
    if "" in members:
        raise ValueError(f"'{text}' is no class (allowed: {ALLOWED_CALL})")
    if NEGATIVE in members and len(members) > 1:
        raise ValueError(f"'{text}' joins {NEGATIVE} with another class ({NEGATIVE} stands alone)")
    return fold_name(members)


def read_ai_result(text: str) -> str:
    """What the AI alone said: ``positive``, or a call as `read_call` takes it.

    Raises:
        ValueError: it is neither.
    """
    if text.casefold() == POSITIVE:
        return POSITIVE
    try:
        return read_call(text)
    except ValueError as error:
        raise ValueError(f"'{text}' is neither {POSITIVE} nor a class: {error}") from None


def read_group(text: str) -> str:
    """An arm of the crossover.

    Raises:
        ValueError: it is neither A nor B.
    """
    if text.upper() not in GROUPS:
        raise ValueError(f"'{text}' is no arm (allowed: {' or '.join(GROUPS)})")
    return text.upper()


def read_ai_use(text: str) -> bool | None:
    """Whether a reading saw the AI's result; None where it is not said.

    Raises:
        ValueError: another word.
    """
    if text and text.casefold() not in AI:
        raise ValueError(f"'{text}' is not one of {', '.join(AI)}, or empty")
    return AI[text.casefold()] if text else None


def read_day(text: str) -> date | None:
    """A day as year-month-day; None where it is empty.

    Raises:
        ValueError: it is no such day.
    """
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"'{text}' is no day (allowed: year-month-day, 2026-03-09)") from None


def read_seconds(text: str) -> float | None:
    """A reading time in seconds; None where it is empty.

    Raises:
        ValueError: it is no number above 0.
    """
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"'{text}' is no reading time (allowed: seconds above 0, 41.5)")
    return value


def is_positive(call: str) -> bool:
    """Whether a call (not empty) is anything but NILM."""
    return call != NEGATIVE
