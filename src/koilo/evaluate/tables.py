"""The tables of an evaluation: as CSV files, and as Markdown inside evaluation.md."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from koilo.files import write_text

Row = Sequence[Any]


@dataclass(frozen=True)
class Table:
    """A title, the columns, and rows of plain values (None where there is no figure)."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Row]


def evaluation_tables(values: Mapping[str, Any]) -> dict[str, Table]:
    """The tables that the measures give, by file name without ending; none that would be empty.

    Args:
        values: as `koilo.evaluate.measures.measure_set` gives them.
    """
    tables: dict[str, Table | None] = {
        "centres": _centres(values["centres"]),
        "classes": _classes(values.get("locked")),
        "predictive": _predictive(values.get("locked")),
        "confusion": _confusion(values.get("grading")),
        "top_cells": _top_cells(values.get("cells")),
        "mismatch": _mismatch(values.get("cells")),
        "against": _against(values.get("against")),
        "costs": _costs(values.get("costs")),
        **_cost_confusions(values.get("costs")),
        "reliability": _reliability(values.get("calibration")),
        "decision_curve": _decision_curve(values.get("decision_curve")),
        "not_judged": _not_judged(values["slides"]),
    }
    return {name: table for name, table in tables.items() if table and table.rows}


def write_csv(path: Path, table: Table) -> None:
    """Write a table as UTF-8 CSV; None becomes an empty field."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(["" if value is None else value for value in row] for row in table.rows)
    write_text(path, buffer.getvalue())


def markdown(table: Table) -> str:
    """A table as Markdown under its title; the bounds of an interval stand behind its estimate."""
    columns = list(table.columns)
    kept = [i for i, name in enumerate(columns) if not name.endswith(("_low", "_high"))]
    lines = [
        f"### {table.title}",
        "",
        _line([columns[i] for i in kept]),
        _line(["---"] * len(kept)),
    ]
    for row in table.rows:
        lines.append(_line([_cell(columns, row, i) for i in kept]))
    return "\n".join([*lines, ""])


def _line(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _cell(columns: Sequence[str], row: Row, place: int) -> str:
    shown = _shown(row[place])
    has_bounds = columns[place + 1 : place + 2] == [f"{columns[place]}_low"]
    if not has_bounds or row[place + 1] is None:
        return shown
    return f"{shown} ({_shown(row[place + 1])} to {_shown(row[place + 2])})"


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.1e}" if 0 < abs(value) < 0.0005 else f"{value:.3f}"


def _spread(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


def _bounds(interval: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    return interval["estimate"], interval["low"], interval["high"]


def _centres(rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = ["centre", "n", "n_positive"]
    for name in ("auc", "sensitivity", "specificity", "spec_at_sens95"):
        columns += _spread(name)
    return Table(
        "By centre",
        columns,
        [
            [
                row["centre"], row["n"], row["n_positive"], *_bounds(row["auc"]),
                *_bounds(row["sensitivity"]), *_bounds(row["specificity"]),
                *_bounds(row["spec_at_sens95"]),
            ]
            for row in rows
        ],
    )  # fmt: skip


def _classes(locked: Mapping[str, Any] | None) -> Table | None:
    if locked is None:
        return None
    return Table(
        "Missed slides by class, at the locked threshold",
        ["class", "n", "missed", *_spread("sensitivity")],
        [
            [row["name"], row["n"], row["n_missed"], *_bounds(row["sensitivity"])]
            for row in [*locked["missed_by_class"], *locked["groups"]]
        ],
    )


def _predictive(locked: Mapping[str, Any] | None) -> Table | None:
    if locked is None or "predictive" not in locked:
        return None
    columns = [
        "prevalence",
        *_spread("ppv"),
        *_spread("npv"),
        "flagged_per_1000",
        "missed_per_1000",
    ]
    rows = [
        [
            row["prevalence"], *_bounds(row["ppv"]), *_bounds(row["npv"]),
            row["flagged_per_1000"], row["missed_per_1000"],
        ]
        for row in locked["predictive"]
    ]  # fmt: skip
    return Table(
        "Predictive values by prevalence; bounds where both rates stand at theirs", columns, rows
    )


def _confusion(grading: Mapping[str, Any] | None) -> Table | None:
    if grading is None:
        return None
    rows = zip(grading["classes"], grading["table"], grading["f1"], strict=True)
    return Table(
        "Truth (rows) against call (columns)",
        ["truth", *grading["classes"], *_spread("f1")],
        [[name, *counts, *_bounds(f1)] for name, counts, f1 in rows],
    )


def _top_cells(cells: Mapping[str, Any] | None) -> Table | None:
    if cells is None or "top_k_recall" not in cells:
        return None
    found = cells["precision_at_top_32"]
    rows = [
        [
            f"precision@32, {name.replace('_', ' ')}", row["label"], row["n_slides"],
            *_bounds(row["precision"]),
        ]
        for name, rows in found.items()
        for row in rows
    ]  # fmt: skip
    rows += [
        [f"recall@{k}, by detector score", "all", None, *_bounds(share)]
        for k, share in cells["top_k_recall"].items()
    ]
    title = f"Lesion cells among the best of a slide ({cells['n_lesion_cells']} labelled)"
    return Table(title, ["measure", "slide class", "slides", *_spread("share")], rows)


def _mismatch(cells: Mapping[str, Any] | None) -> Table | None:
    if cells is None:
        return None
    rows = [[row["slide"], row["leading_cell"], row["n"]] for row in cells["mismatch"]]
    title = "Slide class (truth) against the class that leads among its 32 most suspicious cells"
    return Table(title, ["slide", "leading cell class", "slides"], rows)


def _against(found: Mapping[str, Any] | None) -> Table | None:
    if found is None:
        return None
    columns = ["measure", "first", "second", *_spread("difference"), "p", "how"]
    rows = [
        [
            row["measure"], row["first"], row["second"], *_bounds(row["difference"]),
            row["p"], row["how"],
        ]
        for row in found["rows"]
    ]  # fmt: skip
    title = f"Against the other method, on {found['n']} slides, {found['n_positive']} positive"
    return Table(title, columns, rows)


def _costs(costs: Mapping[str, Any] | None) -> Table | None:
    if costs is None:
        return None
    rows = [[row["call"], *_bounds(row["mean_cost"])] for row in costs["calls"]]
    rows.append(["likeliest less cheapest", *_bounds(costs["likeliest_less_cheapest"])])
    title = f"Mean cost of a call by the table {costs['source']}, in this set's mix"
    return Table(title, ["call", *_spread("mean_cost")], rows)


def _cost_confusions(costs: Mapping[str, Any] | None) -> dict[str, Table]:
    """The table of the locked threshold stands in ``confusion`` already."""
    if costs is None:
        return {}
    return {
        f"confusion_{row['call']}": Table(
            f"Truth (rows) against the {row['call']} class",
            ["truth", *costs["classes"]],
            [[name, *counts] for name, counts in zip(costs["classes"], row["table"], strict=True)],
        )
        for row in costs["calls"][:2]
    }


def _reliability(calibration: Mapping[str, Any] | None) -> Table | None:
    if calibration is None:
        return None
    diagram = calibration["diagram"]
    columns = ("p_mean", "observed", "weight")
    rows = list(zip(*(diagram[name] for name in columns), strict=True))
    return Table("Predicted against observed, bins of equally many slides", columns, rows)


def _decision_curve(found: Mapping[str, Any] | None) -> Table | None:
    if found is None:
        return None
    columns = ("threshold", "model", "treat_all")
    rows = list(zip(*(found["curve"][name] for name in columns), strict=True))
    return Table("Net benefit a slide; acting on none is 0", columns, rows)


def _not_judged(slides: Mapping[str, Any]) -> Table:
    rows = [[row["slide_id"], row["label"], row["why"]] for row in slides["without_result"]]
    rows += [[name, None, "no label"] for name in slides["unlabelled"]]
    return Table("Slides that count in no measure", ["slide_id", "label", "why"], rows)
