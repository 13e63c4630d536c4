"""A slide's report made anew from its folder: in any language, with what was signed meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from koilo.files import write_text
from koilo.report.drawn import Drawn, read_drawn
from koilo.report.earlier import Earlier, find_earlier
from koilo.report.laboratory import read_laboratory
from koilo.report.render import render_page
from koilo.results import REPORT, read_slide_result
from koilo.signatures import read_signatures, standing_signature
from koilo.types import SlideResult


def report_html(folder: Path, language: str | None = None) -> str:
    """One slide's report as HTML.

    Args:
        folder: the slide's results, ``DIR/<slide_id>``.
        language: ``en`` or ``zh``; default: that of laboratory.yaml.

    Raises:
        ConfigError: the language is unknown, or laboratory.yaml is malformed.
        OutputError: the folder holds no report, or its signature no longer fits the result.
    """
    standing_signature(folder)  # a page may not show a signature over something else
    return _page(folder, read_slide_result(folder), language)


def moved_report(folder: Path, result: SlideResult) -> str:
    """The unsigned report of a slide whose ``result`` names another place than before."""
    return _page(folder, result)


def rewrite_report(folder: Path, earlier: Sequence[Earlier] | None = None) -> None:
    """Write a slide's report.html anew; errors as of `report_html`.

    Args:
        folder: the slide's results.
        earlier: earlier slides of the case where they are known; else they are looked for.
    """
    standing_signature(folder)
    write_text(folder / REPORT, _page(folder, read_slide_result(folder), earlier=earlier))


def _page(
    folder: Path,
    result: SlideResult,
    language: str | None = None,
    earlier: Sequence[Earlier] | None = None,
) -> str:
    laboratory = read_laboratory(folder.parent)
    return render_page(
        result,
        Drawn({}) if result.status == "failed" else read_drawn(folder, result),
        signatures=read_signatures(folder),
        earlier=find_earlier(folder, result) if earlier is None else earlier,
        laboratory=laboratory,
        language=language or laboratory.language,
    )
