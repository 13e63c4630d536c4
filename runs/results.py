"""Write docs/results.md from the JSON that the other scripts in runs/ leave in docs/results/.

Run: ``make results``. Nothing on that page is written by hand.

A result file holds: ``name, title, command, commit, data, seed, seconds``; ``figures`` and
``controls`` (name -> number, or {estimate, low, high}); ``tables`` (title -> {columns, rows});
``notes`` (list of text) and ``pictures`` (list of files beside it, or file -> what it shows).
Of `EXPECTED`, what has no file is listed as not run.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "results"
PAGE = ROOT / "docs" / "results.md"

HEAD = """<!-- Written by `make results` from docs/results/*.json: do not edit. -->

# Results

Every figure was left by a script in `runs/` or `benchmarks/`, named above it with its commit, data
and seed. Intervals are 95 %: bootstrapped over whole blocks of fields, or over slides where slides
are judged, unless a page says otherwise. Phantom and composed slides are synthetic: figures on them
say that the machinery works and carry no clinical claim.
"""

EXPECTED = {
    "stride_heads": ("runs/stride_heads.py", "slide heads by features, rivals (S-34, S-35)"),
    "stride_backbones": ("runs/stride_backbones.py", "backbones, BatchNorm in both modes"),
    "stride_sweep": ("runs/stride_sweep.py", "SWIFT's open values, one at a time"),
    "stride_adaptation": ("runs/stride_adaptation.py", "test-time adaptation by prototypes"),
    "composed_cells": ("runs/composed_cells.py", "end-to-end cell models on real cells"),
    "detector_sizes": ("runs/detector_sizes.py", "detector: size by magnification (S-14)"),
}
"""Name -> command and what it shows: results that a reader will look for."""


def main() -> int:
    """Write the page; the status is 1 where ``--check`` finds it stale."""
    pages = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))]
    told = {page["name"] for page in pages}
    parts = [*(render(page) for page in pages), *not_run(told)]
    text = "\n".join([HEAD, contents(parts), *parts])
    if "--check" in sys.argv[1:]:
        return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    print(f"{PAGE}: {len(pages)} results")
    return 0


def contents(parts: Iterable[str]) -> str:
    """A line with a link for each section, by the anchors that GitHub and GitLab give headings."""
    titles = [part.removeprefix("## ").splitlines()[0] for part in parts if part.startswith("## ")]
    return "".join(f"- [{title}](#{_anchor(title)})\n" for title in titles)


def _anchor(title: str) -> str:
    """The anchor of a heading.

    >>> _anchor("Where a SWIFT step's time goes, CPU twin")
    'where-a-swift-steps-time-goes-cpu-twin'
    """
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def render(page: dict[str, Any]) -> str:
    """One result file as Markdown."""
    parts = [f"## {page.get('title', page['name'].replace('_', ' '))}\n"]
    facts = [f"`{page['command']}`", f"commit {str(page['commit'])[:12]}", f"seed {page['seed']}"]
    facts += [f"{_seconds(page['seconds']):,.0f} s", f"data: {_plain(page['data'])}"]
    parts.append(" · ".join(facts) + "\n")
    parts += [f"{note}\n" for note in page.get("notes", [])]
    for title, key in (("figure", "figures"), ("trivial control", "controls")):
        rows = [[_words(name), _number(value)] for name, value in _flat(page.get(key) or {})]
        if rows:
            parts.append(_table([title, "value"], rows))
    for title, table in (page.get("tables") or {}).items():
        columns, body = _columns_and_rows(table)
        parts.append(f"**{_words(title)}**\n")
        parts.append(_table([_words(c) for c in columns], [[_number(c) for c in r] for r in body]))
    pictures = page.get("pictures", [])
    for name in pictures:
        if isinstance(pictures, dict):
            parts.append(f"**{pictures[name]}**\n")
        parts.append(f"![{name}](results/{name})\n")
    return "\n".join(parts)


def not_run(told: Collection[str]) -> list[str]:
    """The section of the expected results that are not among ``told``; none where all are."""
    rows = [
        [what, f"`{command}`"] for name, (command, what) in EXPECTED.items() if name not in told
    ]
    return ["## Not run\n", _table(["result", "command"], rows)] if rows else []


def _flat(values: dict[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """Nested groups of figures as one list, each name after its groups'."""
    rows: list[tuple[str, Any]] = []
    for name, value in values.items():
        full = f"{before}, {name}" if before else str(name)
        if isinstance(value, dict) and "estimate" not in value:
            rows += _flat(value, full)
        else:
            rows.append((full, value))
    return rows


def _columns_and_rows(table: Any) -> tuple[list[str], list[list[Any]]]:
    """A table given as columns and rows, as a list of records, or as a confusion of classes."""
    if isinstance(table, list):
        columns = list(dict.fromkeys(name for record in table for name in record))
        return columns, [[record.get(name) for name in columns] for record in table]
    if "classes" in table:
        rows = table["rows_are_truth"]
        body = [[name, *row] for name, row in zip(table["classes"], rows, strict=True)]
        return ["truth \\ called", *table["classes"]], body
    return table["columns"], table["rows"]


def _seconds(value: Any) -> float:
    if isinstance(value, dict):
        return sum(_seconds(each) for each in value.values())
    return sum(map(float, value)) if isinstance(value, list) else float(value)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{_words(name)}: {_plain(each)}" for name, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _words(name: str) -> str:
    return str(name).replace("_", " ")


def _number(value: Any) -> str:
    if isinstance(value, dict) and "estimate" in value:
        if value.get("low") is None:
            return _number(value["estimate"])
        numbers = [float(value[name]) for name in ("estimate", "low", "high")]
        estimate, low, high = (format(each, _form(*numbers)) for each in numbers)
        return f"{estimate} ({low} – {high})"
    if value is None:
        return "–"
    if isinstance(value, bool | str):
        return str(value).replace("|", "\\|")
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict | list):
        return _plain(value)
    return format(value, _form(value))


def _form(*values: float) -> str:
    """How numbers that stand together are printed: about three digits of the largest."""
    largest = max(map(abs, values))
    return ".3f" if largest < 10 else ".1f" if largest < 100 else ",.0f"


def _table(columns: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
