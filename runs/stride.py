"""Train the methods of STRIDE's comparison on one cohort, each from the same start, resumably.

    runs/stride.sh COHORT OUT [--methods a,b] [--seeds 1,2,3] [--smoke] [--tune] [--threads N]
                   [--start WEIGHTS]

Methods: ``two_stage`` (cells, then a head on frozen features), ``two_stage_nilm`` (its cell
training adds the bags of NILM slides of all centres), ``slide_ft`` (end to end without the cell
stream), ``swift_no_cam``, ``swift``, ``ceiling`` (two stages on the true labels of all cells);
then, from ``swift`` and for equal extra steps, ``continued``, ``random_shift``, ``stain_aug``,
``color_adv`` and ``color_adv_stain``. ``--tune`` trains each method in two rates on the first seed
and keeps in OUT/tuned.json what validation AUC prefers; later runs in OUT take it.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn

from koilo.bundle import load_bundle
from koilo.cells.model import MeanCellNet
from koilo.config import fingerprint
from koilo.datasets.crop_store import CropStore, open_crop_store
from koilo.encoders.starting import load_start, start_files
from koilo.errors import ConfigError, KoiloError
from koilo.files import ensure_folder, write_json
from koilo.progress import log, start_logging
from koilo.train import LoopConfig
from koilo.train.recipes.swift import SwiftSettings
from koilo.train.record import hash_files
from koilo.train.stages import (
    NetConfig,
    Scores,
    averages_are_better,
    build_model,
    colour_stage,
    fit_head,
    restart_at_better,
    score_store,
    train_swift_stage,
    write_scores,
)
from koilo.train.stored_cells import store_files
from koilo.train.swift_model import SwiftModel

JUDGED = ("validation", "test", "unseen", "unseen_twin")
SPLITS = ("train", *JUDGED)
TWO_STAGE = {"two_stage": "given", "two_stage_nilm": "nilm", "ceiling": "all"}
JOINT = {
    "slide_ft": {"terms": ("slide",)},
    "swift_no_cam": {"cam": "none"},
    "swift": {},
}
COLOUR = {
    "continued": "none",
    "random_shift": "random",
    "stain_aug": "stain",
    "color_adv": "adversarial",
    "color_adv_stain": "adversarial_stain",
}
METHODS = (*TWO_STAGE, *JOINT, *COLOUR)
LONG_HEAD = "long_head"
START = "cytology"
"""The bundle in whose cell trunk all methods begin (docs/cohort.md says why)."""
BASE = "base"
RATES = {BASE: 1.0, "slow": 0.3}
"""The two configurations that every method is tried in: factors on its learning rate."""


@dataclass(frozen=True)
class Plan:
    """Sizes of one study, equal for all methods."""

    net: NetConfig
    start: Path | None
    settings: SwiftSettings
    cells: LoopConfig
    head: LoopConfig
    """of the head from which joint training starts"""
    long_head: LoopConfig
    """of the head by which two-stage methods are judged: as many updates as the joint ones have"""
    joint: LoopConfig
    colour: LoopConfig


def cpu_plan(*, smoke: bool, threads: int) -> Plan:
    """A CPU's sizes: 32 cells and 4 slides of 48 a step, 64 px, a plain convolutional trunk."""
    steps = {"cells": 800, "head": 1500, "long_head": 2300, "joint": 800, "colour": 200}
    if smoke:
        steps = {"cells": 20, "head": 40, "long_head": 60, "joint": 12, "colour": 6}
    adam = LoopConfig(
        lr=1e-3,
        optimizer="adam",
        weight_decay=1e-3,
        schedule="linear",
        clip=1.0,
        device="auto",
        threads=threads,
    )
    head = LoopConfig(lr=1e-3, ema=0.99, weight_decay=1e-3, threads=threads)
    return Plan(
        NetConfig(encoder="nanodet_frozen_norm"),
        load_bundle(START).folder,
        SwiftSettings(
            n_cells=32,
            n_slides=4,
            top_k=12 if smoke else 48,
            # Over a third of the steps, not a ninth; in the colour stage over 333: docs/cohort.md
            teacher_decay=0.997,
            young=4.0,
            cam="hirescam",  # Grad-CAM floods slides here: docs/cohort.md
        ),
        replace(adam, steps=steps["cells"]),
        replace(head, steps=steps["head"]),
        # As many updates as start and joint stage have together, and their average.
        _watched(replace(head, steps=steps["long_head"], ema=0.999, young=4.0)),
        # The trunk at .3 of the head's rate (3e-4); validation AUC is taken at every fifth.
        _watched(replace(adam, steps=steps["joint"], lr_scales={"student.trunk": 0.3})),
        _watched(replace(adam, steps=steps["colour"], lr=1e-4, lr_scales={"student.trunk": 0.3})),
    )


def _watched(loop: LoopConfig) -> LoopConfig:
    return replace(loop, evaluate_every=max(1, loop.steps // 5))


def lineage(method: str) -> tuple[str, ...]:
    """A method after all that it begins from.

    >>> lineage("color_adv")
    ('two_stage', 'swift', 'color_adv')
    """
    if method in TWO_STAGE:
        return (method,)
    return (*lineage("two_stage" if method in JOINT else "swift"), method)


def run_folder(out: Path, seed: int, method: str, rates: dict[str, str]) -> Path:
    """A run's folder, named by the method and all that it began from, each with its rate."""
    names = [f"{name}-{rates.get(name, BASE)}" for name in lineage(method)]
    return out / "runs" / str(seed) / "+".join(names)


def judged_folder(folder: Path, method: str) -> Path:
    """Where in a run's folder lies the record of the stage by which its method is judged."""
    return folder / LONG_HEAD if method in TWO_STAGE else folder


def tuned_rates(out: Path) -> dict[str, str]:
    """The rate of each method that ``--tune`` chose in ``out``; none before."""
    return dict(_tuned(out)["rates"])


def _tuned(out: Path) -> dict[str, Any]:
    """What ``--tune`` left in ``out``: the rate of each method and the AUC of both rates.

    Raises:
        ConfigError: the file is damaged.
    """
    path = out / "tuned.json"
    if not path.exists():
        return {"rates": {}, "validation_auc": {}}
    try:
        known = dict(json.loads(path.read_text(encoding="utf-8")))
        wrong = {name: rate for name, rate in known["rates"].items() if rate not in RATES}
        if wrong or "validation_auc" not in known:
            raise ValueError(f"rates {wrong} are unknown" if wrong else "no validation_auc")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{path} is not what --tune leaves ({error}). Remove it and give --tune again: what "
            "was trained is not trained again."
        ) from error
    return known


class Study:
    """One seed's models on one cohort; what is on disk is not trained again."""

    def __init__(
        self, store: CropStore, plan: Plan, out: Path, seed: int, rates: dict[str, str]
    ) -> None:
        self.store, self.plan, self.out, self.seed, self.rates = store, plan, out, seed, rates

    def model(self, method: str) -> SwiftModel:
        """The trained model of a method, and of what it starts from."""
        if method in TWO_STAGE:
            return self._head(method, self._cells(method), LONG_HEAD, self.plan.long_head)
        if method in JOINT:
            settings = replace(self.plan.settings, **JOINT[method])
            return self._joint(method, self.start(), settings, self.plan.joint)
        settings = colour_stage(self.plan.settings, COLOUR[method])
        return self._joint(method, self._best_of("swift"), settings, self.plan.colour)

    def start(self) -> SwiftModel:
        """Two stages with the short head: where the joint methods begin."""
        return self._head("two_stage", self._cells("two_stage"), "head", self.plan.head)

    def _best_of(self, method: str) -> SwiftModel:
        """A finished joint method's model, begun anew at what is judged of it."""
        model = self.model(method)
        restart_at_better(model, self.metrics(method))
        return model

    def judged(self, method: str) -> tuple[MeanCellNet, nn.Module]:
        """Cell network and head of a finished run: its student or its averages, as judged."""
        return self.model(method).parts(averaged=averages_are_better(self.metrics(method)))

    def metrics(self, method: str) -> dict[str, float]:
        """What a finished run measured last, on validation."""
        folder = judged_folder(self._folder(method), method)
        return dict(json.loads((folder / "metrics.json").read_text())["metrics"])

    def _cells(self, method: str) -> SwiftModel:
        """A network of cells taught on labelled ones; its head knows nothing yet."""
        plan, folder = self.plan, self._folder(method)
        model = build_model(plan.net, self.seed)
        if plan.start is not None:
            load_start(model.student.trunk, plan.start)
        settings = replace(plan.settings, terms=("cell",), n_cells=64, labels=TWO_STAGE[method])
        if not self._load(model, folder / "cells"):
            loop = self.loop_of(method, plan.cells)
            train_swift_stage(model, self.store, plan.net, settings, loop,
                              folder / "cells", self._start_files())  # fmt: skip
        return model

    def _head(self, method: str, model: SwiftModel, stage: str, loop: LoopConfig) -> SwiftModel:
        """Fit a head on the frozen features of its cells: the second of two stages."""
        plan, folder = self.plan, self._folder(method) / stage
        if (folder / "metrics.json").exists():
            model.head.load_state_dict(load_file(folder / "model.safetensors"))
        else:
            fit_head(model, self.store, plan.net, top_k=plan.settings.top_k,
                     loop=replace(loop, seed=self.seed), out=folder)  # fmt: skip
        model.teacher.load_state_dict(model.student.state_dict())
        model.head_average.load_state_dict(model.head.state_dict())
        return model

    def _joint(
        self, method: str, model: SwiftModel, settings: SwiftSettings, loop: LoopConfig
    ) -> SwiftModel:
        folder = self._folder(method)
        if not self._load(model, folder):
            loop = self.loop_of(method, loop)
            train_swift_stage(model, self.store, self.plan.net, settings, loop, folder)
        return model

    def _start_files(self) -> tuple[Path, ...]:
        return () if self.plan.start is None else start_files(self.plan.start)

    def _folder(self, method: str) -> Path:
        return run_folder(self.out, self.seed, method, self.rates)

    def loop_of(self, method: str, loop: LoopConfig) -> LoopConfig:
        """A stage's loop with this study's seed and the method's rate."""
        return replace(loop, seed=self.seed, lr=loop.lr * RATES[self.rates.get(method, BASE)])

    @staticmethod
    def _load(model: SwiftModel, folder: Path) -> bool:
        """Take a finished run's weights; metrics.json is what a run writes last."""
        if not (folder / "metrics.json").exists():
            return False
        model.load_state_dict(load_file(folder / "model.safetensors"))
        return True

    def validation_auc(self, method: str) -> float:
        """What a finished run measured last; the better of student and averages."""
        told = self.metrics(method)
        return float(max(value for name, value in told.items() if name.endswith("auc")))

    def scores(self, method: str) -> Scores:
        """What the method's model says of every slide."""
        plan = self.plan
        return score_store(
            self.model(method), self.store, plan.net.classes, plan.settings.top_k, SPLITS
        )


def refuse_other_study(out: Path, store: CropStore, plan: Plan) -> None:
    """Refuse an OUT of another cohort, start or sizes: what lies there would be taken as trained.

    Raises:
        ConfigError: ``out`` says so in its study.json.
    """
    begun = () if plan.start is None else start_files(plan.start)
    hashes = hash_files([*store_files(store), *(path for path in begun if path.exists())])
    own = fingerprint(replace(plan, start=None), *hashes.values())
    path = out / "study.json"
    if path.exists() and f'"{own}"' not in path.read_text(encoding="utf-8"):
        raise ConfigError(
            f"{out} holds models of another cohort, start or plan (--smoke has its own). One OUT "
            "a study: name a new one, or give the command that made it."
        )
    write_json(path, {"study": own, "cohort": str(store.folder)})


def tune(store: CropStore, plan: Plan, out: Path, seed: int, methods: list[str]) -> None:
    """Each method in every rate on one seed, in the order in which they start from each other.

    What was chosen before stays: later methods begin from it, and a killed run goes on.
    """
    path, known = out / "tuned.json", _tuned(out)
    for method in (name for name in methods if name not in known["rates"]):
        values = {}
        for rate in RATES:
            study = Study(store, plan, out, seed, known["rates"] | {method: rate})
            study.model(method)
            values[rate] = study.validation_auc(method)
        known["validation_auc"][method] = values
        known["rates"][method] = max(values, key=lambda rate: values[rate])
        log.info("%s: %s, so %s", method, values, known["rates"][method])
        write_json(path, known | {"seed": seed})


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cohort", type=Path, metavar="COHORT")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--smoke", action="store_true", help="a few steps; claims nothing")
    parser.add_argument("--tune", action="store_true", help="choose each method's rate first")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--start", type=Path, help="trunk in which all begin; the built-in one has seen all of CRIC"
    )
    options = parser.parse_args()
    start_logging()
    try:
        methods = _known(options.methods.split(","))
        seeds = _seeds(options.seeds)
        store = open_crop_store(options.cohort)
        plan = cpu_plan(smoke=options.smoke, threads=options.threads)
        if options.start is not None:
            plan = replace(plan, start=options.start)
        scores_folder = ensure_folder(options.out / "scores")
        refuse_other_study(options.out, store, plan)
        if options.tune:
            tune(store, plan, options.out, seeds[0], methods)
        rates = tuned_rates(options.out)
        for seed in seeds:
            study = Study(store, plan, options.out, seed, rates)
            for method in methods:
                path = scores_folder / f"{method}_{seed}.csv"
                if not path.exists():
                    write_scores(path, study.scores(method))
                    log.info("%s", path)
    except KoiloError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _known(methods: list[str]) -> list[str]:
    wrong = [name for name in methods if name not in METHODS]
    if wrong:
        raise ConfigError(
            f"There is no method {', '.join(map(repr, wrong))}. Allowed: {', '.join(METHODS)}. "
            "Correct --methods."
        )
    return [name for name in METHODS if name in methods]


def _seeds(words: str) -> list[int]:
    """The seeds of ``--seeds``, in the order given.

    >>> _seeds("3,1")
    [3, 1]
    """
    each = [word.strip() for word in words.split(",")]
    wrong = [word for word in each if not (word.isascii() and word.isdigit())]
    if wrong:
        raise ConfigError(
            f"--seeds {words}: {', '.join(map(repr, wrong))} is no seed. Allowed: whole numbers "
            "from 0, parted by commas (1,2,3). Correct --seeds."
        )
    return list(dict.fromkeys(map(int, each)))


if __name__ == "__main__":
    sys.exit(main())
