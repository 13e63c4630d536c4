"""A made study: 48 slides of two hospitals, forms filled in by readers who err by known rates."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from koilo.study.forms import FORMS

LABELS = ("NILM",) * 24 + ("ASC-US",) * 8 + ("LSIL",) * 8 + ("HSIL",) * 8
START = date(2026, 3, 2)

Row = dict[str, str]


def write_manifest(folder: Path, labels: tuple[str, ...] = LABELS) -> Path:
    """A manifest of slides that nobody opens."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "manifest.csv"
    rows = [f"s{i:02},s{i:02}.svs,{label},H{i % 2}" for i, label in enumerate(labels)]
    path.write_text("\n".join(["slide_id,path,label,centre", *rows]) + "\n", encoding="utf-8")
    return path


def edit(path: Path, change: Callable[[int, Row], None]) -> None:
    """Rewrite a CSV row by row."""
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        columns, rows = reader.fieldnames, list(reader)
    for number, row in enumerate(rows):
        change(number, row)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns or [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def fill_forms(folder: Path, labels: tuple[str, ...] = LABELS, *, seed: int = 0) -> None:
    """Fill in every form: readers find 70 % of the positives, 95 % with AI, and read faster."""
    rng = np.random.default_rng(seed)
    truth = {f"s{i:02}": label for i, label in enumerate(labels)}

    def read(number: int, row: Row) -> None:
        with_ai = row["ai"] == "with"
        found = rng.random() < (0.95 if with_ai else 0.7)
        label = truth[row["slide_id"]]
        false_alarm = "ASC-US" if rng.random() < 0.1 else "NILM"
        row["call"] = (label if found else "NILM") if label != "NILM" else false_alarm
        row["seconds"] = f"{rng.lognormal(3.4 if with_ai else 5.0, 0.3):.1f}"
        later = 0 if row["period"] == "1" else 40
        row["read_on"] = (START + timedelta(days=later + number // 20)).isoformat()

    def judge(number: int, row: Row) -> None:
        row["call"] = truth[row["slide_id"]]
        if row["panel"] == "panel_2" and row["slide_id"] in ("s03", "s30"):
            row["call"] = "LSIL+ASC-H"

    def arbitrate(number: int, row: Row) -> None:
        row["call"] = truth[row["slide_id"]]

    def run_ai(number: int, row: Row) -> None:
        row["ai_result"] = "positive" if truth[row["slide_id"]] != "NILM" else "NILM"

    for path in sorted((folder / FORMS).glob("*.csv")):
        name = path.stem
        fill = read if name.startswith("reader") else run_ai if name == "ai" else judge
        edit(path, arbitrate if name == "arbitration" else fill)
