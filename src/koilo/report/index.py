"""The page over a whole run: every slide in one ranked list, the most suspicious first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from koilo.report import facts, words
from koilo.report.language import load_language
from koilo.report.reasons import human_text
from koilo.report.render import environment
from koilo.signatures import Signature
from koilo.types import SlideResult


@dataclass(frozen=True, slots=True)
class Row:
    """One slide's line; ``link`` is None for a failed slide, which has no report."""

    result: SlideResult
    headline: facts.Headline
    link: str | None
    p_text: str
    threshold_text: str
    flags: tuple[str, ...]
    human: str
    synthetic: str | None
    signed: str


def render_index(
    results: Sequence[SlideResult],
    ignored: Sequence[str | tuple[str, str]] = (),
    run_facts: Mapping[str, Any] | None = None,
    signatures: Mapping[str, Signature] | None = None,
) -> str:
    """``index.html`` of a run: slides by p_positive, highest first; what failed; what was ignored.

    Args:
        results: of the run, in any order.
        ignored: files that were not read: a path, or a path and the reason.
        run_facts: what else is known of the run (started, bundle, seconds …), nested as one likes.
        signatures: the standing signature of each slide that is signed, by slide_id.

    Returns:
        HTML that links ``<slide_id>/report.html`` beside it and nothing else.
    """
    signed = signatures or {}
    rows = [_row(result, signed.get(result.slide_id)) for result in sorted(results, key=_rank)]
    read = [row for row in rows if row.result.status != "failed"]
    ranked = [row for row in read if row.result.p_positive is not None]
    return (
        environment()
        .get_template("index.html")
        .render(
            t=load_language("en"),
            ranked=ranked,
            unjudged=[row for row in read if row.result.p_positive is None],
            failed=[row for row in rows if row.result.status == "failed"],
            n_slides=len(rows),
            n_signed=sum(bool(row.signed) for row in rows),
            n_review=sum(row.headline.outcome == "review" for row in ranked),
            n_below=sum(row.headline.outcome == "below" for row in ranked),
            n_human=sum(bool(row.result.needs_human) for row in read),
            n_rescan=sum("rescan" in (_verdict(row.result) or "") for row in read),
            synthetic=sorted({row.synthetic for row in rows if row.synthetic}),
            ignored=[(item, "") if isinstance(item, str) else tuple(item) for item in ignored],
            run_facts=tuple(words.flat_rows(run_facts or {})),
        )
    )


def _rank(result: SlideResult) -> tuple[float, str]:
    return -(result.p_positive if result.p_positive is not None else -1.0), result.slide_id


def _verdict(result: SlideResult) -> str | None:
    return result.image_quality.verdict if result.image_quality is not None else None


def _row(result: SlideResult, signature: Signature | None) -> Row:
    p_text, threshold_text = (
        words.probability(result.p_positive),
        words.probability(result.threshold),
    )
    if result.p_positive is not None and result.threshold is not None:
        p_text, threshold_text = words.told_apart(result.p_positive, result.threshold)
    failed = result.status == "failed"
    return Row(
        result=result,
        headline=facts.build_headline(result, load_language("en")),
        link=None if failed else f"./{quote(result.slide_id)}/report.html",
        p_text=p_text,
        threshold_text=threshold_text,
        flags=tuple(result.image_quality.flags) if result.image_quality is not None else (),
        human=human_text(result, load_language("en")) if result.needs_human else "",
        synthetic=facts.synthetic_kind(result),
        signed="" if signature is None else _signed(signature),
    )


def _signed(signature: Signature) -> str:
    return f"{', '.join(signature.interpretation) or 'unsatisfactory'} ({signature.meaning})"
