"""A study's report for a person: the same sections as Markdown and as a page of HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jinja2

from koilo.evaluate.tables import Table, markdown
from koilo.report.render import environment
from koilo.report.words import RESEARCH_USE
from koilo.study.shares import Values
from koilo.study.tables import span

_SHOWN_NAMES = 12
_WIDEST = 0.6
"""Differences drawn: the axis shows no more than ±60 points."""


@dataclass(frozen=True)
class ForestRow:
    """One line of the picture of differences; places are percentages of its width."""

    name: str
    text: str
    low: float
    high: float
    estimate: float


@dataclass(frozen=True)
class Forest:
    """Differences with their intervals, the margins, and the axis in percentage points."""

    rows: tuple[ForestRow, ...]
    margins: tuple[tuple[float, str], ...]
    ticks: tuple[tuple[float, str], ...]


def render_markdown(values: Values, tables: Mapping[str, Table], facts: Mapping[str, str]) -> str:
    """The report as Markdown.

    Args:
        values: as `koilo.study.measures.measure_study` gives them.
        tables: of `koilo.study.tables.study_tables`.
        facts: what the figures rest on, for the top.
    """
    parts = [
        "# Reader study\n",
        f"{RESEARCH_USE}\n",
        "\n".join(f"- {name}: {value}" for name, value in facts.items()) + "\n",
        f"{summary(values)}\n",
        *[f"**{notice}**\n" for notice in values["notices"]],
        "## Key points\n",
        "\n".join(f"- {line}" for line in key_lines(values)) + "\n",
        "## Figures\n",
        f"{methods(values)}\n",
        *map(markdown, tables.values()),
    ]
    return "\n".join(parts)


def render_html(values: Values, tables: Mapping[str, Table], facts: Mapping[str, str]) -> str:
    """The report as a page that needs no network, no script and no other file; as Markdown's."""
    return (
        _templates()
        .get_template("study.html")
        .render(
            facts=facts,
            summary=summary(values),
            notices=values["notices"],
            key_lines=key_lines(values),
            holds=values["key_points"]["missed_above_limit"]["holds"],
            methods=methods(values),
            forest=forest(values),
            conditions=values["conditions"],
            tables=list(tables.values()),
        )
    )


def summary(values: Values) -> str:
    """What was compared, in a sentence or two."""
    counts = values["counts"]
    gold = ", ".join(f"{name} {n}" for name, n in counts["gold"].items())
    return (
        f"{counts['n_slides']} slides, {counts['n_positive']} of them positive by the gold "
        f"standard ({gold}); {counts['n_readings']} readings, {counts['n_compared']} of them "
        f"compared ({' against '.join(values['conditions'])}); readers: "
        f"{counts['n_readers'] or 'not named'}, hospitals: {counts['n_hospitals'] or 'not named'}."
    )


def key_lines(values: Values) -> list[str]:
    """The key points of a trial as STRIDE states them, each with its figures and names."""
    points = values["key_points"]
    graver, cleared = points["missed_above_limit"], points["arbitrated_to_negative"]
    at_limit = points["missed_at_limit"]
    return [
        f"Above {graver['limit']} by gold: {graver['n_slides']} slides. Missed by the AI: "
        f"{_named(graver['by_ai'])}; in every review: {_named(graver['by_a_person'])}; by both: "
        f"{_named(graver['by_both'])}; by the AI and one review: "
        f"{_named(graver['by_one_review'])}.",
        f"{graver['limit']} by gold: {at_limit['n_slides']} slides. Missed by the AI: "
        f"{_named(at_limit['by_ai'])}; by the AI and in every review: "
        f"{_named(at_limit['by_both'])}.",
        f"Made NILM by arbitration: {_named(cleared['slides'])}. Suspected by one panel reader: "
        f"{_named(cleared['suspected_by_one_panel_reader'])}; by both: "
        f"{_named(cleared['suspected_by_both'])}; in a review: "
        f"{_named(cleared['suspected_in_a_review'])}.",
    ]


def methods(values: Values) -> str:
    """How the intervals were made."""
    clustered = any(found and found["clustered"] for found in values["shares"].values())
    how = (
        "Slides were read by several readers: intervals come from resampling slides and readers "
        "together, McNemar's test counts each slide once (Durkalski; readers as they are), and "
        "confusions by hospital have no intervals."
        if clustered
        else "Each slide was read by one reader: shares have Wilson's intervals, differences "
        "Tango's score intervals, and McNemar's test is exact."
    )
    return (
        f"{how} Kappas are resampled. A call is positive where it is anything but NILM. Several "
        "classes count as the most severe. A claim is shown where the lower bound of the 95 % "
        "interval lies above the margin; nothing is corrected for the number of claims."
    )


def forest(values: Values) -> Forest | None:
    """The differences of the study, its readers and its arms, as places in a picture."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    for measure, share in values["shares"].items():
        if share:
            found.append((f"{measure}, all", share["difference"]))
        groups = [
            *values["readers"],
            *({**row, "name": f"arm {row['name']}"} for row in values["arms"]),
        ]
        found += [
            (f"{measure}, {row['name']}", row[measure]["difference"])
            for row in groups
            if row["name"] and row[measure]
        ]
    if not found:
        return None
    margins = sorted({claim["margin"] for share in values["shares"].values() if share
                      for claim in share["claims"]})  # fmt: skip
    bounds = [abs(each[key]) for _, each in found for key in ("low", "high")]
    half = min(_WIDEST, max(0.1, *bounds))

    def place(value: float) -> float:
        return round(50 + 50 * max(-1.0, min(1.0, value / half)), 2)

    rows = tuple(
        ForestRow(
            name, span(each, signed=True), place(each["low"]), place(each["high"]),
            place(each["estimate"]),
        )
        for name, each in found
    )  # fmt: skip
    step = 0.1 if half > 0.15 else 0.05
    ticks = [step * number for number in range(-int(half / step), int(half / step) + 1)]
    return Forest(
        rows,
        tuple((place(margin), f"{margin:+.0%}") for margin in margins if margin),
        tuple((place(tick), f"{100 * tick:+.0f}" if round(tick, 6) else "0") for tick in ticks),
    )


def _named(names: Sequence[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return f"{len(names)} ({', '.join(names[:_SHOWN_NAMES])}{more})"


@cache
def _templates() -> jinja2.Environment:
    """The report's own look and filters, with this part's templates."""
    shared = environment()
    assert shared.loader is not None
    own = jinja2.PackageLoader("koilo.study", "templates")
    return shared.overlay(loader=jinja2.ChoiceLoader([own, shared.loader]))
