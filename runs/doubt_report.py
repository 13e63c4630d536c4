r"""Measure what carries a call and when it is doubted: coverage, workload, removal, likeness.

    koilo screen SLIDES/manifest.csv --out RESULTS
    python runs/doubt_report.py --data DATA/cric --cells CELLS.npz... --work WORK --bags BAGS.npz \
        --slides SLIDES --results RESULTS

SLIDES are phantoms of an unseen seed and unseen centres, RESULTS what the bundle made of them; the
rest is as for `doubt.py`. Leaves docs/results/doubt.json. Phantoms are synthetic.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cric_fields import Study
from doubt import REFERENCE, Scored, judge_out_of_fold, read_bags
from doubt_cells import orders_table, removal_rows, saliency_figures
from koilo.bundle import load_bundle
from koilo.datasets.cric import N_FOLDS
from koilo.evaluate.conformal import (
    DoubtBounds,
    lock_bounds,
    measure_coverage,
    possible_calls,
    read_bounds,
)
from koilo.evaluate.intervals import bootstrap
from koilo.evaluate.scores import auc
from koilo.manifest import read_manifest
from koilo.mil.likeness import N_DIRECTIONS, fit_likeness, load_likeness, sum_up
from koilo.pipeline.doubt import OOD_LIMIT
from koilo.results import read_slide_result
from koilo.taxonomy import NEGATIVE
from koilo.train.record import git_commit
from koilo.types import SlideResult

RESULT = Path(__file__).resolve().parents[1] / "docs" / "results" / "doubt.json"

Sets = list[tuple[str, ...]]
Lock = Callable[[NDArray[np.bool_], NDArray[np.float64]], DoubtBounds]


def by_class(positive: float, negative: float) -> Lock:
    def lock(truth: NDArray[np.bool_], score: NDArray[np.float64]) -> DoubtBounds:
        return lock_bounds(truth, score, "", coverage_positive=positive, coverage_negative=negative)

    return lock


def whole(coverage: float) -> Lock:
    """One bound for both classes, of the probability of the true one."""

    def lock(truth: NDArray[np.bool_], score: NDArray[np.float64]) -> DoubtBounds:
        p_true = np.sort(np.where(truth, score, 1 - score))
        least = float(p_true[int((1 - coverage) * (len(p_true) + 1)) - 1])
        return DoubtBounds(least, 1 - least, coverage, coverage, 0, 0, "")

    return lock


METHODS = {
    "by class, .95 and .90 (shipped)": by_class(0.95, 0.9),
    "by class, .95 and .95": by_class(0.95, 0.95),
    "by class, .90 and .90": by_class(0.9, 0.9),
    "both classes together, .95": whole(0.95),
    "both classes together, .90": whole(0.9),
}


def crossed_sets(scored: Scored, lock: Lock) -> Sets:
    """Each fold's sets by bounds locked on the two others."""
    sets: Sets = [()] * len(scored.truth)
    for fold in range(N_FOLDS):
        others = scored.fold != fold
        bounds = lock(scored.truth[others], scored.score[others])
        for row in np.flatnonzero(~others):
            sets[row] = possible_calls(float(scored.score[row]), bounds)
    return sets


def coverage_row(name: str, method: str, truth: NDArray[np.bool_], sets: Sets) -> list[Any]:
    found = measure_coverage(truth, sets)
    return [
        name, method, len(truth), found.positives.as_dict(), found.negatives.as_dict(),
        found.left_to_human, found.errors_among_certain.as_dict(), found.missed_among_certain,
    ]  # fmt: skip


COVERAGE = ("set", "bounds", "n", "positives covered", "negatives covered", "left to a human",
            "errors where certain", "positives certain to be negative")  # fmt: skip


def block_figures(scored: Scored, sets: Sets) -> dict[str, Any]:
    """Coverage and workload of fields, with intervals over whole blocks."""

    def measure(pick: Callable[[Any], float]) -> dict[str, Any]:
        return bootstrap(
            lambda rows: pick(measure_coverage(scored.truth[rows], [sets[row] for row in rows])),
            scored.groups,
        ).as_dict()

    return {
        "CRIC fields: positives covered": measure(lambda c: c.positives.estimate),
        "CRIC fields: negatives covered": measure(lambda c: c.negatives.estimate),
        "CRIC fields: left to a human by the bounds": measure(lambda c: c.left_to_human),
        "CRIC fields: errors where certain": measure(lambda c: c.errors_among_certain.estimate),
    }


def likeness_tables(bags: dict[str, Any], model: str, unseen: NDArray[np.float64]) -> dict:
    """How well what is unlike stands out, from the reference and from unseen phantoms."""
    reference = load_likeness(load_bundle(model))
    assert reference is not None
    kinds = [kind for kind in dict.fromkeys(bags["kind"].tolist()) if kind not in REFERENCE]
    rows = []
    for kind in kinds:
        own = np.array([
            reference.score(reference.distance(sum_up(
                bags["features"][row], bags["colours"][row], reference.middle,
                reference.directions)))
            for row in np.flatnonzero(bags["kind"] == kind)
        ])  # fmt: skip
        known = np.arange(len(reference.distances)) / len(reference.distances)
        rows.append([kind, len(own), _auc(known, own), _auc(unseen, own),
                     float((own >= OOD_LIMIT).mean())])  # fmt: skip
    rows.append(["phantoms, unseen", len(unseen), None, None, float((unseen >= OOD_LIMIT).mean())])
    return {
        "likeness to the training data": {
            "columns": ["pictures", "n", "AUC from the reference", "AUC from unseen phantoms",
                        f"share at {OOD_LIMIT} or over"],
            "rows": rows,
        },
        "likeness by number of directions (AUC from the reference)": directions_table(bags, kinds),
    }  # fmt: skip


def directions_table(bags: dict[str, Any], kinds: Sequence[str]) -> dict[str, Any]:
    known = np.flatnonzero(np.isin(bags["kind"], REFERENCE))
    features, groups = [bags["features"][row] for row in known], bags["group"][known].tolist()
    rows = []
    for n in (2, N_DIRECTIONS, 8, 16, 32):
        fitted = fit_likeness(features, bags["colours"][known], groups, n_directions=n)
        row: list[Any] = [n]
        for kind in kinds:
            own = [
                fitted.distance(sum_up(
                    bags["features"][i], bags["colours"][i], fitted.middle, fitted.directions))
                for i in np.flatnonzero(bags["kind"] == kind)
            ]  # fmt: skip
            row.append(_auc(fitted.distances, own))
        rows.append(row)
    return {"columns": ["directions", *kinds], "rows": rows}


def _auc(low: Sequence[float] | NDArray[Any], high: Sequence[float] | NDArray[Any]) -> float:
    return auc(np.repeat([False, True], [len(low), len(high)]), np.concatenate([low, high]))


def slide_figures(truth: NDArray[np.bool_], readings: Sequence[SlideResult]) -> dict[str, Any]:
    """`needs_human` as the slides came out, whatever the reason."""
    human = np.array([bool(reading.needs_human) for reading in readings])
    wrong = np.array([r.positive != t for r, t in zip(readings, truth, strict=True)])
    return {
        "phantom slides: need a human, for any reason": float(human.mean()),
        "phantom slides: calls that are wrong": int(wrong.sum()),
        "phantom slides: wrong calls that need a human": int((wrong & human).sum()),
        "phantom slides: calls that stand without a human": int((~human).sum()),
    }


def reasons_table(readings: Sequence[SlideResult]) -> dict[str, Any]:
    why = Counter(text.split(",")[0] for reading in readings for text in reading.needs_human_why)
    found = Counter(reading.disagreement.kind for reading in readings if reading.disagreement)
    rows = [["needs a human", text, n] for text, n in why.most_common()]
    rows += [["slide and cells", kind, n] for kind, n in found.most_common()]
    return {"columns": ["what", "reason", "slides"], "rows": rows}


def build_page(args: argparse.Namespace) -> dict[str, Any]:
    """All figures and tables."""
    study = Study(args.data, args.cells)
    scored = judge_out_of_fold(study, args.work)
    bags, model = read_bags(args.bags), args.model
    entries = read_manifest(args.slides / "manifest.csv")
    readings = [read_slide_result(args.results / entry.slide_id) for entry in entries]
    truth = np.array([entry.label != NEGATIVE for entry in entries])
    coverage = [
        coverage_row(name, method, scored[part].truth, crossed_sets(scored[part], lock))
        for part, name in (("fields", "CRIC fields"), ("composed", "composed slides"))
        for method, lock in METHODS.items()
    ]
    sets: Sets = [reading.possible_calls for reading in readings]
    coverage.append(coverage_row("phantoms, unseen centres", "shipped", truth, sets))
    rows = np.flatnonzero(bags["kind"] == "phantom")
    bounds = read_bounds(load_bundle(model).operating_point("sens95"))
    assert bounds is not None
    more: Sets = [possible_calls(float(p), bounds) for p in bags["p"][rows]]
    coverage.append(
        coverage_row("phantoms, of the reference", "shipped", bags["label"][rows] != NEGATIVE, more)
    )
    removal = removal_rows(entries, readings, args.slides / "truth")
    right = [row for row in removal if row[1] != NEGATIVE and row[3]]
    unseen = np.array([reading.ood_score for reading in readings], dtype=float)
    fields = scored["fields"]
    return {
        "figures": {
            **block_figures(fields, crossed_sets(fields, next(iter(METHODS.values())))),
            **slide_figures(truth, readings),
            "removal: positive calls": len(removal),
            "removal: of these turned by 32 cells or fewer": sum(row[3] for row in removal),
            "removal: lesion among the cells removed, slides with a lesion that turned":
                float(np.mean([row[5] for row in right])) if right else None,
            "removal: lesion among all their cells (chance)":
                float(np.mean([row[6] for row in right])) if right else None,
            **saliency_figures(entries, readings, args.slides / "truth", model),
        },
        "tables": {
            "coverage and workload": {"columns": list(COVERAGE), "rows": coverage},
            "why phantom slides need a human, and where slide and cells disagree":
                reasons_table(readings),
            "removal test, positive phantom slides": {
                "columns": ["slide", "truth", "p_positive", "turned", "cells removed",
                            "share of lesion among them", "share among all cells (chance)",
                            "p_positive without them"],
                "rows": removal,
            },
            "what ranks lesion cells: composed slides called positive, out of fold":
                orders_table(study, args.work),
            **likeness_tables(bags, model, unseen),
        },
        "data": f"CRIC fields and slides composed of its cells, out of fold; {len(entries)} "
        f"phantom slides ({int(truth.sum())} positive) of an unseen seed",
    }  # fmt: skip


NOTES = [
    "A call is open where its conformal set is not one call. Fields and composed slides: each fold "
    "by bounds locked on the two others, heads and cells out of fold. Phantoms: the bundle as it "
    "ships, whose bounds were locked on neither.",
    "Composed slides share their blocks with nothing, but few blocks fill them: their coverage "
    "falls short because folds differ. On phantoms the bounds meet another kind of slide.",
    "The number of directions was chosen on the very pictures that it is measured on here. "
    "Shifted stain and blur are the reference phantoms' own crops, changed.",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("data", "work", "bags", "slides", "results"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--cells", type=Path, nargs="+", required=True)
    parser.add_argument("--model", default="cytology", help="the bundle that made the results")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    torch.set_num_threads(1)
    started = time.monotonic()
    page = {
        "name": "doubt",
        "title": "What carries a call, and when a human is needed",
        "command": "python runs/doubt_report.py --data DATA/cric --cells CELLS --work WORK "
        "--bags BAGS --slides SLIDES --results RESULTS",
        "commit": git_commit(),
        "seed": 0,
        "notes": NOTES,
        **build_page(args),
        "seconds": round(time.monotonic() - started, 1),
    }
    args.out.write_text(json.dumps(page, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
