"""evaluation.md: the measures of a set as a person reads them, what they rest on first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from koilo.evaluate.tables import Table, markdown

FEW_POSITIVES = 60
"""Below this many positives a sensitivity near 95 % is uncertain by more than 11 points."""

_SHOWN_UNJUDGED = 20
_IN_TEXT = (
    "centres", "classes", "predictive", "confusion", "costs", "confusion_likeliest",
    "confusion_cheapest", "against", "top_cells", "mismatch",
)  # fmt: skip


def write_up(
    values: Mapping[str, Any],
    tables: Mapping[str, Table],
    pictures: Sequence[str],
    facts: Mapping[str, str],
) -> str:
    """The evaluation as Markdown.

    Args:
        values: as `koilo.evaluate.measures.measure_set` gives them.
        tables: of `koilo.evaluate.tables.evaluation_tables`.
        pictures: file names beside the page.
        facts: what was compared with what, for the top.
    """
    parts = [
        "# Evaluation\n",
        "Research use only: not for diagnosis.\n",
        "\n".join(f"- {name}: {value}" for name, value in facts.items()) + "\n",
        "## The slides\n",
        *_slides(values["slides"]),
        "## The score\n",
        *_score(values),
        *[markdown(tables[name]) for name in _IN_TEXT if name in tables],
        *[f"![{name.rsplit('.', 1)[0].replace('_', ' ')}]({name})\n" for name in pictures],
        *_unjudged(tables.get("not_judged")),
    ]
    return "\n".join(parts)


def span(interval: Mapping[str, Any]) -> str:
    """An interval as text: the estimate, and its bounds where there are any."""
    if interval["estimate"] is None:
        return "–"
    if interval["low"] is None:
        return _figure(interval["estimate"])
    return f"{interval['estimate']:.3f} ({interval['low']:.3f} to {interval['high']:.3f})"


def _slides(slides: Mapping[str, Any]) -> list[str]:
    unread = slides["without_result"]
    n_positive = slides["n_positive"]
    classes = ", ".join(f"{name} {n}" for name, n in slides["by_label"].items())
    lines = [
        f"{slides['n']} slides; **{slides['n_judged']} are judged** (label and result), "
        f"{n_positive} of them positive: {classes or 'none'}.",
        f"{len(unread)} have a label but no result, {len(slides['unlabelled'])} no label. "
        "They count in no measure below, except where it says so: a slide without a result is "
        "neither negative nor positive, a person has to look at it.",
    ]
    if slides["n_fields"]:
        lines.append(
            f"{slides['n_fields']} of the judged are single fields, with a threshold of their own."
        )
    if slides["n_synthetic"]:
        lines.append(f"{slides['n_synthetic']} of the judged are synthetic: no clinical claim.")
    if 0 < n_positive < FEW_POSITIVES:
        lines.append(f"**Only {n_positive} positives**: read the intervals, not the estimates.")
    return ["\n".join(lines) + "\n"]


def _score(values: Mapping[str, Any]) -> list[str]:
    rows: list[list[str]] = []
    ranking, locked = values["ranking"], values["locked"]
    if ranking:
        rows += [
            ["AUC", span(ranking["auc"]), "DeLong"],
            [
                "specificity at sensitivity 95 %", span(ranking["spec_at_sens95"]),
                "threshold from this very set; bootstrap within positives and negatives",
            ],
        ]  # fmt: skip
    if locked:
        rows += _locked_rows(locked)
    rows += _grading_rows(values["grading"])
    calibration = values["calibration"]
    if calibration:
        rows += _calibration_rows(calibration)
    shifted = values.get("calibration_at_prevalence")
    if shifted:
        said = f"p shifted and slides weighted to a prevalence of {shifted['prevalence']:.0%}"
        rows.append(["ECE, bins of equal mass", span(shifted["ece_equal_mass"]), said])
    notes = [] if ranking else ["No AUC and no specificity: a class is absent.\n"]
    slides = values["slides"]
    if not locked:
        missing = f"{slides['n_without_threshold']} of the {slides['n_judged']} judged slides"
        notes.append(f"No locked measures: {missing} came without a threshold.\n")
    title = "Measures, with 95 % intervals in brackets"
    return [*notes, markdown(Table(title, ["measure", "", "how"], rows))]


def _calibration_rows(calibration: Mapping[str, Any]) -> list[list[str]]:
    cooled = _figure(calibration["ece_equal_mass_at_temperature"])
    fitted = f"fitted here; ECE with it {cooled}, on the same slides"
    if calibration["no_temperature"]:
        fitted = f"none is stated: {calibration['no_temperature']}, and the fit runs to its bound"
    return [
        [
            "ECE, bins of equal mass", span(calibration["ece_equal_mass"]),
            f"{_figure(calibration['ece_by_chance'])} on average if every p were right; "
            "bootstrap within positives and negatives",
        ],
        ["ECE, bins of equal width", span(calibration["ece_equal_width"]), "the same draws"],
        ["Brier score", span(calibration["brier"]), "the same draws"],
        ["temperature", _figure(calibration["temperature"]), fitted],
    ]  # fmt: skip


def _locked_rows(locked: Mapping[str, Any]) -> list[list[str]]:
    unread, load = locked["unread_slides"], locked["workload"]
    thresholds = ", ".join(f"{name} ({n} slides)" for name, n in locked["thresholds"].items())
    rows = [
        ["sensitivity, locked", span(locked["sensitivity"]), f"threshold {thresholds}"],
        ["specificity, locked", span(locked["specificity"]), "the same threshold"],
        [
            "all slides ruled out",
            span(locked["ruled_out"]),
            "below the threshold, in this set's mix",
        ],
        ["positive among the ruled out", _figure(load["missed_of_ruled_out"]), "in this set's mix"],
    ]
    if "workload_at_prevalence" in locked:
        other = locked["workload_at_prevalence"]
        said = f"at a prevalence of {other['prevalence']:.0%}"
        rows.append(["all slides ruled out", _figure(other["all_ruled_out"]), said])
    if unread["n_positive"] or unread["n_negative"]:
        said = f"counting {unread['n_positive']} positives without a result"
        rows += [
            ["sensitivity", span(unread["sensitivity_if_missed"]), f"{said} as missed"],
            [
                "sensitivity", span(unread["sensitivity_if_a_reader_finds_them"]),
                f"{said} as found by the person who looks",
            ],
            [
                "specificity", span(unread["specificity_if_a_reader_sees_them"]),
                f"counting {unread['n_negative']} negatives without a result as not ruled out",
            ],
        ]  # fmt: skip
    return rows


def _grading_rows(grading: Mapping[str, Any] | None) -> list[list[str]]:
    if not grading:
        return []
    rows = [["macro-F1", span(grading["macro_f1"]), "bootstrap within classes"]]
    if grading["never_called"]:
        rows[0][2] += f"; the model never calls {', '.join(grading['never_called'])}"
    control = _figure(grading["always_negative"]["macro_f1"])
    rows += [
        ["macro-F1, every slide called NILM", control, "the control; its kappa is 0"],
        ["Cohen's kappa", span(grading["kappa"]), "classes as in the table"],
        ["kappa, linear", span(grading["kappa_linear"]), "classes by gravity"],
        ["kappa, quadratic", span(grading["kappa_quadratic"]), "classes by gravity"],
    ]
    if "at_prevalence" in grading:
        other = grading["at_prevalence"]
        said = f"reweighted to a prevalence of {other['prevalence']:.0%}"
        rows += [
            ["macro-F1", span(other["macro_f1"]), said],
            ["Cohen's kappa", span(other["kappa"]), said],
        ]
    return rows


def _unjudged(table: Table | None) -> list[str]:
    if table is None:
        return []
    shown = Table(table.title, table.columns, table.rows[:_SHOWN_UNJUDGED])
    n_more = len(table.rows) - len(shown.rows)
    return [markdown(shown), *([f"And {n_more} more in not_judged.csv.\n"] if n_more else [])]


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
