"""What a slide's report says, drawn from the result and the bundle: no wording of a diagnosis here.

A program suggests what to look at; general category and interpretation stay with the reader.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from koilo.evaluate.calibration import calibrated
from koilo.evaluate.predictive import PredictiveRow, predictive_table
from koilo.report import words
from koilo.report.language import Language
from koilo.types import SlideResult

NOT_ASSESSED = ("glandular lesions", "endometrial cells", "organisms", "reactive change")
"""said of every bundle that does not state its own list: silence is not an assessment"""

Outcome = Literal["review", "below", "none"]


@dataclass(frozen=True, slots=True)
class Headline:
    """The screening result in one line, and the class suggested for review where there is one."""

    outcome: Outcome
    text: str
    suggestion: str | None = None


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """The locked threshold that the slide was judged by, and how it did where it was locked."""

    name: str
    threshold: float
    set_name: str
    sensitivity: float | None
    specificity: float | None
    n: int | None
    n_positive: int | None
    rows: tuple[PredictiveRow, ...]
    p_calibrated: float | None = None
    """p_positive by the temperature stored with the threshold; None where there is none"""
    prevalence: float | None = None
    """the laboratory's share of positives, where p_calibrated is shifted to it"""


@dataclass(frozen=True, slots=True)
class Scope:
    """What the bundle cannot see, and what it was trained on."""

    not_assessed: tuple[str, ...]
    trained_on: tuple[str, ...]
    rules_out: bool
    cell_classes: tuple[str, ...]
    slide_classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Notice:
    """A flag that a reader has to see beside the result."""

    title: str
    text: str


def build_headline(result: SlideResult, language: Language) -> Headline:
    """The result line: review advised, below the review threshold, or no result with its reason."""
    if result.status == "failed":
        reason = result.error or language.plain("headline.unreadable")
        return Headline("none", language.plain("headline.none", reason=reason))
    if result.positive is None:
        quality = result.image_quality
        reason = language.plain("headline.no_cell")
        if quality and not quality.ok:
            reason = language.phrase(quality.verdict)
        return Headline("none", language.plain("headline.none", reason=reason))
    if result.positive:
        return Headline("review", language.plain("headline.review"), result.label)
    return Headline("below", language.plain("headline.below"))


def build_scope(spec: Mapping[str, Any], language: Language) -> Scope:
    """What stands above every result, from the bundle's own words and classes."""
    stages = spec.get("stages", {})
    cell_classes = tuple(stages.get("cells", {}).get("classes", ()))
    slide_classes = tuple(stages.get("head", {}).get("classes", ()))
    known = {part for name in (*cell_classes, *slide_classes) for part in name.split("+")}
    missing = tuple(_as_texts(spec.get("not_assessed"))) or NOT_ASSESSED
    rules_out = "AGC" in known
    if not rules_out and not any("glandular" in item.casefold() for item in missing):
        missing = (NOT_ASSESSED[0], *missing)
    return Scope(
        not_assessed=tuple(map(language.phrase, missing)),
        trained_on=tuple(map(language.phrase, _as_texts(spec.get("trained_on")))),
        rules_out=rules_out,
        cell_classes=cell_classes,
        slide_classes=slide_classes,
    )


def find_operating_point(
    result: SlideResult, spec: Mapping[str, Any], language: Language
) -> OperatingPoint | None:
    """The bundle's operating point whose threshold the slide was judged by; None if there is none.

    A field is judged by ``sens95_field`` and a slide by ``sens95``; among points of one threshold
    the slide's own comes first.
    """
    points: Mapping[str, Mapping[str, Any]] = spec.get("operating_points", {})
    own = "sens95_field" if result.slide.get("kind") == "field" else "sens95"
    for name in sorted(points, key=lambda name: name != own):
        threshold = points[name].get("threshold")
        if threshold is None or result.threshold is None:
            continue
        if math.isclose(threshold, result.threshold, rel_tol=1e-6, abs_tol=1e-9):
            return _operating_point(name, points[name], result.p_positive, language)
    return None


def collect_notices(
    result: SlideResult, spec: Mapping[str, Any], language: Language
) -> tuple[Notice, ...]:
    """What limits the reading of this slide, gravest first; none of it hides the result."""
    notices = []

    def add(key: str, **values: str) -> None:
        title = language.plain(f"notice.{key}.title", **values)
        notices.append(Notice(title, language.plain(f"notice.{key}.text", **values)))

    quality, adequacy = result.image_quality, result.adequacy
    after = {True: "positive", False: "below", None: "unjudged"}[result.positive]
    if quality is not None and not quality.ok:
        add(f"quality.{after}", verdict=language.phrase(quality.verdict))
    if adequacy is not None and adequacy.verdict.startswith("scant"):
        scant = "positive" if result.positive else "below"
        add(f"scant.{scant}", verdict=language.phrase(adequacy.verdict))
    for flag in quality.flags if quality is not None else ():
        title = language.plain("notice.flag.title", flag=language.phrase(flag))
        key = f"flag.{flag}"
        notices.append(Notice(title, language.plain(key) if key in language.texts else ""))
    if result.slide.get("kind") == "field":
        add("field")
    if result.threshold is not None and find_operating_point(result, spec, language) is None:
        add("threshold")
    return tuple(notices)


def synthetic_kind(result: SlideResult) -> str | None:
    """What kind of made slide this is (``phantom``, ``composed``), or None for a real one."""
    kind = result.slide.get("synthetic")
    return str(kind) if kind else None


def _operating_point(
    name: str, point: Mapping[str, Any], p_positive: float | None, language: Language
) -> OperatingPoint:
    sensitivity, specificity = point.get("sensitivity"), point.get("specificity")
    given, temperature = point.get("set"), point.get("temperature")
    shift = (point.get("set_prevalence"), point.get("prevalence"))
    return OperatingPoint(
        name=name,
        threshold=float(point["threshold"]),
        set_name=language.phrase(str(given)) if given else language.plain("point.unnamed_set"),
        sensitivity=sensitivity,
        specificity=specificity,
        n=point.get("n"),
        n_positive=point.get("n_positive"),
        rows=()
        if sensitivity is None or specificity is None
        else predictive_table(sensitivity, specificity),
        p_calibrated=None
        if temperature is None or p_positive is None
        else calibrated(p_positive, float(temperature), *shift),
        prevalence=None if None in shift else shift[1],
    )


def _as_texts(value: Any) -> list[str]:
    """Strings of a bundle's list; an entry may be a mapping with a name."""
    if value is None:
        return []
    items = [value] if isinstance(value, str | Mapping) else list(value)
    return [
        ", ".join(words.plain(part) for part in item.values())
        if isinstance(item, Mapping)
        else words.plain(item)
        for item in items
    ]
