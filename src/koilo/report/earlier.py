"""Earlier slides of the same case in the same results folder, latest first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from koilo.errors import OutputError
from koilo.results import RESULT, read_slide_result
from koilo.signatures import standing_signature
from koilo.types import SlideResult


@dataclass(frozen=True)
class Earlier:
    """One earlier slide: its result without cells, and the classes signed of it.

    ``signed`` is None where nobody signed, or where the signature no longer fits the result.
    """

    result: SlideResult
    collected_on: str
    signed: tuple[str, ...] | None


def find_earlier(folder: Path, result: SlideResult) -> tuple[Earlier, ...]:
    """Slides of ``result``'s case beside its folder that were collected before it, latest first.

    A case is a ``case_id``; slides whose ``collected_on`` is no ISO date have no place in time and
    are left out, as is everything where this slide has none.
    """
    if collected_on(result) is None or not case_of(result):
        return ()
    others = []
    for path in sorted(folder.parent.glob(f"*/{RESULT}")):
        if path.parent.name == folder.name:
            continue
        try:
            others.append(read_slide_result(path.parent, with_cells=False))
        except OutputError:
            continue  # a damaged neighbour is its own report's matter
    return compare(folder.parent, result, others)


def compare(out: Path, result: SlideResult, others: Iterable[SlideResult]) -> tuple[Earlier, ...]:
    """Those of ``others`` in the results folder ``out`` that are earlier slides of one case."""
    day, case = collected_on(result), case_of(result)
    if day is None or not case:
        return ()
    found = []
    for other in others:
        other_day = collected_on(other)
        if case_of(other) == case and other_day is not None and other_day < day:
            found.append((other_day, other))
    found.sort(key=lambda item: (item[0], item[1].slide_id), reverse=True)
    return tuple(
        Earlier(other, when.isoformat(), _signed(out / other.slide_id)) for when, other in found
    )


def case_of(result: SlideResult) -> str:
    """The case that a slide belongs to; empty where the manifest named none."""
    return str(result.slide.get("case", {}).get("case_id", ""))


def collected_on(result: SlideResult) -> date | None:
    """The day a specimen was taken; None where it is no date such as 2026-03-31."""
    try:
        return date.fromisoformat(str(result.slide.get("case", {}).get("collected_on", "")).strip())
    except ValueError:
        return None


def _signed(folder: Path) -> tuple[str, ...] | None:
    try:
        signature = standing_signature(folder)
    except OutputError:
        return None
    return None if signature is None else signature.interpretation
