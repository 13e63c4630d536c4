"""One slide's report as a single HTML page that needs no network, no script and no other file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jinja2
import markupsafe

import koilo
from koilo.report import facts, gallery, marks, pictures, reasons, rows, signed, words
from koilo.report.drawn import Drawn, OverviewPicture
from koilo.report.earlier import Earlier
from koilo.report.laboratory import Laboratory
from koilo.report.language import Language, load_language
from koilo.report.outline import OUTLINE_AT
from koilo.signatures import Signature
from koilo.taxonomy import NEGATIVE
from koilo.types import SlideResult

GALLERY_COLUMNS = 7

_PAGE_FONT = (
    '"Noto Sans", Arial, "Noto Sans CJK SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", sans-serif'
)


@dataclass(frozen=True, slots=True)
class Overview:
    """The slide's picture with its marks; lengths in drawing units of ``marks.CANVAS_WIDTH``."""

    picture: str
    aspect: float
    height: float
    marks: tuple[marks.Mark, ...]
    dots: str
    n_outside: int


@dataclass(frozen=True, slots=True)
class Bar:
    """One class probability: its text and the bar's length from 0 to 100."""

    label: str
    name: str
    text: str
    length: float


@dataclass(frozen=True, slots=True)
class EarlierRow:
    """One earlier slide of the case, as it is printed."""

    slide_id: str
    collected_on: str
    headline: str
    suggestion: str
    signed: str


def render_page(
    result: SlideResult,
    drawn: Drawn,
    *,
    signatures: Sequence[Signature] = (),
    earlier: Sequence[Earlier] = (),
    laboratory: Laboratory | None = None,
    language: str = "en",
) -> str:
    """The report from what it is drawn from.

    Args:
        result: the slide's reading with its cells.
        drawn: pictures and the bundle's words.
        signatures: of the slide, oldest first; the last one stands.
        earlier: slides of the same case.
        laboratory: the header, and what the report is for.
        language: of the page.

    Raises:
        ConfigError: the language is unknown.
    """
    tables, laboratory = load_language(language), laboratory or Laboratory()
    case = {name: str(text) for name, text in result.slide.get("case", {}).items()}
    standing = signatures[-1] if signatures else None
    content = _reading(result, drawn, tables) | {
        "laboratory": laboratory,
        "accession_line": laboratory.accession_text(result.slide_id, case),
        "research": laboratory.intended_use == "research",
        "fields": signed.reader_fields(standing, tables),
        "signature": None if standing is None else signed.signature_line(standing, tables),
        "former": signed.former_lines(signatures, tables),
        "suggestion": signed.suggestion(standing, tables),
        "earlier": [_earlier_row(item, tables) for item in earlier],
    }
    return environment().get_template("report.html").render(content)


@cache
def environment() -> jinja2.Environment:
    """The templates of this package: everything escaped, an unknown name is an error."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("koilo.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        count=words.count,
        css_string=words.css_string,
        p=words.probability,
        percent=words.percent,
        plain=words.plain,
        seconds=words.seconds,
    )
    made.globals.update(
        negative_class=NEGATIVE,
        outline_at=OUTLINE_AT,
        page_font=markupsafe.Markup(_PAGE_FONT),
        worst_blur_um=pictures.WORST_BLUR_UM,
        koilo_version=koilo.__version__,
        canvas_width=marks.CANVAS_WIDTH,
        font_size=marks.FONT_SIZE,
        columns_of_gallery=GALLERY_COLUMNS,
    )
    return made


def _reading(result: SlideResult, drawn: Drawn, language: Language) -> dict[str, Any]:
    """What the program has to say: everything of the page but the reader's part."""
    scope = facts.build_scope(drawn.bundle, language)
    shown = [entry for group in drawn.groups for entry in group.cells]
    numbers = {entry.rank - 1: entry.number for entry in shown}
    return {
        "t": language,
        "result": result,
        "headline": facts.build_headline(result, language),
        "scope": scope,
        "bundle_name": drawn.bundle.get("name") or language.plain("unnamed"),
        "notices": facts.collect_notices(result, drawn.bundle, language),
        "specimen": rows.specimen_rows(result, language),
        "quality": _quality(result, language),
        "adequacy": rows.adequacy_text(result, language),
        "obscuring": rows.obscuring_text(result, language),
        "synthetic": facts.synthetic_kind(result),
        "is_field": result.slide.get("kind") == "field",
        "point": facts.find_operating_point(result, drawn.bundle, language),
        "bars": _bars(result.probabilities, language),
        "positive_texts": _positive_texts(result),
        "reasons": reasons.build_reasons(result, numbers, language),
        "hints": {
            entry.rank: reasons.organism_hints(entry.cell, result, language) for entry in shown
        },
        "groups": drawn.groups,
        "n_shown": len(shown),
        "contributed": any(entry.cell.contribution is not None for entry in shown),
        "outlined": any(entry.outline for entry in shown),
        "counts": gallery.class_counts(result.cells, scope.cell_classes),
        "scale_bar": _scale_bar(drawn.crop_side_um),
        "overview": _overview(result, drawn.groups, drawn.overview),
        "focus": drawn.focus,
        "focus_text": _focus_text(drawn, language),
        "provenance": rows.provenance_rows(result, language),
        "stages": rows.stage_rows(result.seconds, language),
        "measures": rows.measure_rows(result, language),
    }


def _quality(result: SlideResult, language: Language) -> str:
    quality = result.image_quality
    return language.plain("not_measured") if quality is None else language.phrase(quality.verdict)


def _bars(probabilities: Mapping[str, float], language: Language) -> tuple[Bar, ...]:
    return tuple(
        Bar(label, language.class_name(label), words.probability(p), 100 * min(max(p, 0.0), 1.0))
        for label, p in probabilities.items()
    )


def _positive_texts(result: SlideResult) -> tuple[str, str] | None:
    """``p_positive`` and the threshold, written so that the larger looks larger."""
    if result.p_positive is None or result.threshold is None:
        return None
    return words.told_apart(result.p_positive, result.threshold)


def _scale_bar(side_um: float | None) -> tuple[str, float] | None:
    """Length of the crops' side in words, and of 10 µm as a percentage of it."""
    if side_um is None:
        return None
    return f"{side_um:.0f} × {side_um:.0f} µm", min(100.0, 1000.0 / side_um)


def _overview(
    result: SlideResult, groups: Sequence[gallery.Group], drawn: OverviewPicture | None
) -> Overview | None:
    if drawn is None:
        return None
    height = marks.CANVAS_WIDTH / drawn.aspect
    shown = {entry.rank: entry for group in groups for entry in group.cells}
    points, dots, n_outside = [], [], 0
    for rank, cell in enumerate(result.cells, start=1):
        place = marks.to_canvas(*cell.centre_px0, drawn.frame_px0, height)
        if place is None:
            n_outside += 1
        elif rank in shown:
            radius = marks.ring_radius(max(cell.w_px0, cell.h_px0), drawn.frame_px0)
            points.append((shown[rank].number, *place, radius))
        else:
            dots.append(f"M{place[0]:.1f} {place[1]:.1f}h0")
    return Overview(
        picture=drawn.picture,
        aspect=drawn.aspect,
        height=height,
        marks=marks.place_marks(sorted(points), height),
        dots="".join(dots),
        n_outside=n_outside,
    )


def _focus_text(drawn: Drawn, language: Language) -> str:
    focus = drawn.focus
    if focus is None:
        return ""
    text = language.plain("focus.judged", n=words.count(focus.n_judged))
    if focus.n_out_of_focus is not None:
        text += language.plain(
            "focus.over",
            n=words.count(focus.n_out_of_focus),
            share=words.percent(focus.n_out_of_focus / focus.n_judged),
        )
    return text


def _earlier_row(earlier: Earlier, language: Language) -> EarlierRow:
    headline = facts.build_headline(earlier.result, language)
    return EarlierRow(
        slide_id=earlier.result.slide_id,
        collected_on=earlier.collected_on,
        headline=headline.text,
        suggestion=headline.suggestion or "–",
        signed=language.plain("earlier.unsigned")
        if earlier.signed is None
        else ", ".join(earlier.signed) or language.plain("interpretation.none"),
    )
