"""Tables of the cells that trained models read: what is ranked first, called what, lies by whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koilo.evaluate.agreement import cohen_kappa
from koilo.evaluate.ranking import TOP, RankedSlide, precision_by_class, top_k_recall
from koilo.evaluate.scores import f1_by_class, macro_f1
from koilo.mil.scored import ScoredBag
from koilo.mil.selectors import Judge, keep_top, score_cells
from koilo.taxonomy import NEGATIVE
from koilo.train.joint import Classes
from stride_grades import count_calls
from stride_maps import chance_agreement, draw_evenly, neighbour_agreement
from stride_readings import Reading, Sample

SELECTORS = (
    *("detector", "cells", "attention", "gradcam", "hirescam", "eq4"),
    *("integrated_gradients", "bottleneck"),
)
KS = (8, 16, 32, 64)
POINTS = 2000
"""Most cells that are mapped: t-SNE compares each with each."""

Ranked = Mapping[tuple[str, str], list[RankedSlide]]
"""(method, selector) -> the positive slides, their cells scored."""


def cell_tables(
    readings: Mapping[str, Reading], sample: Sample, classes: Classes
) -> dict[str, Any]:
    """Title -> table."""
    ranked = rank_all(readings, sample)
    return {
        f"Precision@Top-{TOP} by slide class (S-52)": precision_table(ranked, classes),
        "Share of all lesion cells among the best K (S-52)": recall_table(ranked),
        "F1 of cell classes (S-23)": f1_table(readings, sample, classes),
        f"Slide label against the leading cell of the best {TOP} (S-53)": mismatch_table(
            readings, sample, classes
        ),
        "Neighbours of the same class (S-49)": agreement_table(readings, sample),
    }


def rank_all(readings: Mapping[str, Reading], sample: Sample) -> Ranked:
    """Every selector on every method's bags, then a ranking at random and a perfect one."""
    ranked: dict[tuple[str, str], list[RankedSlide]] = {}
    for method, reading in readings.items():
        for name in SELECTORS:
            # The detector ranks alike whatever follows it.
            if name == "detector" and ranked:
                continue
            ranked[method, name] = [
                _ranked(sample, row, score_cells(name, bag, explained(reading, row)))
                for row, bag in enumerate(reading.bags)
                if sample.slides[row].label != NEGATIVE
            ]
    random = np.random.default_rng(0)
    for name, rank in (("chance", lambda cells: random.random(len(cells))),
                       ("perfect", lambda cells: cells != NEGATIVE)):  # fmt: skip
        ranked["control", name] = [
            _ranked(sample, row, rank(sample.truth[row]))
            for row, slide in enumerate(sample.slides)
            if slide.label != NEGATIVE
        ]
    return ranked


def explained(reading: Reading, row: int) -> Judge:
    """What a selector is told: head, gate, and the most probable lesion class of the slide."""
    slide_class = 1 + int(reading.p[row, 1:].argmax())
    return Judge(head=reading.head, slide_class=slide_class, gate=reading.gate)


def precision_table(ranked: Ranked, classes: Classes) -> dict[str, Any]:
    names = classes.slides[1:]
    rows = []
    for (method, selector), slides in ranked.items():
        found = {each.label: each.precision.as_dict() for each in precision_by_class(slides)}
        rows.append([method, selector, *map(found.get, names)])
    return {"columns": ["method", "selector", *names], "rows": rows}


def recall_table(ranked: Ranked) -> dict[str, Any]:
    rows = [
        [method, selector, *(each.as_dict() for each in top_k_recall(slides, KS))]
        for (method, selector), slides in ranked.items()
    ]
    return {"columns": ["method", "selector", *(f"K = {k}" for k in KS)], "rows": rows}


def f1_table(readings: Mapping[str, Reading], sample: Sample, classes: Classes) -> dict[str, Any]:
    """F1 of the kept cells' classes; how many of each there are; one answer for all beside it."""
    truth, names = true_cells(sample, classes), classes.cells
    counts = np.bincount(truth, minlength=len(names))
    rows: list[list[Any]] = [["cells", *counts.tolist(), None, None]]
    for method, reading in readings.items():
        table = count_calls(truth, called_cells(reading), len(names))
        rows.append([method, *map(_rounded, _cell_measures(table))])
    always = np.zeros((len(names), len(names)))
    always[:, 0] = counts
    rows.append(["control: always NILM", *map(_rounded, _cell_measures(always))])
    return {"columns": ["method", *names, "macro-F1", "kappa"], "rows": rows}


def mismatch_table(
    readings: Mapping[str, Reading], sample: Sample, classes: Classes
) -> dict[str, Any]:
    """How often which cell class leads, and in how many slides none of the best is of its own."""
    home = dict(zip(classes.slides, classes.cell_of_slide, strict=True))
    rows = []
    for method, reading in readings.items():
        tops = [top_calls(bag) for bag in reading.bags]
        for label in dict.fromkeys(sample.labels):
            own = [top for top, slide in zip(tops, sample.slides, strict=True)
                   if slide.label == label]  # fmt: skip
            leads = np.bincount([leading_class(top) for top in own], minlength=len(classes.cells))
            never = sum(home[label] not in top for top in own)
            rows.append(
                [method, label, len(own), *(leads / len(own)).round(3).tolist(),
                 _rounded(leads[home[label]] / len(own)), never]
            )  # fmt: skip
    columns = ["method", "slide", "slides", *(f"{name} leads" for name in classes.cells)]
    return {"columns": [*columns, "own class leads", "never calls it"], "rows": rows}


def top_calls(bag: ScoredBag) -> NDArray[np.int64]:
    """Called classes of the 32 cells of highest lesion probability."""
    return bag.probabilities[keep_top(bag.p_lesion, TOP)].argmax(axis=1)


def leading_class(calls: NDArray[np.int64]) -> int:
    """The most frequent lesion class among called classes; 0 (NILM) where there is none."""
    lesions = np.bincount(calls, minlength=2)[1:]
    return 1 + int(lesions.argmax()) if lesions.any() else 0


def agreement_table(readings: Mapping[str, Reading], sample: Sample) -> dict[str, Any]:
    kinds, rows_of_cells = sampled_cells(sample)
    rows = [
        [method, _rounded(neighbour_agreement(reading.vectors, sample.labels)),
         _rounded(neighbour_agreement(all_features(reading)[rows_of_cells], kinds))]
        for method, reading in readings.items()
    ]  # fmt: skip
    chance = [_rounded(chance_agreement(labels)) for labels in (sample.labels, kinds)]
    return {
        "columns": ["method", "slides", "cells by subtype"],
        "rows": [*rows, ["control: chance", *chance]],
    }


def sampled_cells(sample: Sample) -> tuple[list[str], NDArray[np.int64]]:
    """Subtypes of the cells that are mapped, and their rows among all cells of the sample."""
    kinds = np.concatenate(sample.kind)
    rows = draw_evenly(kinds.tolist(), POINTS, np.random.default_rng(0))
    return kinds[rows].tolist(), rows


def all_features(reading: Reading) -> NDArray[np.float32]:
    return np.concatenate([bag.features for bag in reading.bags])


def called_cells(reading: Reading) -> NDArray[np.int64]:
    return np.concatenate([bag.probabilities for bag in reading.bags]).argmax(axis=1)


def true_cells(sample: Sample, classes: Classes) -> NDArray[np.int64]:
    place = {name: index for index, name in enumerate(classes.cells)}
    return np.array([place[name] for name in np.concatenate(sample.truth).tolist()])


def _ranked(sample: Sample, row: int, score: NDArray[Any]) -> RankedSlide:
    lesion = sample.truth[row] != NEGATIVE
    return RankedSlide(sample.slides[row].label, lesion, score, sample.n_lesions[row])


def _cell_measures(table: NDArray[np.float64]) -> list[float]:
    return [*f1_by_class(table).tolist(), macro_f1(table), cohen_kappa(table)]


def _rounded(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else round(float(value), 4)
