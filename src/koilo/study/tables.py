"""The tables of a study's report, the same for Markdown, HTML and CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from koilo.evaluate.tables import Table
from koilo.study.shares import Values


def study_tables(values: Values) -> dict[str, Table]:
    """The tables that the statistics give, by file name without ending; none that is empty.

    Args:
        values: as `koilo.study.measures.measure_study` gives them.
    """
    tables = {
        "shares": _shares(values),
        "claims": _claims(values),
        "kappa": _kappa(values),
        "times": _times(values),
        "by_class": _by_class(values),
        "hospitals": _hospitals(values),
        "readers": _rows("By reader", values["readers"], values["conditions"]),
        "arms": _rows("By arm of the crossover", values["arms"], values["conditions"]),
        **_class_tables(values),
        "left_out": _left_out(values),
    }
    return {name: table for name, table in tables.items() if table.rows}


def span(interval: Mapping[str, Any] | None, *, signed: bool = False, decimals: int = 3) -> str:
    """An interval in words; its estimate alone where it has no bounds, ``–`` without a figure."""
    if interval is None or interval["estimate"] is None:
        return "–"
    form = f"{'+' if signed else ''}.{decimals}f"
    if interval["low"] is None:
        return f"{interval['estimate']:{form}}"
    return f"{interval['estimate']:{form}} ({interval['low']:{form}} to {interval['high']:{form}})"


def p_value(p: float | None) -> str:
    """A p in words.

    >>> p_value(0.03218), p_value(0.00001), p_value(None)
    ('0.032', '<0.001', '–')
    """
    if p is None:
        return "–"
    return "<0.001" if p < 0.0005 else f"{p:.3f}"


def _shares(values: Values) -> Table:
    alone = values["ai_alone"] or {}
    rows: list[list[Any]] = []
    for name, found in values["shares"].items():
        ai = span(alone.get(name))
        if found is None:
            rows.append([name, 0, "–", "–", "–", "–", "–", ai])
            continue
        rows.append(
            [
                name, found["n_readings"], span(found["first"]), span(found["second"]),
                span(found["difference"], signed=True),
                f"{found['only_first_right']} / {found['only_second_right']}",
                p_value(found["mcnemar"]["p"]), ai,
            ]
        )  # fmt: skip
    first, second = values["conditions"]
    columns = ["", "readings", first, second, "difference", "right only in first / second",
               "McNemar p", "AI alone"]  # fmt: skip
    return Table("Sensitivity and specificity, 95 % intervals", columns, rows)


def _claims(values: Values) -> Table:
    rows = [
        [
            name, f"{claim['claim']} ({claim['margin']:+.0%})",
            f"{found['difference']['low']:+.3f}", "yes" if claim["shown"] else "no",
            p_value(claim["p_one_sided"]),
        ]
        for name, found in values["shares"].items()
        if found
        for claim in found["claims"]
    ]  # fmt: skip
    columns = ["", "claim (margin)", "lower bound", "shown", "one-sided p"]
    second = values["conditions"][1]
    return Table(f"Claims: {second} against {values['conditions'][0]}", columns, rows)


def _kappa(values: Values) -> Table:
    rows = [
        [
            row["kappa"],
            span(row["first"]),
            span(row["second"]),
            span(row["difference"], signed=True),
        ]
        for row in values["kappa"]
    ]
    panel = values["panel"]
    if panel["n_slides"]:
        same = f"{panel['n_same_call']} of {panel['n_slides']} calls the same"
        agree = "–" if panel["kappa"] is None else f"{panel['kappa']:.3f}"
        rows.append([f"panel reader 1 to 2, classes ({same})", agree, "", ""])
    return Table("Cohen's kappa to gold", ["", *values["conditions"], "difference"], rows)


def _times(values: Values) -> Table:
    times = values["times"]
    rows = []
    if times:
        first, second = values["conditions"]
        rows = [
            [f"median seconds, {first}", span(times["first"], decimals=1), ""],
            [f"median seconds, {second}", span(times["second"], decimals=1), ""],
            [
                "median of paired differences, seconds",
                span(times["difference"], signed=True, decimals=1), p_value(times["p"]),
            ],
            ["median of paired ratios", span(times["ratio"], decimals=2), ""],
        ]  # fmt: skip
        return Table(f"Reading time of {times['n']} pairs", ["", "", "sign test p"], rows)
    return Table("Reading time", ["", "", "sign test p"], rows)


def _by_class(values: Values) -> Table:
    first, second = values["conditions"]
    columns = ["gold", "readings", f"called positive, {first}", f"called positive, {second}",
               f"this class, {first}", f"this class, {second}"]  # fmt: skip
    rows = [
        [
            row["class"], row["n"], row["first_positive"], row["second_positive"],
            row["first_same_class"], row["second_same_class"],
        ]
        for row in values["by_class"]
    ]  # fmt: skip
    return Table("By gold standard (the most severe class where there are several)", columns, rows)


def _hospitals(values: Values) -> Table:
    columns = ["hospital", "", "found", "missed", "cleared", "false alarms", "sensitivity",
               "specificity"]  # fmt: skip
    rows = [
        [
            row["hospital"] or "not named", row["who"], row["true_positive"],
            row["false_negative"], row["true_negative"], row["false_positive"],
            span(row["sensitivity"]), span(row["specificity"]),
        ]
        for row in values["hospitals"]
    ]  # fmt: skip
    return Table("Confusion by hospital, positive or not (AI: once a slide)", columns, rows)


def _rows(title: str, rows: Sequence[Mapping[str, Any]], conditions: Sequence[str]) -> Table:
    columns = ["", "measure", "readings", *conditions, "difference", "McNemar p"]
    body = [
        [
            row["name"] or "not named", measure, found["n_readings"], span(found["first"]),
            span(found["second"]), span(found["difference"], signed=True),
            p_value(found["mcnemar"]["p"]),
        ]
        for row in rows
        for measure in ("sensitivity", "specificity")
        if (found := row[measure])
    ]  # fmt: skip
    return Table(title, columns, body)


def _class_tables(values: Values) -> dict[str, Table]:
    """Gold against calls, of all and by hospital; classes that occur nowhere are left out."""
    classes = values["classes"]
    tables = [row["table"] for row in values["class_tables"]]
    used = [
        i
        for i in range(len(classes))
        if any(sum(table[i]) + sum(row[i] for row in table) for table in tables)
    ]
    found = {}
    for number, row in enumerate(values["class_tables"], start=1):
        where = "" if row["hospital"] == "all" else f", {row['hospital'] or 'hospital not named'}"
        found[f"confusion_{number}"] = Table(
            f"Gold (rows) against calls (columns), {row['who']}{where}",
            ["gold", *(classes[i] for i in used)],
            [[classes[i], *(row["table"][i][j] for j in used)] for i in used],
        )
    return found


def _left_out(values: Values) -> Table:
    rows = [[row["reading"], row["why"]] for row in values["left_out"]]
    return Table("Readings that count in no comparison", ["reading", "why"], rows)
