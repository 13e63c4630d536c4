"""What a slide's report says, drawn from the result and the bundle: no wording of a diagnosis here.

A program suggests what to look at; general category and interpretation stay with the reader.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from koilo.evaluate.predictive import PredictiveRow, predictive_table
from koilo.report import words
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


def build_headline(result: SlideResult) -> Headline:
    """The result line: review advised, below the review threshold, or no result with its reason."""
    if result.status == "failed":
        return Headline("none", f"no result: {result.error or 'the slide could not be read'}")
    if result.positive is None:
        quality = result.image_quality
        reason = quality.verdict if quality and not quality.ok else "no cell was there to judge"
        return Headline("none", f"no result: {reason}")
    if result.positive:
        return Headline("review", "review advised", result.label)
    return Headline("below", "below the review threshold")


def build_scope(spec: Mapping[str, Any]) -> Scope:
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
        not_assessed=missing,
        trained_on=tuple(_as_texts(spec.get("trained_on"))),
        rules_out=rules_out,
        cell_classes=cell_classes,
        slide_classes=slide_classes,
    )


def find_operating_point(result: SlideResult, spec: Mapping[str, Any]) -> OperatingPoint | None:
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
            return _operating_point(name, points[name])
    return None


def collect_notices(result: SlideResult, spec: Mapping[str, Any]) -> tuple[Notice, ...]:
    """What limits the reading of this slide, gravest first; none of it hides the result."""
    notices = []
    quality, adequacy = result.image_quality, result.adequacy
    if quality is not None and not quality.ok:
        notices.append(Notice("Image quality", _rescan_text(quality.verdict, result)))
    if adequacy is not None and adequacy.verdict.startswith("scant"):
        notices.append(Notice("Cellularity", _scant_text(adequacy.verdict, result)))
    for flag in quality.flags if quality is not None else ():
        notices.append(Notice(f"Flag: {flag}", _FLAG_TEXTS.get(flag, "")))
    if result.slide.get("kind") == "field":
        notices.append(
            Notice("Single field", "A plain image, not a whole slide: it stands for no specimen.")
        )
    if result.threshold is not None and find_operating_point(result, spec) is None:
        notices.append(
            Notice(
                "Threshold of unknown origin",
                "The threshold used is not among the bundle's locked operating points, so no "
                "sensitivity, specificity or predictive value is given.",
            )
        )
    return tuple(notices)


def specimen_rows(result: SlideResult) -> tuple[tuple[str, str], ...]:
    """Specimen and case as given in the manifest; what was not given is said to be not given."""
    case = {**result.slide.get("case", {}), **result.slide}
    rows = [
        (title, _as_given(key, case[key]) if case.get(key) not in (None, "") else "not given")
        for key, title in _SPECIMEN.items()
    ]
    rows += [
        (title, _as_given(key, case[key]))
        for key, title in _CLINICAL.items()
        if case.get(key) not in (None, "")
    ]
    return tuple(rows)


def provenance_rows(result: SlideResult) -> tuple[tuple[str, str], ...]:
    """Who made this result, from what, with which settings; nothing that is not known."""
    slide = result.slide
    mpp, source = slide.get("mpp"), slide.get("mpp_source")
    rows = [("slide", result.slide_id), ("file", result.path)]
    rows.append(("pixel size", f"{mpp:.4g} µm/px" if isinstance(mpp, int | float) else "not known"))
    rows.append(("pixel size from", words.plain(source)))
    dimensions = slide.get("dimensions")
    if dimensions:
        rows.append(("size", " × ".join(words.count(side) for side in dimensions) + " px"))
    rows += [
        (key, words.plain(slide[key]))
        for key in ("objective", "vendor", "backend")
        if slide.get(key) not in (None, "")
    ]
    rows += list(words.flat_rows(result.provenance))
    rows.append(("settings' fingerprint", result.fingerprint or "–"))
    return tuple(rows)


def adequacy_text(result: SlideResult) -> str:
    """The estimate of squamous cells with its interval and limit, in one sentence."""
    adequacy = result.adequacy
    if adequacy is None:
        return "not estimated"
    if adequacy.n_squamous is None:
        return adequacy.verdict
    text = f"{adequacy.verdict}: about {words.count(adequacy.n_squamous)} nucleated squamous cells"
    if adequacy.low is not None and adequacy.high is not None:
        text += f", 95 % interval {words.count(adequacy.low)}–{words.count(adequacy.high)}"
    if adequacy.limit is not None:
        kind = f" for {adequacy.preparation}" if adequacy.preparation else ""
        text += f"; limit {words.count(adequacy.limit)}{kind}"
    return text


def synthetic_kind(result: SlideResult) -> str | None:
    """What kind of made slide this is (``phantom``, ``composed``), or None for a real one."""
    kind = result.slide.get("synthetic")
    return str(kind) if kind else None


def _operating_point(name: str, point: Mapping[str, Any]) -> OperatingPoint:
    sensitivity, specificity = point.get("sensitivity"), point.get("specificity")
    return OperatingPoint(
        name=name,
        threshold=float(point["threshold"]),
        set_name=str(point.get("set") or "a set the bundle does not name"),
        sensitivity=sensitivity,
        specificity=specificity,
        n=point.get("n"),
        n_positive=point.get("n_positive"),
        rows=()
        if sensitivity is None or specificity is None
        else predictive_table(sensitivity, specificity),
    )


def _rescan_text(verdict: str, result: SlideResult) -> str:
    if result.positive:
        return f"{verdict}. The suspicious cells below stand whatever the picture's quality."
    if result.positive is False:
        return f"{verdict}. A result below the threshold on such a picture says little."
    return f"{verdict}."


def _scant_text(verdict: str, result: SlideResult) -> str:
    if result.positive:
        return f"{verdict}. Few squamous cells, but suspicious ones: the slide is not held back."
    return f"{verdict}. Few squamous cells; only a reader calls a specimen unsatisfactory."


def _as_given(key: str, value: Any) -> str:
    """A manifest's value in a report's words; one without such words stays as it is."""
    text = words.plain(value)
    return _VALUE_TEXTS.get(key, {}).get(text.casefold(), text)


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


_SPECIMEN = {
    "accession": "Accession",
    "case_id": "Case",
    "preparation": "Specimen type",
    "site": "Site",
    "collected_on": "Collected on",
}
_CLINICAL = {
    "age": "Age",
    "lmp": "Last menstrual period",
    "pregnant": "Pregnant",
    "hpv": "HPV test (as given)",
    "history": "History",
    "centre": "Centre",
}
_VALUE_TEXTS = {
    "preparation": {
        "conventional": "conventional smear",
        "thinprep": "liquid-based (ThinPrep)",
        "surepath": "liquid-based (SurePath)",
    },
    "hpv": {
        "16": "positive, type 16",
        "18": "positive, type 18",
        "other": "positive, another type",
    },
}
_FLAG_TEXTS = {
    "pen": "Pen marks were left out of the reading.",
    "bubbles": "Air bubbles were left out of the reading.",
    "edge": "The coverslip's edge was left out of the reading.",
    "missing": "Parts of the slide are missing from the scan.",
    "blur": "Part of the slide is out of focus: see the focus map.",
    "mpp mismatch": "The pixel size given and the file's own differ by more than 5 %. "
    "The first was used; if it is wrong, cells were judged at the wrong size.",
}
