"""Agreement with the gold standard: kappa with intervals, confusion by class and by hospital."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koilo.evaluate.agreement import Weighting, cohen_kappa
from koilo.evaluate.crossed import crossed_bootstrap, has_several_readings
from koilo.evaluate.intervals import Interval
from koilo.evaluate.proportions import share_interval
from koilo.evaluate.scores import confusion
from koilo.study.compared import Compared
from koilo.study.record import Reading
from koilo.study.shares import Settings, Values
from koilo.study.words import is_positive
from koilo.taxonomy import CYTOLOGY, fold_members, most_severe, severity

CLASSES = tuple(sorted(CYTOLOGY, key=severity))
"""By gravity; a call or gold of several classes counts as its most severe one."""

_KAPPAS: dict[str, Weighting] = {
    "classes": "none",
    "classes, linear weights": "linear",
    "classes, quadratic weights": "quadratic",
}


def one_class(call: str) -> str:
    """The most severe class of a call.

    >>> one_class("LSIL+ASC-H")
    'ASC-H'
    """
    return most_severe(fold_members(call))


def kappas(compared: Compared, settings: Settings) -> list[Values]:
    """Kappa to gold under both conditions with the paired difference, plain and weighted."""
    gold = _codes(reading.gold for reading in compared.readings)
    calls = [_codes(compared.first), _codes(compared.second)]
    binary = compared.truth.astype(int), [compared.called(i).astype(int) for i in (0, 1)]
    rows = [_kappa_row(compared, settings, "positive or not", *binary, 2, "none")]
    for name, weighting in _KAPPAS.items():
        rows.append(_kappa_row(compared, settings, name, gold, calls, len(CLASSES), weighting))
    return rows


def class_tables(compared: Compared) -> list[Values]:
    """Confusion (C, C) of `CLASSES`, rows the gold standard: of all, then hospital by hospital."""
    hospitals = sorted({reading.hospital for reading in compared.readings})
    rows = []
    for hospital in ["all", *(hospitals if len(hospitals) > 1 else [])]:
        for who, calls in zip(compared.conditions, (compared.first, compared.second), strict=True):
            mine = [
                (one_class(reading.gold), one_class(call))
                for reading, call in zip(compared.readings, calls, strict=True)
                if hospital in ("all", reading.hospital)
            ]
            table = confusion([gold for gold, _ in mine], [call for _, call in mine], CLASSES)
            rows.append({"hospital": hospital, "who": who, "table": table})
    return rows


def found_by_class(compared: Compared) -> list[Values]:
    """For each gold class: readings, those called positive, and calls that name the class."""
    gold = np.array([one_class(reading.gold) for reading in compared.readings])
    rows = []
    for name in CLASSES:
        mine = gold == name
        if not mine.any():
            continue
        row: Values = {"class": name, "n": int(mine.sum())}
        for condition, key in enumerate(("first", "second")):
            calls = (compared.first, compared.second)[condition]
            row[f"{key}_positive"] = int(compared.called(condition)[mine].sum())
            row[f"{key}_same_class"] = sum(
                one_class(call) == name
                for call, is_mine in zip(calls, mine, strict=True)
                if is_mine
            )
        rows.append(row)
    return rows


def two_by_two(compared: Compared, readings: Sequence[Reading]) -> list[Values]:
    """True and false positives and negatives by hospital, for both conditions and the AI alone.

    Args:
        compared: the pairs.
        readings: all of the record; the AI is counted once a slide.
    """
    hospitals = sorted({reading.hospital for reading in readings})
    rows = []
    for hospital in [*hospitals, *(["all"] if len(hospitals) > 1 else [])]:
        for who, calls in zip(compared.conditions, (compared.first, compared.second), strict=True):
            mine = [
                (reading, call)
                for reading, call in zip(compared.readings, calls, strict=True)
                if hospital in ("all", reading.hospital)
            ]
            rows.append({"hospital": hospital, "who": who, **count_calls(mine)})
        slides = [each for each in slides_with_ai(readings) if hospital in ("all", each.hospital)]
        alone = count_calls([(each, each.ai_result) for each in slides])
        rows.append({"hospital": hospital, "who": "AI alone", **alone})
    return rows


def count_calls(calls: Sequence[tuple[Reading, str]]) -> Values:
    """Found, missed, cleared and falsely alarmed; shares have intervals only one call a slide."""
    truth = np.array([reading.truly_positive for reading, _ in calls], dtype=bool)
    called = np.array([is_positive(call) for _, call in calls], dtype=bool)
    n_found, n_cleared = int((truth & called).sum()), int((~truth & ~called).sum())
    n_positive, n_negative = int(truth.sum()), int((~truth).sum())
    shares = [share_interval(n_found, n_positive), share_interval(n_cleared, n_negative)]
    if has_several_readings([reading.slide_id for reading, _ in calls]):
        shares = [Interval(each.estimate, math.nan, math.nan) for each in shares]
    return {
        "true_positive": n_found,
        "false_negative": n_positive - n_found,
        "true_negative": n_cleared,
        "false_positive": n_negative - n_cleared,
        "sensitivity": shares[0],
        "specificity": shares[1],
    }


def slides_with_ai(readings: Iterable[Reading]) -> list[Reading]:
    """One reading for each slide that has a result of the AI."""
    by_slide = {reading.slide_id: reading for reading in readings if reading.ai_result}
    return list(by_slide.values())


def panel_agreement(readings: Sequence[Reading]) -> Values:
    """How far the two panel readers agree, and how many slides went to arbitration."""
    slides = {reading.slide_id: reading for reading in readings}.values()
    both = [each for each in slides if each.panel_1 and each.panel_2]
    one, two = (
        [one_class(getattr(each, name)) for each in both] for name in ("panel_1", "panel_2")
    )
    table = confusion(one, two, CLASSES)
    return {
        "n_slides": len(both),
        "n_same_call": sum(each.panel_1 == each.panel_2 for each in both),
        "kappa": cohen_kappa(table),
        "kappa_linear": cohen_kappa(table, "linear"),
        "n_arbitrated": sum(bool(each.arbitration) for each in slides),
    }


def _kappa_row(
    compared: Compared,
    settings: Settings,
    name: str,
    gold: NDArray[np.intp],
    calls: Sequence[NDArray[np.intp]],
    n_classes: int,
    weighting: Weighting,
) -> Values:
    places = [gold * n_classes + call for call in calls]  # (N,) cell of the table, each condition

    def kappa(condition: int, weights: NDArray[Any]) -> float:
        table = np.bincount(places[condition], weights, n_classes**2)
        return cohen_kappa(table.reshape(n_classes, n_classes), weighting)

    measures = {
        "first": lambda weights: kappa(0, weights),
        "second": lambda weights: kappa(1, weights),
        "difference": lambda weights: kappa(1, weights) - kappa(0, weights),
    }
    found = {
        key: crossed_bootstrap(
            measure, compared.slides, compared.readers, strata=compared.truth,
            draws=settings.draws, seed=settings.seed,
        )
        for key, measure in measures.items()
    }  # fmt: skip
    return {"kappa": name, **found}


def _codes(calls: Iterable[str]) -> NDArray[np.intp]:
    return np.array([CLASSES.index(one_class(call)) for call in calls], dtype=np.intp)
