"""The verb ``koilo study``: its actions by name, each of one dataclass; and its ``report``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from koilo import __version__
from koilo.config import fingerprint, to_dict
from koilo.errors import ConfigError
from koilo.evaluate.tables import write_csv
from koilo.files import ensure_folder, sha256_file, write_json, write_text
from koilo.progress import log
from koilo.study.measures import measure_study
from koilo.study.page import key_lines, render_html, render_markdown
from koilo.study.record import read_record
from koilo.study.shares import Settings, Values
from koilo.study.size import margin_problems
from koilo.study.tables import span, study_tables


@dataclass(frozen=True)
class Action:
    """``target`` is ``module:function``, ``config`` the ``module:Dataclass`` that it takes."""

    target: str
    config: str
    line: str


ACTIONS = {
    "size": Action(
        "koilo.study.size:size",
        "koilo.study.size:SizeConfig",
        "Say how many slides a paired reader study needs, by claim.",
    ),
    "plan": Action(
        "koilo.study.plan:plan",
        "koilo.study.plan:PlanConfig",
        "Plan a crossover reader study: arms, orders, blank forms, sample size.",
    ),
    "record": Action(
        "koilo.study.collect:record",
        "koilo.study.collect:RecordConfig",
        "Join the filled forms of a study into one trial record, checked.",
    ),
    "report": Action(
        "koilo.study.verb:report",
        "koilo.study.verb:ReportConfig",
        "Measure a trial record: readers with and without AI, kappa, key points, time.",
    ),
}


@dataclass(frozen=True)
class ReportConfig:
    """Which trial record is measured, and against which margins."""

    record: Path = field(metadata={"positional": "one"})
    """trial record (.csv): slide_id, group, first_review, second_review, ai_result, gold, panel_1,
    panel_2, arbitration, and what docs/formats.md names besides"""
    out: Path = field(metadata={"result": False})
    """folder for study.html, study.md, study.json and the tables"""
    washout_days: int = 28
    """pairs of reviews closer than this are named and not compared"""
    superiority_margin: float = 0.05
    """how much better counts as better by a margin, as a share"""
    noninferiority_margin: float = -0.05
    """how much worse is still not inferior, as a share, below 0"""
    draws: int = 1000
    """resamples of slides and readers"""
    seed: int = 0
    """of the resamples"""

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing, all in one error."""
        problems = margin_problems(self.superiority_margin, self.noninferiority_margin)
        if self.draws < 20:
            problems.append(f"draws is {self.draws} (allowed: 20 and more)")
        if self.washout_days < 0:
            problems.append(f"washout_days is {self.washout_days} (allowed: 0 and more)")
        if problems:
            raise ConfigError(f"koilo study report: {'; '.join(problems)}. See its --help.")


def report(config: ReportConfig) -> int:
    """Measure a trial record: readers with and without AI, kappa, key points, time.

    Returns:
        exit status 0, whatever is found.

    Raises:
        ConfigError: a setting is out of range.
        ManifestError: the record is malformed, contradicts itself, or an arm is missing.
        OutputError: ``config.out`` cannot be written.
    """
    readings = read_record(config.record)
    settings = Settings(
        config.superiority_margin, config.noninferiority_margin, config.draws, config.seed
    )
    values = measure_study(config.record, readings, config.washout_days, settings)
    tables = study_tables(values)
    facts = {
        "record": f"{config.record.name} (sha256 {sha256_file(config.record)[:12]})",
        "washout": f"{config.washout_days} days",
        "margins": f"{config.noninferiority_margin:+.0%} not inferior, "
        f"{config.superiority_margin:+.0%} superior by a margin",
        "koilo": __version__,
        "settings": fingerprint(config)[:12],
    }
    ensure_folder(config.out)
    for name, table in tables.items():
        write_csv(config.out / f"{name}.csv", table)
    write_text(config.out / "study.md", render_markdown(values, tables, facts))
    write_text(config.out / "study.html", render_html(values, tables, facts))
    stamp = {"koilo_version": __version__, "fingerprint": fingerprint(config)}
    write_json(config.out / "study.json", {**stamp, "config": to_dict(config), **values})
    _say(config, values)
    return 0


def _say(config: ReportConfig, values: Values) -> None:
    for notice in values["notices"]:
        log.warning("Warning: %s", notice)
    for row in values["left_out"][:10]:
        log.warning("not compared: %s: %s", row["reading"], row["why"])
    first, second = values["conditions"]
    for name, found in values["shares"].items():
        if found:
            log.info(
                "%s: %s %s, %s %s; difference %s", name, first, span(found["first"]),
                second, span(found["second"]), span(found["difference"], signed=True),
            )  # fmt: skip
    for line in key_lines(values):
        log.info("%s", line)
    log.info("%s", config.out / "study.html")
