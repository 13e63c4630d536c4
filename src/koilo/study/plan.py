"""The verb ``study plan``: arms, orders, blank forms and the sample size of a crossover."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from koilo import __version__
from koilo.config import fingerprint, to_dict
from koilo.errors import ConfigError, ManifestError, OutputError
from koilo.evaluate.tables import Table, markdown
from koilo.files import ensure_folder, sha256_text, write_json, write_text
from koilo.manifest import SlideEntry, read_manifest
from koilo.progress import log
from koilo.study import forms
from koilo.study.allocation import PERIODS, Assignment, allocate
from koilo.study.size import SizeConfig, size_lines, size_table
from koilo.study.words import GROUPS
from koilo.taxonomy import NEGATIVE

PLAN = "plan.json"
PAGE = "plan.md"
FORMAT = 1

_NAME = re.compile(r"[\w.-]{1,40}")


@dataclass(frozen=True, kw_only=True)
class PlanConfig(SizeConfig):
    """Which slides are read by whom, and what is expected."""

    manifest: Path = field(metadata={"positional": "one"})
    """manifest (.csv) of the slides; its label and centre are balanced and shown to nobody"""
    out: Path = field(metadata={"result": False})
    """folder for plan.json, plan.md and forms/"""
    readers: tuple[str, ...]
    """names (letters, digits, . _ -): '["anna", "bo"]'"""
    readers_a_slide: int | None = None
    """how many of them read each slide; default: all"""
    washout_days: int = 28
    """least number of days between the two reviews of a slide"""
    seed: int = 0
    """of arms and orders; the same seed gives the same plan"""

    def problems(self) -> list[str]:
        """What is out of range."""
        found = super().problems()
        found += [
            f"reader '{name}' (allowed: letters, digits, . _ -)"
            for name in self.readers
            if not _NAME.fullmatch(name)
        ]
        twice = [name for name, n in Counter(map(str.casefold, self.readers)).items() if n > 1]
        if twice or not self.readers:
            named = f"{', '.join(twice)} twice" if twice else "nobody"
            found.append(f"readers names {named} (allowed: each reader once)")
        if self.readers_a_slide is not None and not 1 <= self.readers_a_slide <= len(self.readers):
            found.append(
                f"readers_a_slide is {self.readers_a_slide} (allowed: 1 to {len(self.readers)})"
            )
        if self.washout_days < 0 or self.seed < 0:
            found.append("washout_days and seed must be 0 or more")
        return found


@dataclass(frozen=True)
class Plan:
    """A plan as it stands in its folder."""

    study: str
    """its name on every form: what tells it from another plan"""
    washout_days: int
    hospitals: dict[str, str]
    """slide -> where it comes from"""
    assignments: tuple[Assignment, ...]
    panel_orders: dict[str, list[str]]
    """panel reader -> slides in the order of that form"""

    @property
    def readers(self) -> list[str]:
        """The readers in their order."""
        return list(dict.fromkeys(each.reader for each in self.assignments))

    def of_reader(self, reader: str) -> tuple[Assignment, ...]:
        """What one reader has to read."""
        return tuple(each for each in self.assignments if each.reader == reader)


def plan(config: PlanConfig) -> int:
    """Plan a crossover reader study: arms, orders, blank forms, sample size.

    Returns:
        exit status 0.

    Raises:
        ConfigError: a setting is out of range.
        ManifestError: the manifest is malformed or empty.
        OutputError: a plan stands in ``config.out`` already, or it cannot be written.
    """
    if (config.out / PLAN).exists():
        raise OutputError(
            f"{config.out} holds a plan already. Forms that were handed out belong to it. Choose "
            "another --out."
        )
    entries = read_manifest(config.manifest)
    if not entries:
        raise ManifestError(f"{config.manifest} names no slide. A study needs some. Add them.")
    made = _make_plan(config, entries)
    ensure_folder(config.out / forms.FORMS)
    _write_forms(config.out, made)
    write_text(config.out / PAGE, _page(config, made, entries))
    write_json(config.out / PLAN, _as_json(config, made))
    _say(config, made, entries)
    return 0


def read_plan(folder: Path) -> Plan:
    """Read a plan from its folder.

    Raises:
        ConfigError: there is none, or it is of another format.
    """
    path = folder / PLAN
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise ValueError(f"its format is {values['format']}")
        return Plan(
            values["study"],
            int(values["washout_days"]),
            dict(values["hospitals"]),
            tuple(Assignment(**each) for each in values["assignments"]),
            dict(values["panel_orders"]),
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path} is no plan of this koilo ({error}). The folder that `koilo study plan` wrote "
            "is needed. Check the path."
        ) from error


def _make_plan(config: PlanConfig, entries: Sequence[SlideEntry]) -> Plan:
    strata = [(entry.slide_id, f"{entry.label or ''} {entry.centre or ''}") for entry in entries]
    assignments = allocate(
        strata, config.readers, readers_a_slide=config.readers_a_slide, seed=config.seed
    )
    names = [entry.slide_id for entry in entries]
    random = np.random.default_rng((config.seed, len(names)))
    orders = {panel: [names[i] for i in random.permutation(len(names))] for panel in forms.PANEL}
    study = sha256_text(fingerprint(config, *(f"{name} {stratum}" for name, stratum in strata)))
    return Plan(
        study[:10],
        config.washout_days,
        {entry.slide_id: entry.centre or "" for entry in entries},
        assignments,
        orders,
    )


def _write_forms(folder: Path, made: Plan) -> None:
    for reader in made.readers:
        for period in PERIODS:
            path = forms.reader_form(folder, reader, period)
            forms.write_reader_form(path, made.study, made.of_reader(reader), period)
    for panel, order in made.panel_orders.items():
        forms.write_panel_form(forms.panel_form(folder, panel), made.study, panel, order)
    forms.write_ai_form(folder / forms.FORMS / forms.AI_FORM, list(made.hospitals))


def _as_json(config: PlanConfig, made: Plan) -> dict[str, Any]:
    stamp = {"format": FORMAT, "koilo_version": __version__, "config": to_dict(config)}
    return {**stamp, **asdict(made)}


def _page(config: PlanConfig, made: Plan, entries: Sequence[SlideEntry]) -> str:
    labels = {entry.slide_id: entry.label or "no label" for entry in entries}
    counts = Counter((each.reader, each.group, labels[each.slide_id]) for each in made.assignments)
    classes = sorted(set(labels.values()))
    rows = [
        [reader, group, *(counts[reader, group, name] for name in classes)]
        for reader in made.readers
        for group in GROUPS
    ]
    arms = Table("Slides by reader, arm and class", ["reader", "arm", *classes], rows)
    facts = "\n".join(f"- {line}" for line in size_lines(config)[:3])
    return (
        f"# Plan of study {made.study}\n\nNot for readers: it shows the classes that were "
        "balanced.\n\n"
        f"{len(labels)} slides, {len(made.readers)} readers. Arm A reads without AI in period 1 "
        "and with it in period 2; arm B with it first. Orders are drawn anew for each reader and "
        f"period (seed {config.seed}). Period 2 of a slide begins {config.washout_days} days "
        "after its reading in period 1, or later.\n\n"
        "Readers fill in their forms period by period (`call`: Bethesda classes, several joined "
        "by +; where a slide cannot be judged leave it empty and say why under `comment`). The "
        "two panel readers see neither readers nor AI. Then `koilo study record` joins the "
        "forms.\n\n"
        f"{markdown(arms)}\n{markdown(size_table(config))}\n{facts}\n"
    )


def _say(config: PlanConfig, made: Plan, entries: Sequence[SlideEntry]) -> None:
    unlabelled = sum(entry.label is None for entry in entries)
    n_positive = sum(entry.label not in (None, NEGATIVE) for entry in entries)
    log.info(
        "study %s: %d slides (%d positive by the manifest, %d without a label), %d readings of "
        "%d readers, each twice",
        made.study, len(entries), n_positive, unlabelled, len(made.assignments),
        len(made.readers),
    )  # fmt: skip
    if unlabelled:
        log.warning("Warning: arms cannot be balanced over the classes of slides without a label.")
    for line in size_lines(config):
        log.info("%s", line)
    log.info("%s and the forms in %s", config.out / PAGE, config.out / forms.FORMS)
