"""Which two readings of a record are compared, and what is left out of it, by name and reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from koilo.errors import ManifestError
from koilo.study.record import Reading
from koilo.study.words import GROUPS, is_positive

BY_AI = ("without AI", "with AI")
BY_STAGE = ("first review", "second review")

_NAMED = 8


@dataclass(frozen=True)
class Compared:
    """Pairs of readings: the same slide judged by the same reader under two conditions."""

    conditions: tuple[str, str]
    """`BY_AI`, or `BY_STAGE` where the record does not say which review saw the AI's result"""
    readings: tuple[Reading, ...]
    first: tuple[str, ...]
    """the calls under the first condition, one a reading"""
    second: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    """name of the reading, and why it is compared with nothing"""
    notices: tuple[str, ...]

    @property
    def truth(self) -> NDArray[np.bool_]:
        """(N,) True where the gold standard is positive."""
        return np.array([reading.truly_positive for reading in self.readings], dtype=bool)

    @property
    def slides(self) -> NDArray[np.str_]:
        """(N,) the slide of each pair."""
        return np.array([reading.slide_id for reading in self.readings])

    @property
    def readers(self) -> NDArray[np.str_]:
        """(N,) the reader of each pair."""
        return np.array([reading.reader for reading in self.readings])

    def called(self, condition: int) -> NDArray[np.bool_]:
        """(N,) True where the call under condition 0 or 1 is positive."""
        return np.array([is_positive(call) for call in (self.first, self.second)[condition]], bool)

    @property
    def seconds(self) -> tuple[list[float | None], list[float | None]]:
        """Reading times under the two conditions; None where none was taken."""
        swapped = self.conditions == BY_AI
        pairs = [
            (reading.second_seconds, reading.first_seconds)
            if swapped and reading.first_ai
            else (reading.first_seconds, reading.second_seconds)
            for reading in self.readings
        ]
        return [one for one, _ in pairs], [two for _, two in pairs]


def compare(path: Path, readings: Sequence[Reading], washout_days: int) -> Compared:
    """Pair the reviews of a record.

    A reading that lacks a review, or whose reviews lie closer than the washout, is named and left
    out: it counts in no comparison.

    Args:
        path: of the record, for messages.
        readings: of `koilo.study.record.read_record`.
        washout_days: least number of days between two reviews of a slide.

    Raises:
        ManifestError: an arm is missing altogether, or no pair is left.
    """
    missing = [group for group in GROUPS if group not in {each.group for each in readings}]
    if missing:
        raise ManifestError(
            f"{path} has no reading of arm {' and '.join(missing)}. A crossover needs arms "
            f"{' and '.join(GROUPS)}: without one, the order of reading and the AI cannot be told "
            "apart. Add its readings."
        )
    left_out = [(each.name, why) for each in readings if (why := _unfit(each, washout_days))]
    kept = tuple(each for each in readings if not _unfit(each, washout_days))
    if not kept:
        raise ManifestError(
            f"{path}: none of {len(readings)} readings has both reviews {washout_days} days apart "
            f"({_listed([f'{name}: {why}' for name, why in left_out])}). A comparison needs both. "
            "Complete the record, or state the study's own --washout-days."
        )
    by_ai = all(each.first_ai is not None for each in kept)
    pairs = [_calls(each, by_ai) for each in kept]
    return Compared(
        BY_AI if by_ai else BY_STAGE,
        kept,
        tuple(one for one, _ in pairs),
        tuple(two for _, two in pairs),
        tuple(left_out),
        tuple(_notices(readings, by_ai)),
    )


def _unfit(reading: Reading, washout_days: int) -> str:
    """Why a reading cannot be compared; empty where it can."""
    if not reading.complete:
        which = [name for name in ("first", "second") if not getattr(reading, f"{name}_review")]
        return f"no {' and no '.join(which)} review"
    if reading.first_on and reading.second_on:
        days = (reading.second_on - reading.first_on).days
        if days < washout_days:
            return f"washout of {days} days, {washout_days} are needed"
    return ""


def _calls(reading: Reading, by_ai: bool) -> tuple[str, str]:
    if by_ai and reading.first_ai:
        return reading.second_review, reading.first_review
    return reading.first_review, reading.second_review


def _notices(readings: Sequence[Reading], by_ai: bool) -> list[str]:
    """What a reader of the statistics has to know of the record."""
    found = []
    if not by_ai:
        found.append(
            "The record does not say which review saw the AI's result (first_ai, second_ai): the "
            "two stages are compared, not reading with and without AI."
        )
    undated = [
        each for each in readings if each.complete and not (each.first_on and each.second_on)
    ]
    if undated:
        found.append(f"{len(undated)} readings have no dates: their washout was not checked.")
    one_arm = [
        reader
        for reader, n in Counter(
            reader for reader, _ in {(r.reader, r.group) for r in readings}
        ).items()
        if n == 1 and reader
    ]
    if one_arm:
        found.append(f"Read in one arm only: {_listed(sorted(one_arm))}.")
    slides = {each.slide_id: each for each in readings}.values()
    odd = {
        "Panel readers differ and no arbitration is recorded (gold is taken as given)": [
            each.slide_id
            for each in slides
            if each.panel_1 and each.panel_2 and each.panel_1 != each.panel_2
            and not each.arbitration
        ],
        "Arbitration although the panel readers agree": [
            each.slide_id for each in slides if each.panel_1 == each.panel_2 and each.arbitration
        ],
        "No AI result": [each.slide_id for each in slides if not each.ai_result],
    }  # fmt: skip
    return found + [f"{what}: {_listed(ids)}." for what, ids in odd.items() if ids]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
