"""summary.md and index.html: what a run found, most suspicious first, and what went wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from koilo.errors import OutputError
from koilo.files import write_text
from koilo.progress import clock, log
from koilo.results import ranked
from koilo.signatures import Signature, standing_signature
from koilo.types import SlideResult

SUMMARY = "summary.md"
INDEX = "index.html"

_NOTICE = "Research use only: not for diagnosis. A reader signs the interpretation."


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run beside its results.

    ``growing`` are slides left for the next run; ``ignored`` files that are no slides, with the
    reason; ``read`` the ids of the slides that this run read; ``facts`` anything worth printing;
    ``signatures`` those that stand, by slide; ``signed`` slides left alone for being signed.
    """

    growing: Sequence[tuple[str, str]] = ()
    ignored: Sequence[tuple[str, str]] = ()
    read: frozenset[str] = frozenset()
    facts: Mapping[str, Any] | None = None
    signatures: Mapping[str, Signature] = field(default_factory=dict)
    signed: Sequence[tuple[str, str]] = ()


def write_summary(out: Path, results: Sequence[SlideResult], run: RunFacts) -> None:
    """Write ``summary.md`` and ``index.html`` into ``out``.

    Raises:
        OutputError: the disk is full or the folder cannot be written.
    """
    from koilo.report import render_index

    write_text(out / SUMMARY, render_summary(results, run))
    left = [(path, "still growing: left for the next run") for _, path in run.growing]
    page = render_index(
        results,
        ignored=[*left, *run.signed, *run.ignored],
        run_facts=run.facts,
        signatures=run.signatures,
    )
    write_text(out / INDEX, page)


def read_standing(out: Path, results: Sequence[SlideResult]) -> dict[str, Signature]:
    """The signature that stands of each signed slide; one that fits no more is left out."""
    found = {}
    for result in results:
        try:
            signature = standing_signature(out / result.slide_id)
        except OutputError as error:
            log.error("%s", error)
            continue
        if signature is not None:
            found[result.slide_id] = signature
    return found


def render_summary(results: Sequence[SlideResult], run: RunFacts) -> str:
    """The run's summary as Markdown."""
    order = ranked(results)
    done = [result for result in order if result.status == "done"]
    failed = [result for result in order if result.status == "failed"]
    n_review = sum(bool(result.positive) for result in done)
    head = (
        f"{len(results)} slides: {n_review} with review advised, "
        f"{sum(result.positive is False for result in done)} below the review threshold, "
        f"{sum(result.positive is None for result in done)} without a result, "
        f"{len(failed)} failed."
    )
    parts = ["# koilo screening", _NOTICE, head, "## Slides, most suspicious first"]
    parts.append(_table(_COLUMNS, [_row(n, r, run) for n, r in enumerate(done, start=1)]))
    parts += _section("Failed", ("slide", "why"), [(r.slide_id, r.error or "") for r in failed])
    parts += _section("Signed: not read again", ("slide", "why"), run.signed)
    parts += _section("Left for the next run (still growing)", ("slide", "path"), run.growing)
    parts += _section("Ignored", ("file", "why"), run.ignored)
    parts += _timing([result for result in done if result.slide_id in run.read])
    if run.facts:
        parts += _section("Run", ("what", "value"), [(k, str(v)) for k, v in run.facts.items()])
    return "\n\n".join(parts) + "\n"


_COLUMNS = (
    *("#", "slide", "result", "suggested for review", "p_positive", "threshold"),
    *("cells", "image quality", "adequacy", "flags", "needs a human", "signed"),
)


def _row(number: int, result: SlideResult, run: RunFacts) -> tuple[str, ...]:
    from koilo.report.language import load_language
    from koilo.report.reasons import human_text

    outcome = {True: "review advised", False: "below the review threshold", None: "no result"}
    quality, adequacy = result.image_quality, result.adequacy
    synthetic = result.slide.get("synthetic")
    flags = [*(quality.flags if quality else ()), *([f"SYNTHETIC: {synthetic}"] * bool(synthetic))]
    return (
        str(number),
        result.slide_id,
        outcome[result.positive],
        (result.label or "") if result.positive else "",
        "" if result.p_positive is None else f"{result.p_positive:.4f}",
        "" if result.threshold is None else f"{result.threshold:.4f}",
        str(result.n_cells),
        quality.verdict if quality else "",
        adequacy.verdict if adequacy else "",
        "; ".join(flags),
        human_text(result, load_language("en")),
        _signed(run.signatures.get(result.slide_id)),
    )


def _signed(signature: Signature | None) -> str:
    if signature is None:
        return ""
    classes = ", ".join(signature.interpretation) or "unsatisfactory"
    return f"{classes} ({signature.meaning} by {signature.reader})"


def _timing(read: Sequence[SlideResult]) -> list[str]:
    if not read:
        return ["## Time", "No slide was read in this run."]
    stages = list(dict.fromkeys(stage for result in read for stage in result.seconds))
    rows = []
    for stage in stages:
        total_s = sum(result.seconds.get(stage, 0.0) for result in read)
        rows.append((stage, clock(total_s), f"{total_s / len(read):.2f}"))
    title = f"## Time of the {len(read)} slides read in this run"
    return [title, _table(("stage", "all", "seconds a slide"), rows)]


def _section(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]
) -> tuple[str, ...] | list[str]:
    rows = list(rows)
    return (f"## {title}", _table(columns, rows)) if rows else ()


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: str) -> str:
    """A value that cannot break out of its cell."""
    return " ".join(str(value).replace("\\", "\\\\").replace("|", "\\|").split())
