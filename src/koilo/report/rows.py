"""The rows of a report's small tables: specimen, estimates, provenance, measures, times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from koilo.report import words
from koilo.report.language import Language
from koilo.types import SlideResult

Rows = tuple[tuple[str, str], ...]

_SPECIMEN = ("accession", "case_id", "preparation", "site", "collected_on")
_CLINICAL = ("age", "lmp", "pregnant", "hpv", "history", "centre")
_OBSCURING = ("blurred_share", "pen_share", "missing_share")


def specimen_rows(result: SlideResult, language: Language) -> Rows:
    """Specimen and case as given in the manifest; what was not given is said to be not given."""
    case = {**result.slide.get("case", {}), **result.slide}
    rows = []
    for key in (*_SPECIMEN, *_CLINICAL):
        given = case.get(key) not in (None, "")
        if given or key in _SPECIMEN:
            text = _as_given(key, case[key], language) if given else language.plain("not_given")
            rows.append((language.plain(f"case.{key}"), text))
    return tuple(rows)


def adequacy_text(result: SlideResult, language: Language) -> str:
    """The estimate of squamous cells with its interval and limit, in one sentence."""
    adequacy = result.adequacy
    if adequacy is None:
        return language.plain("adequacy.none")
    text = language.phrase(adequacy.verdict)
    if adequacy.n_squamous is None:
        return text
    text += language.plain("adequacy.count", n=words.count(adequacy.n_squamous))
    if adequacy.low is not None and adequacy.high is not None:
        low, high = words.count(adequacy.low), words.count(adequacy.high)
        text += language.plain("adequacy.interval", low=low, high=high)
    if adequacy.limit is not None:
        text += language.plain("adequacy.limit", limit=words.count(adequacy.limit))
        if adequacy.preparation:
            kind = language.phrase(adequacy.preparation)
            text += language.plain("adequacy.for", preparation=kind)
    return text


def obscuring_text(result: SlideResult, language: Language) -> str:
    """The shares of the specimen that cannot be read well; what is not measured is said."""
    measures = result.image_quality.measures if result.image_quality is not None else {}
    shares = [
        language.plain(f"obscuring.{name}", share=words.percent(measures[name]))
        for name in _OBSCURING
        if name in measures
    ]
    if not shares:
        return language.plain("not_measured")
    return language.plain("obscuring", shares=language.plain("list.comma").join(shares))


def provenance_rows(result: SlideResult, language: Language) -> Rows:
    """Who made this result, from what, with which settings; nothing that is not known."""
    slide = result.slide
    mpp, source = slide.get("mpp"), slide.get("mpp_source")
    known = isinstance(mpp, int | float)
    rows = [("slide", result.slide_id), ("file", result.path)]
    rows.append(("pixel size", f"{mpp:.4g} µm/px" if known else language.phrase("not known")))
    rows.append(("pixel size from", language.phrase(words.plain(source))))
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
    return tuple((_name(name, language), text) for name, text in rows)


def stage_rows(seconds: Mapping[str, float], language: Language) -> Rows:
    """Wall-clock time by stage."""
    return tuple(
        (language.phrase(name.replace("_", " ")), words.seconds(value))
        for name, value in seconds.items()
    )


def measure_rows(result: SlideResult, language: Language) -> Rows:
    """The numbers behind the image quality."""
    if result.image_quality is None:
        return ()
    rows = words.flat_rows(result.image_quality.measures)
    return tuple((language.phrase(name), text) for name, text in rows)


def _name(name: str, language: Language) -> str:
    """A name of nested values, each part in the language."""
    return " · ".join(language.phrase(part) for part in name.split(" · "))


def _as_given(key: str, value: Any, language: Language) -> str:
    """A manifest's value in a report's words; one without such words stays as it is."""
    text = words.plain(value)
    return language.texts.get(f"case.{key}.{text.casefold()}", text)
