"""Follow-up tables: what a published rule suggests for a signed class, and when it says nothing.

A table is a YAML file: axes with their values, what is refused, and rules. It is checked when
loaded: every combination of values is refused or has exactly one rule. A suggestion is no order.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from koilo.errors import ConfigError
from koilo.taxonomy.classes import CYTOLOGY

OUTCOMES = (
    *("routine-5-10y", "routine-5y", "return-5y", "return-3y", "hpv-test-3y", "hpv-test-24m"),
    *("hpv-test-1y", "return-6-12m", "hpv-triage", "immediate", "treatment"),
    *("colposcopy-or-treatment", "colposcopy"),
)
"""What a table may suggest; of two classes signed together the later here counts: it is the more
urgent, and a colposcopy that one class needs is not skipped for the other's treatment."""

HISTORIES = (
    *("none", "unknown", "hpv-negative", "hpv-positive"),
    *("negative-screen", "clear-colposcopy", "treated"),
)
"""What came before: ``negative-screen`` with HPV test within 5 years, ``clear-colposcopy`` without
a high-grade lesion within one year, ``treated`` for pre-cancer or cancer."""

REASONS = (
    *("age-missing", "hpv-missing", "history-missing", "pregnant-missing", "age-unknown"),
    *("hpv-unknown", "risk-unknown", "under-25", "under-30", "pregnant", "treated"),
    *("carcinoma", "unsatisfactory", "no-row"),
)
"""Why a table suggests nothing; each has its words in the report's languages."""

TABLES = ("co-test-2019", "stride-co-test", "who-2021-triage", "asccp-2019-risk")

_NEEDED = ("age", "hpv", "history", "pregnant")
_NUMBERS = ("age", "immediate_risk_percent", "five_year_risk_percent")
_VALUES = {
    "cytology": CYTOLOGY,
    "hpv": ("negative", "16", "18", "other", "positive", "unknown"),
    "history": HISTORIES,
    "pregnant": ("yes", "no", "unknown"),
}
_CLASS_REASONS = frozenset({"hpv-unknown", "risk-unknown", "no-row"})
"""Reasons that concern one class; another class signed beside it may be urgent without."""
_OLDEST_YEARS = 130

Bands = Mapping[str, tuple[float, float] | None]


@dataclass(frozen=True)
class Facts:
    """What a table asks beside the signed class; None is not given, ``unknown`` said to be unknown.

    ``age`` in years; risks of CIN 3+ in per cent, from the published tables, never computed here.
    """

    age: str | None = None
    hpv: str | None = None
    history: str | None = None
    pregnant: str | None = None
    immediate_risk_percent: float | None = None
    five_year_risk_percent: float | None = None


@dataclass(frozen=True)
class FollowUp:
    """What a table said: ``suggested``, ``insufficient`` (information) or ``not-covered``."""

    table: str
    version: str
    source: str
    status: str
    facts: Mapping[str, Any]
    outcome: str | None = None
    reasons: tuple[str, ...] = ()
    note: str | None = None


@dataclass(frozen=True)
class Rule:
    """``when`` maps axes to the values it holds for (all where an axis is not named)."""

    when: Mapping[str, tuple[str, ...]]
    outcome: str | None = None
    status: str = "suggested"
    because: str | None = None
    note: str | None = None

    def holds(self, cell: Mapping[str, str]) -> bool:
        """Whether it speaks of this combination of values."""
        return all(cell[axis] in values for axis, values in self.when.items())


@dataclass(frozen=True)
class FollowUpTable:
    """A checked table; ``bands`` gives the number axes' ranges, ``[from, below)``."""

    name: str
    version: str
    source: str
    axes: Mapping[str, tuple[str, ...]]
    bands: Mapping[str, Bands]
    refused: tuple[Rule, ...]
    rules: tuple[Rule, ...]

    def find(self, cell: Mapping[str, str]) -> Rule:
        """The refusal or the rule of a combination of values."""
        for rule in (*self.refused, *self.rules):
            if rule.holds(cell):
                return rule
        raise ValueError(f"no rule for {cell}")  # the check at load leaves none


def load_follow_up(name: str) -> FollowUpTable:
    """A table of koilo's by name, or one's own by the path of its YAML file.

    Raises:
        ConfigError: there is no such table, or it is malformed, has a gap or an overlap; the
            combination of values is named.
    """
    if name in TABLES:
        return _built_in(name)
    path = Path(name)
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        raise ConfigError(
            f"There is no follow-up table '{name}'. Known: {', '.join(TABLES)}, or the path of a "
            "YAML file of your own. Choose one of these."
        )
    try:
        return _parse(yaml.safe_load(path.read_text(encoding="utf-8")), name)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{name} cannot be read as YAML ({error}). Mend the file.") from error


def suggest(
    table: FollowUpTable, interpretation: Sequence[str], adequacy: str | None, facts: Facts
) -> FollowUp:
    """What the table says of a signed interpretation; of several classes the weightiest counts.

    Args:
        table: from `load_follow_up`.
        interpretation: the signed classes; empty for an unsatisfactory specimen.
        adequacy: ``unsatisfactory`` is refused by every table.
        facts: of the patient; one that is not given makes ``insufficient``, never a suggestion.
    """
    known = asdict(facts)
    answer: dict[str, Any] = {
        "table": table.name,
        "version": table.version,
        "source": table.source,
        "facts": {name: value for name, value in known.items() if value is not None},
    }
    if adequacy == "unsatisfactory" or not interpretation:
        return FollowUp(**answer, status="not-covered", reasons=("unsatisfactory",))
    cell = {axis: _value(table, axis, known.get(axis)) for axis in table.axes if axis != "cytology"}
    missing = tuple(f"{name}-missing" for name in _NEEDED if not _given(name, known[name]))
    if missing:
        return FollowUp(**answer, status="insufficient", reasons=missing)
    found = [table.find({**cell, "cytology": name}) for name in interpretation]
    refused = tuple(dict.fromkeys(rule.because for rule in found if rule.because is not None))
    worst = max(found, key=lambda rule: _urgency(rule.outcome))
    if set(refused) <= _CLASS_REASONS and _urgency(worst.outcome) >= OUTCOMES.index("immediate"):
        refused = ()  # LSIL with ASC-H: what LSIL lacks does not hold ASC-H back
    if refused:  # of two classes the silent one could be the more urgent
        status = "not-covered" if any(r.status == "not-covered" for r in found) else "insufficient"
        return FollowUp(**answer, status=status, reasons=refused)
    return FollowUp(**answer, status="suggested", outcome=worst.outcome, note=worst.note)


def _urgency(outcome: str | None) -> int:
    return -1 if outcome is None else OUTCOMES.index(outcome)


@cache
def _built_in(name: str) -> FollowUpTable:
    text = files("koilo.taxonomy").joinpath("follow_up", f"{name}.yaml").read_text("utf-8")
    return _parse(yaml.safe_load(text), name)


def _given(name: str, value: Any) -> bool:
    if name == "age" and value is not None and value != "unknown":
        return years(value) is not None
    return value is not None and (name not in _VALUES or value in _VALUES[name])


def _value(table: FollowUpTable, axis: str, value: Any) -> str:
    """The axis' value that a fact falls into; ``unknown`` where it is not given."""
    if axis not in table.bands:
        return str(value) if value is not None else "unknown"
    number = years(value) if axis == "age" else value
    for name, band in table.bands[axis].items():
        if number is not None and band is not None and band[0] <= number < band[1]:
            return name
    return "unknown"


def years(value: Any) -> float | None:
    """An age in years from a manifest's text; None where it is none that a patient has."""
    if not re.fullmatch(r"\d{1,3}(\.\d+)?", str(value).strip()):
        return None
    years = float(value)
    return years if years <= _OLDEST_YEARS else None


def _parse(value: Any, name: str) -> FollowUpTable:
    try:
        axes, bands = {}, {}
        for axis, values in value["axes"].items():
            if axis in _NUMBERS:
                bands[axis] = {k: None if b is None else _range(b) for k, b in values.items()}
            axes[axis] = tuple(str(item) for item in values)
        table = FollowUpTable(
            name=str(value["name"]),
            version=str(value["version"]),
            source=str(value["source"]),
            axes=axes,
            bands=bands,
            refused=tuple(_rule(item, axes) for item in value.get("refused", ())),
            rules=tuple(_rule(item, axes) for item in value["rules"]),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _wrong(name, f"it is malformed ({type(error).__name__}: {error})") from error
    for problem in _problems(table):
        raise _wrong(name, problem)
    return table


def _range(band: Sequence[Any]) -> tuple[float, float]:
    low, high = (float(end) for end in band)
    return low, high


def _rule(item: Mapping[str, Any], axes: Mapping[str, Sequence[str]]) -> Rule:
    when = {axis: tuple(map(str, values)) for axis, values in item["when"].items()}
    for axis, values in when.items():
        for unknown in sorted(set(values) - set(axes[axis])):
            raise ValueError(f"'{unknown}' is no value of {axis}")
    outcome, because = item.get("outcome"), item.get("because")
    if (outcome is None) == (because is None):
        raise ValueError(f"{when} needs either an outcome or a status with because")
    if outcome is not None and outcome not in OUTCOMES:
        raise ValueError(f"outcome '{outcome}' is none of {', '.join(OUTCOMES)}")
    if because is not None and because not in REASONS:
        raise ValueError(f"because '{because}' is none of {', '.join(REASONS)}")
    status = item["status"] if because is not None else "suggested"
    if status not in ("suggested", "insufficient", "not-covered"):
        raise ValueError(f"status '{status}' is neither insufficient nor not-covered")
    return Rule(when, outcome, status, because, item.get("note"))


def _problems(table: FollowUpTable) -> Iterator[str]:
    """What is wrong with a table's axes and rules, first things first."""
    for axis, allowed in _VALUES.items():
        given = table.axes.get(axis)
        if given is not None and set(given) != set(allowed):
            odd = sorted(set(given) ^ set(allowed))
            yield f"its axis {axis} must hold each of {', '.join(allowed)} once: see {odd[0]}"
    unknown = sorted(set(table.axes) - set(_VALUES) - set(_NUMBERS))
    if unknown or "cytology" not in table.axes:
        yield f"its axes are {', '.join(table.axes)}, of which cytology must be one"
    for axis, bands in table.bands.items():
        yield from _gaps(axis, bands)
    for values in product(*table.axes.values()):
        cell = dict(zip(table.axes, values, strict=True))
        if any(rule.holds(cell) for rule in table.refused):
            continue
        n = sum(rule.holds(cell) for rule in table.rules)
        if n != 1:
            where = ", ".join(f"{axis} {value}" for axis, value in cell.items())
            yield f"it has {'a gap' if n == 0 else 'an overlap'} at {where}"


def _gaps(axis: str, bands: Bands) -> Iterator[str]:
    """Where a number axis' bands leave something out or lie over each other."""
    if "unknown" not in bands:
        yield f"its axis {axis} needs the value unknown"
    end, last = 0.0, "0"
    for name, band in sorted(
        ((name, band) for name, band in bands.items() if band is not None), key=lambda item: item[1]
    ):
        if band[0] != end or band[1] <= band[0]:
            kind = "an overlap" if band[0] < end else "a gap"
            yield f"it has {kind} on the axis {axis} between {last} and {name}"
        end, last = band[1], name
    if not math.isinf(end):
        yield f"it has a gap on the axis {axis} above {last}"


def _wrong(name: str, problem: str) -> ConfigError:
    return ConfigError(
        f"Follow-up table {name} is refused: {problem}. Every combination needs one rule, or to be "
        "refused by name. Mend the table."
    )
