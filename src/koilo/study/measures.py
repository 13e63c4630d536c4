"""All statistics of a reader study from its trial record, as plain values for JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from koilo.evaluate.measures import plain
from koilo.evaluate.paired_times import compare_times
from koilo.study import agreement
from koilo.study.compared import Compared, compare
from koilo.study.key_points import key_points
from koilo.study.record import Reading
from koilo.study.shares import Settings, Values, compare_shares, share_rows


def measure_study(
    path: Path, readings: Sequence[Reading], washout_days: int, settings: Settings
) -> Values:
    """Everything that the record can bear; None where it cannot.

    Args:
        path: of the record, for messages.
        readings: of `koilo.study.record.read_record`.
        washout_days: least number of days between two reviews of a slide.
        settings: margins and resampling.

    Raises:
        ManifestError: an arm is missing altogether, or no pair is left to compare.
    """
    compared = compare(path, readings, washout_days)
    by_reader = any(reading.reader for reading in readings)
    values = {
        "conditions": compared.conditions,
        "counts": _counts(compared, readings),
        "left_out": [{"reading": name, "why": why} for name, why in compared.left_out],
        "notices": compared.notices,
        "shares": compare_shares(compared, settings),
        "ai_alone": _ai_alone(readings),
        "kappa": agreement.kappas(compared, settings),
        "by_class": agreement.found_by_class(compared),
        "classes": agreement.CLASSES,
        "class_tables": agreement.class_tables(compared),
        "hospitals": agreement.two_by_two(compared, readings),
        "readers": share_rows(compared, settings, lambda each: each.reader) if by_reader else [],
        "arms": share_rows(compared, settings, lambda each: each.group),
        "panel": agreement.panel_agreement(readings),
        "key_points": key_points(readings),
        "times": _times(compared, settings),
    }
    found: Values = plain(values)
    return found


def _counts(compared: Compared, readings: Sequence[Reading]) -> Values:
    slides = {reading.slide_id: reading for reading in readings}.values()
    return {
        "n_slides": len(slides),
        "n_readings": len(readings),
        "n_compared": len(compared.readings),
        "n_readers": len({reading.reader for reading in readings} - {""}),
        "n_hospitals": len({reading.hospital for reading in readings} - {""}),
        "gold": dict(Counter(reading.gold for reading in slides).most_common()),
        "n_positive": sum(reading.truly_positive for reading in slides),
    }


def _ai_alone(readings: Sequence[Reading]) -> Values | None:
    slides = agreement.slides_with_ai(readings)
    if not slides:
        return None
    counts = agreement.count_calls([(each, each.ai_result) for each in slides])
    return {"n_slides": len(slides), **counts}


def _times(compared: Compared, settings: Settings) -> Values | None:
    first, second = compared.seconds
    timed = np.array(
        [one is not None and two is not None for one, two in zip(first, second, strict=True)]
    )
    if not timed.any():
        return None
    found = compare_times(
        np.array(first, dtype=float)[timed],
        np.array(second, dtype=float)[timed],
        compared.slides[timed],
        compared.readers[timed],
        draws=settings.draws,
        seed=settings.seed,
    )
    return {"n": found.n, "first": found.first, "second": found.second,
            "difference": found.difference, "ratio": found.ratio, "p": found.p}  # fmt: skip
