"""The comparison by centre: no verdict rests on so few slides, but what is missed is counted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from koilo.evaluate.centres import NONE, CentreRow
from koilo.evaluate.comparison import mean_over_seeds
from koilo.evaluate.operating_point import specificity_at
from koilo.evaluate.proportions import share_interval
from koilo.evaluate.scores import auc
from koilo.evaluate.workload import recall_by_class
from stride_pictures import CentrePoint
from stride_scores import Table

DEPLOYED = ("two_stage", "swift", "stain_aug", "color_adv", "color_adv_stain")
MILDEST = "ASC-US"


def centre_rows(table: Table, method: str, split: str, draws: int) -> list[CentreRow]:
    """A row a centre, then all: AUC, sensitivity and specificity at the locked threshold.

    All averaged over seeds; AUC by drawing slides, shares by Wilson on the mean count.
    """
    centres = np.array(table.centres(split))
    rows = []
    for name in [*sorted(set(centres.tolist())), "all"]:
        own = (centres == name) | (name == "all")
        positive, scores = table.positive(split)[own], table.scores(method, split)[:, own]
        called = (table.margins(method, split) >= 0)[:, own]
        n, n_positive = int(own.sum()), int(positive.sum())
        hits, passed = called[:, positive].sum(1).mean(), (~called[:, ~positive]).sum(1).mean()
        rows.append(
            CentreRow(
                name,
                n,
                n_positive,
                mean_over_seeds(positive, scores, auc, draws=draws),
                share_interval(float(hits), n_positive),
                share_interval(float(passed), n - n_positive),
                mean_over_seeds(positive, scores, specificity_at, draws=draws)
                if n_positive
                else NONE,
            )
        )
    return rows


def centres_table(rows: Mapping[str, list[CentreRow]]) -> dict[str, Any]:
    """The rows of each method that ran."""
    columns = ["method", "centre", "slides", "positive", "AUC", "sensitivity", "specificity"]
    body: list[list[Any]] = []
    for method in DEPLOYED:
        if method not in rows:
            body.append([method, "not run", *[None] * (len(columns) - 2)])
            continue
        body += [
            [method, row.centre, row.n, row.n_positive,
             *(each.as_dict() for each in (row.auc, row.sensitivity, row.specificity))]
            for row in rows[method]
        ]  # fmt: skip
    return {"columns": columns, "rows": body}


def missed_table(table: Table, split: str) -> dict[str, Any]:
    """Missed slides at the locked threshold by class, averaged over seeds."""
    labels = table.labels(split)
    names = [name for name in table.classes[1:] if name in labels]
    columns = ["method", *(f"{name} (of {labels.count(name)})" for name in names)]
    columns.append(f"above {MILDEST} alone")
    rows: list[list[Any]] = []
    for method in DEPLOYED:
        if method not in table.methods:
            rows.append([method, "not run", *[None] * (len(columns) - 2)])
            continue
        called = table.margins(method, split) >= 0
        missed = missed_by_class(labels, called)
        above = sum(n for name, n in missed.items() if name != MILDEST)
        rows.append([method, *(mean_count(missed[name]) for name in names), mean_count(above)])
    return {"columns": columns, "rows": rows}


def missed_by_class(labels: list[str], called: np.ndarray) -> dict[str, float]:
    """Missed slides of each class, averaged over the seeds of ``called`` (S, N)."""
    found = [{each.name: each.n_missed for each in recall_by_class(labels, row)} for row in called]
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def calls_table(table: Table, split: str) -> dict[str, Any]:
    """All slides of a split as called or not at the locked threshold, averaged over seeds."""
    positive = table.positive(split)
    rows: list[list[Any]] = []
    for method in DEPLOYED:
        if method not in table.methods:
            rows.append([method, "not run", None, None, None])
            continue
        called = table.margins(method, split) >= 0
        cells = [called[:, positive], ~called[:, positive], called[:, ~positive],
                 ~called[:, ~positive]]  # fmt: skip
        rows.append([method, *(mean_count(float(each.sum(1).mean())) for each in cells)])
    columns = ["method", "positive, called", "positive, missed", "NILM, called", "NILM, passed"]
    return {"columns": columns, "rows": rows}


def by_distance(
    table: Table, method: str, rows: list[CentreRow], cohort: Path
) -> list[CentrePoint]:
    """Unseen centres with their twins' AUC, the nearest in colour first."""
    told = json.loads((cohort / "truth" / "centres.json").read_text(encoding="utf-8"))
    distance = {centre["name"]: float(centre["distance"]) for centre in told}
    centres, positive = np.array(table.centres("unseen_twin")), table.positive("unseen_twin")
    points = []
    for row in rows:
        if row.centre == "all":
            continue
        own = centres == row.centre
        twins = [auc(positive[own], score[own]) for score in table.scores(method, "unseen_twin")]
        points.append(CentrePoint(row.centre, distance[row.centre], row.auc, float(np.mean(twins))))
    return sorted(points, key=lambda point: point.distance)


def mean_count(value: float) -> str:
    """A count averaged over seeds: whole where it is."""
    return f"{value:.1f}".removesuffix(".0")
