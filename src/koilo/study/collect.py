"""The verb ``study record``: join the filled forms of a study into one trial record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from koilo.errors import ManifestError
from koilo.evaluate.slide_scores import read_slide_scores
from koilo.progress import log
from koilo.study import forms
from koilo.study.allocation import PERIODS, Assignment
from koilo.study.plan import Plan, read_plan
from koilo.study.record import Reading, gold_of, read_record, write_record
from koilo.study.words import POSITIVE
from koilo.taxonomy import NEGATIVE

_NAMED = 5


@dataclass(frozen=True)
class RecordConfig:
    """Which study's forms are joined, and where the AI's own results come from."""

    study: Path = field(metadata={"positional": "one"})
    """the folder of the plan, with the filled forms in forms/"""
    out: Path = field(metadata={"result": False})
    """the CSV file to write: one row a slide and reader"""
    ai: Path | None = None
    """results folder of `koilo screen` of these slides; default: forms/ai.csv"""


def record(config: RecordConfig) -> int:
    """Join the filled forms of a study into one trial record, checked.

    Slides on which the panel readers differ need an arbitration: its blank form is written, and
    nothing else happens until it is filled in.

    Returns:
        exit status 0.

    Raises:
        ConfigError: the folder holds no plan.
        ManifestError: a form is missing or wrong, or an arbitration is outstanding.
        OutputError: the record cannot be written.
    """
    plan = read_plan(config.study)
    panel = _read_panel(config.study, plan)
    arbitration = _read_arbitration(config.study, plan, panel)
    results = _read_ai(config, plan)
    readings: list[Reading] = []
    for reader in plan.readers:
        mine = plan.of_reader(reader)
        filled = [_read_period(config.study, plan, mine, period) for period in PERIODS]
        for each in mine:
            rows = [rows.get(each.slide_id) for rows in filled]
            readings.append(_joined(each, rows, plan, panel, arbitration, results))
    write_record(config.out, readings)
    read_record(config.out)  # dates in a wrong order and the like are said now, not at the report
    missing = [reading.name for reading in readings if not reading.complete]
    if missing:
        shown = ", ".join(missing[:_NAMED]) + (" …" if len(missing) > _NAMED else "")
        log.warning("Warning: %d readings lack a review: %s", len(missing), shown)
    log.info("%d readings of %d slides: %s", len(readings), len(plan.hospitals), config.out)
    return 0


def _read_panel(folder: Path, plan: Plan) -> dict[str, dict[str, str]]:
    """The calls of both panel readers; a slide without them has no gold standard."""
    panel = {}
    for name, order in plan.panel_orders.items():
        path = forms.panel_form(folder, name)
        panel[name] = forms.read_panel_form(path, plan.study, name, order)
        missing = [slide_id for slide_id in order if slide_id not in panel[name]]
        if missing:
            raise ManifestError(
                f"{path} lacks the call of {len(missing)} slides ({', '.join(missing[:_NAMED])}). "
                "Gold needs both panel readers on every slide. Fill it in."
            )
    return panel


def _read_arbitration(
    folder: Path, plan: Plan, panel: Mapping[str, Mapping[str, str]]
) -> dict[str, str]:
    first, second = (panel[name] for name in forms.PANEL)
    # In the order of the slides' names: neither reader's order, and nothing of what they said.
    differ = [name for name in sorted(plan.hospitals) if not gold_of(first[name], second[name], "")]
    path = forms.panel_form(folder, forms.ARBITRATION)
    if not differ:
        return {}
    if not path.exists():
        forms.write_panel_form(path, plan.study, forms.ARBITRATION, differ)
    calls = forms.read_panel_form(path, plan.study, forms.ARBITRATION, differ)
    missing = [name for name in differ if name not in calls]
    if missing:
        raise ManifestError(
            f"The panel readers differ on {len(differ)} slides, and {len(missing)} have no "
            f"arbitration ({', '.join(missing[:_NAMED])}). Fill in {path} and run again."
        )
    return calls


def _read_ai(config: RecordConfig, plan: Plan) -> dict[str, str]:
    if config.ai is None:
        return forms.read_ai_form(config.study / forms.FORMS / forms.AI_FORM, plan.hospitals)
    called = {
        score.slide_id: POSITIVE if score.called_positive else NEGATIVE
        for score in read_slide_scores(config.ai)
        if score.called_positive is not None
    }
    known = {name: called[name] for name in plan.hospitals if name in called}
    if not known:
        raise ManifestError(
            f"{config.ai} holds no result of this study's {len(plan.hospitals)} slides. The same "
            "slide_id are needed in both. Screen the slides of the manifest."
        )
    return known


def _read_period(
    folder: Path, plan: Plan, mine: tuple[Assignment, ...], period: int
) -> dict[str, forms.FilledRow]:
    """A reader's filled form; one that has not come back yet counts as blank."""
    path = forms.reader_form(folder, mine[0].reader, period)
    if not path.exists():
        log.warning("Warning: %s is missing: its reviews count as missing.", path)
        return {}
    return forms.read_reader_form(path, plan.study, mine, period)


def _joined(
    each: Assignment,
    rows: list[forms.FilledRow | None],
    plan: Plan,
    panel: Mapping[str, Mapping[str, str]],
    arbitration: Mapping[str, str],
    results: Mapping[str, str],
) -> Reading:
    first, second = (row or forms.FilledRow("", None, None) for row in rows)
    calls = [panel[name][each.slide_id] for name in forms.PANEL]
    decided = arbitration.get(each.slide_id, "")
    return Reading(
        slide_id=each.slide_id,
        group=each.group,
        first_review=first.call,
        second_review=second.call,
        ai_result=results.get(each.slide_id, ""),
        gold=gold_of(calls[0], calls[1], decided),
        panel_1=calls[0],
        panel_2=calls[1],
        arbitration=decided,
        hospital=plan.hospitals[each.slide_id],
        reader=each.reader,
        first_ai=each.with_ai(PERIODS[0]),
        second_ai=each.with_ai(PERIODS[1]),
        first_on=first.read_on,
        second_on=second.read_on,
        first_seconds=first.seconds,
        second_seconds=second.seconds,
    )
