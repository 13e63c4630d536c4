"""Test-time adaptation on one seed: does a head gain from a new centre's slides without labels?

    python runs/stride_adaptation.py COHORT OUT [--seed 1] [--smoke]

OUT is that of runs/stride.sh and holds the trained ``two_stage`` and ``swift``. The head of each
adapts to the slides of each unseen centre by class prototypes (koilo/mil/adaptation.py), as
published and faster; slides come in an order drawn by the seed. The control is what the adapted
heads do to the internal test. The page goes to docs/results/.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koilo.errors import TrainingError
from koilo.evaluate.comparison import paired_difference
from koilo.evaluate.operating_point import specificity_at
from koilo.evaluate.scores import auc
from koilo.mil import Bag
from koilo.mil.adaptation import AdaptationSettings, adapt
from koilo.progress import log
from koilo.train.recipes.slide_head import predict_bags
from koilo.train.swift_model import read_bags_of_store
from stride import Study, judged_folder, run_folder
from stride_page import (
    open_study,
    page_parser,
    run_script,
    write_page,
)

METHODS = ("two_stage", "swift")
PACES = {"published": AdaptationSettings(), "fast": AdaptationSettings(lr=1e-3, ema=0.9)}
"""A teacher that keeps .999 a batch hardly follows within one centre: hence a fast one as well."""
DRAWS = 1000

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Bags:
    """One method's bags of the splits that adaptation touches, and each slide's centre."""

    train: list[Bag]
    test: list[Bag]
    unseen: list[Bag]
    centre: dict[str, str]


def main() -> None:
    parser = page_parser(__doc__)
    options = parser.parse_args()
    started = time.time()
    study = open_study(options)
    table = adaptation_table(study)
    paces = [f"{name} (rate {each.lr:g}, teacher {each.ema:g})" for name, each in PACES.items()]
    name = "stride_adaptation"
    write_page(
        options,
        f"{name}.py",
        name,
        "Test-time adaptation to unseen centres (synthetic, one seed)",
        f"phantom cohort, seed {study.store.facts.get('seed')}",
        time.time() - started,
        tables={"adaptation": table},
        notes=[
            f"Paces: {', '.join(paces)}. Differences are after less before, 95 % by bootstrap of "
            "slides within class and centre. Unseen slides are judged while the head adapts to "
            "their centre; the internal test (control) by the head that each centre leaves, "
            "measures averaged. One seed: no interval over trainings, no verdict.",
        ],
    )


def adaptation_table(study: Study) -> dict[str, Any]:
    """Rows: method, rate and split; columns: each measure before, after, and how it moved.

    Raises:
        TrainingError: a run is missing in OUT, or the head calls no training slide right.
    """
    for method in METHODS:  # before the first is read
        refuse_unfinished(study, method)
    rows = []
    for method in METHODS:
        head, bags = head_and_bags(study, method)
        unseen_before, test_before = p_positive(head, bags.unseen), p_positive(head, bags.test)
        for pace, settings in PACES.items():
            unseen, test = adapted(head, bags, settings, study.seed)
            for split, own, before, after in (
                ("unseen", bags.unseen, unseen_before, unseen),
                ("test (control)", bags.test, test_before, test),
            ):
                measured = compare(own, bags.centre, before, after)
                rows.append([method, pace, split, len(own), *measured])
                log.info("%s", rows[-1])
    names = [f"{name}, {when}" for name in ("AUC", "spec@sens95")
             for when in ("before", "after", "difference")]  # fmt: skip
    return {"columns": ["method", "pace", "split", "slides", *names], "rows": rows}


def refuse_unfinished(study: Study, method: str) -> None:
    """Refuse a method without a finished run.

    Raises:
        TrainingError: OUT holds none; training takes an hour and is stride.sh's to do.
    """
    folder = run_folder(study.out, study.seed, method, study.rates)
    folder = judged_folder(folder, method)
    if not (folder / "metrics.json").exists():
        raise TrainingError(
            f"{folder} holds no finished run of {method}. Adaptation starts from trained models. "
            f"Train them first: runs/stride.sh COHORT OUT --methods {','.join(METHODS)} --seeds "
            f"{study.seed}."
        )


def head_and_bags(study: Study, method: str) -> tuple[Any, Bags]:
    """A method's slide head, and what its cell network makes of the slides."""
    store, classes = study.store, study.plan.net.classes.slides
    net, head = study.judged(method)
    slides = [slide for slide in store.of_split("train", "test", "unseen") if slide.label]
    read = read_bags_of_store(net, store, slides, study.plan.settings.top_k)
    train, test, unseen = (
        read.bags("features", classes, split) for split in ("train", "test", "unseen")
    )
    return head, Bags(train, test, unseen, {slide.slide_id: slide.centre for slide in slides})


def adapted(
    head: Any, bags: Bags, settings: AdaptationSettings, seed: int
) -> tuple[Scores, Scores]:
    """p_positive (N,) of unseen slides while the head adapts, a centre at a time.

    And that (centres, N) of the internal test by the head that each centre leaves.
    """
    unseen, tests = np.zeros(len(bags.unseen)), []
    centres = np.array([bags.centre[bag.bag_id] for bag in bags.unseen])
    for centre in sorted(set(centres)):
        rows = np.random.default_rng(seed).permutation(np.flatnonzero(centres == centre))
        target = [bags.unseen[row] for row in rows]
        p, teacher = adapt(head, bags.train, target, settings)
        unseen[rows] = 1.0 - p[:, 0].astype(np.float64)
        tests.append(p_positive(teacher, bags.test))
    return unseen, np.stack(tests)


def p_positive(head: Any, bags: list[Bag]) -> Scores:
    """1 - p_NILM (N,) by a head, all cells of a bag read."""
    p = predict_bags(head, bags, top_k=max(len(bag.x) for bag in bags))
    return np.asarray(1.0 - p[:, 0].astype(np.float64))


def compare(bags: list[Bag], centre: dict[str, str], before: Scores, after: Scores) -> list[Any]:
    """AUC and ``spec@sens95`` before, after, and the difference with its interval.

    ``after`` may hold several rows (heads, N): the measures are averaged over them.
    """
    positive = np.array([bag.label > 0 for bag in bags])
    strata = np.array([f"{bag.label} {centre[bag.bag_id]}" for bag in bags])
    values: list[Any] = []
    for measure in (auc, specificity_at):
        reached = np.mean([measure(positive, row) for row in np.atleast_2d(after)])
        gap = paired_difference(positive, after, before, measure, strata=strata, draws=DRAWS)
        values += [round(float(measure(positive, before)), 3), round(float(reached), 3),
                   f"{gap.estimate:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})"]  # fmt: skip
    return values


if __name__ == "__main__":
    sys.exit(run_script(main))
