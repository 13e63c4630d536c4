"""Two of the paper's tables on one seed: slide heads by features, and backbones by mode.

    python runs/stride_tables.py heads COHORT OUT [--features a,b] [--seed 1] [--smoke]
    python runs/stride_tables.py backbones COHORT OUT [--seed 1] [--smoke]

``heads``: every slide head, refitted on the frozen features of two-stage, of the semi- and the
self-supervised methods and of SWIFT (``--features``: some of these, other methods of
runs/stride.sh, or the folder of an encoder of one's own in the format of transformers), beside the
two-stage rivals of Cheng 2021 and Zhu 2021. ``backbones``: two-stage and SWIFT with ConvNeXt, ViT
and a ResNet with BatchNorm, all from random weights, AUC with BatchNorm as in training and in eval
mode: as many slides stand in a batch as in a training step, drawn by chance, without its labelled
cells. OUT is that of runs/stride.sh: what it holds is not trained again. The page goes to
docs/results/, with ``--smoke`` to OUT.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from koilo.datasets.crop_store import CropStore, StoredSlide, open_crop_store
from koilo.evaluate.operating_point import specificity_at
from koilo.evaluate.scores import auc
from koilo.files import write_json
from koilo.mil import HEADS, BagSet
from koilo.mil.cheng import ChengRival
from koilo.mil.scored import with_detector_scores
from koilo.mil.zhu import ZhuRival
from koilo.progress import log, start_logging
from koilo.train import fit
from koilo.train.both_modes import in_both_modes
from koilo.train.recipes.slide_head import SlideHeadConfig, SlideHeadRecipe, predict_bags
from koilo.train.recipes.swift import SwiftSettings
from koilo.train.record import git_commit
from koilo.train.stages import NetConfig
from koilo.train.stored_cells import read_images
from koilo.train.swift_model import SwiftModel, refuse_empty_bags
from stride import JUDGED, SPLITS, Plan, Study, cpu_plan, refuse_other_study, tuned_rates
from stride_features import FEATURES, key_of, known_features, read_features, tells_classes
from stride_page import RANDOM_AUC, RANDOM_SCORE, page_path, run_script, smoke_notes

BACKBONES = ("convnext_twin", "vit_twin", "resnet_twin")
NOT_OF_FEATURES = {"evidence"}
"""Heads that read probabilities of classes, not features."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table", choices=("heads", "backbones"))
    parser.add_argument("cohort", type=Path, metavar="COHORT")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--features", default=",".join(FEATURES), help="of the heads")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--smoke", action="store_true", help="a few steps; claims nothing")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--page", type=Path, help="default: docs/results/stride_TABLE.json")
    options = parser.parse_args()
    start_logging()
    started = time.time()
    store = open_crop_store(options.cohort)
    plan = cpu_plan(smoke=options.smoke, threads=options.threads)
    refuse_other_study(options.out, store, plan)
    study = Study(store, plan, options.out, options.seed, tuned_rates(options.out))
    features = known_features(options.features)
    table = heads_table(study, features) if options.table == "heads" else backbones_table(study)
    missing = ", ".join(name for name in FEATURES if name not in features)
    told = {
        "heads": [
            "Features are scaled by training slides and frozen; every head has the same steps. The "
            "semi-supervised methods begin where SWIFT does, with as many steps and labelled "
            "cells; the self-supervised ones begin where all begin. One configuration each, not "
            f"tuned. Not run: {missing or 'nothing'}.",
        ],
        "backbones": ["All begin at random weights, which their few steps do not make up for."],
    }
    page = {
        "name": f"stride_{options.table}",
        "title": f"STRIDE's {options.table} on the multi-centre cohort (synthetic, one seed)",
        "command": f"python runs/stride_tables.py {options.table} COHORT OUT --seed {options.seed}"
        + " --smoke" * options.smoke,
        "commit": git_commit(),
        "data": f"phantom cohort, seed {store.facts.get('seed')}",
        "seed": options.seed,
        "seconds": round(time.time() - started),
        "figures": {},
        "controls": RANDOM_SCORE if options.table == "heads" else RANDOM_AUC,
        "tables": {options.table: table},
        "notes": [
            *smoke_notes(options.smoke),
            "One seed: no interval over trainings, no verdict.",
            *told[options.table],
        ],
    }
    name = f"stride_{options.table}"
    write_json(page_path(options.page, name, options.out, smoke=options.smoke), page)


def heads_table(study: Study, features: Sequence[str]) -> dict[str, Any]:
    """Rows: features and head; columns: AUC and spec@sens95 of each split."""
    rows = [row for name in features for row in _rows_of(study, name)]
    return {"columns": ["features", "head", *measure_names()], "rows": rows}


def _rows_of(study: Study, features: str) -> list[list[Any]]:
    """A row a head on one kind of features; kept in OUT, so that a killed table goes on there."""
    name, known_by = Path(features).name, key_of(features)
    folder = study.out / "heads" / str(study.seed)
    kept = folder / f"{known_by}.json"
    if kept.exists():
        return list(json.loads(kept.read_text(encoding="utf-8"))["rows"])
    slides = [s for s in study.store.of_split(*SPLITS) if s.label]
    bags = read_features(study, features, slides)
    rows = []
    for head in sorted(set(HEADS) - NOT_OF_FEATURES):
        p = refitted(bags, head, study.plan, folder / f"{known_by}-{head}", study.seed)
        rows.append([name, head, *measures(slides, p)])
        log.info("%s", rows[-1])
    if tells_classes(features):
        found = rivals(bags, study.store, slides, study.plan, study.seed)
        for rival, p_rival in found.items():
            rows.append([name, rival, *measures(slides, p_rival)])
            log.info("%s", rows[-1])
    write_json(kept, {"rows": rows})
    return rows


def refitted(bags: BagSet, head: str, plan: Plan, out: Path, seed: int) -> NDArray[np.float32]:
    """Probabilities (S, C) of all bags from a head that was trained on the training split."""
    classes = plan.net.classes.slides
    loop = replace(plan.long_head, seed=seed)
    config = SlideHeadConfig(
        bags=out,
        head=head,
        inputs="features",
        classes=classes,
        half_positive=True,
        cut_share=0.0,
        top_k=plan.settings.top_k,
        smoothing=0.0,
        loop=loop,
    )
    train = bags.bags("features", classes, "train")
    recipe = SlideHeadRecipe(config, train, [])
    fit(recipe, loop, out, settings=config)
    every = {bag.bag_id: bag for split in set(bags.splits)
             for bag in bags.bags("features", classes, split)}  # fmt: skip
    ordered = [every[bag_id] for bag_id in bags.bag_ids]
    return predict_bags(recipe.model, ordered, top_k=plan.settings.top_k)


def rivals(
    bags: BagSet, store: CropStore, slides: list[StoredSlide], plan: Plan, seed: int
) -> dict[str, NDArray[np.float64]]:
    """Cheng's and Zhu's probabilities of all slides, fitted on the training split."""
    classes = plan.net.classes.slides
    scored = with_detector_scores(bags, store)
    training = [i for i, slide in enumerate(slides) if slide.split == "train"]
    train_bags = [scored[i] for i in training]
    labels = [classes.index(slides[i].label) for i in training]
    cheng, zhu = ChengRival(scored[0].features.shape[1]), ZhuRival(len(classes))
    cheng.fit(train_bags, labels, seed)
    zhu.fit(train_bags, labels, seed)
    return {"Cheng 2021": cheng.predict(scored), "Zhu 2021": zhu.predict(scored)}


def backbones_table(study: Study) -> dict[str, Any]:
    """Rows: backbone and method; columns: AUC of each split in eval and in train mode."""
    store, plan, seed = study.store, study.plan, study.seed
    rows = []
    for name in BACKBONES:
        # No one start fits them all, so that all begin at random weights.
        own = replace(plan, net=NetConfig(encoder=name), start=None)
        inner = Study(store, own, study.out / "backbones" / name, seed, study.rates)
        for method in ("two_stage", "swift"):
            model = inner.model(method)
            row: list[Any] = [name, method]
            for split in JUDGED:
                slides = list(store.of_split(split))
                predict = _judge(model, store, slides, own.settings, seed)
                in_train, in_eval = in_both_modes(model, predict)
                positive = [slide.label != "NILM" for slide in slides]
                row += [round(float(auc(positive, 1 - p[:, 0])), 3) for p in (in_eval, in_train)]
            rows.append(row)
            log.info("%s", row)
    columns = [f"{split} AUC, {mode} mode" for split in JUDGED for mode in ("eval", "train")]
    return {"columns": ["backbone", "method", *columns], "rows": rows}


def _judge(
    model: SwiftModel,
    store: CropStore,
    slides: list[StoredSlide],
    settings: SwiftSettings,
    seed: int,
) -> Callable[[], NDArray[np.float32]]:
    """What judges slides (S, C) in batches of as many as a training step has, drawn by chance.

    With BatchNorm as in training an answer depends on the batch: neighbours in the manifest, often
    of one centre, would stand for what no step saw.
    """
    refuse_empty_bags(store, slides)
    order = np.random.default_rng(seed).permutation(len(slides))
    groups = np.array_split(order, -(-len(slides) // max(settings.n_slides, 1)))

    def predict() -> NDArray[np.float32]:
        rows = [_judged_together(model, store, [slides[i] for i in group], settings.top_k)
                for group in groups]  # fmt: skip
        p = np.concatenate(rows)
        return p[np.argsort(order)]

    return predict


@torch.no_grad()
def _judged_together(
    model: SwiftModel, store: CropStore, slides: list[StoredSlide], top_k: int
) -> NDArray[np.float32]:
    """Probabilities (S, C) of slides whose cells pass the network in one batch."""
    device = next(model.parameters()).device
    bags = [store.bag(slide.slide_id, top_k) for slide in slides]
    images = read_images(store, np.concatenate(bags)).to(device).float()
    p = []
    for z in model.student.features(images).split([len(bag) for bag in bags]):  # (N, D)
        logits, _ = model.head(z[None], torch.ones(1, len(z), dtype=torch.bool, device=device))
        p.append(logits[0].float().softmax(0).cpu().numpy())
    return np.stack(p)


def measures(slides: list[StoredSlide], p: NDArray[Any]) -> list[float]:
    """AUC and spec@sens95 of each split."""
    values = []
    for split in JUDGED:
        rows = [i for i, slide in enumerate(slides) if slide.split == split]
        positive = np.array([slides[i].label != "NILM" for i in rows])
        score = 1 - np.asarray(p, np.float64)[rows, 0]
        values += [round(float(f(positive, score)), 3) for f in (auc, specificity_at)]
    return values


def measure_names() -> list[str]:
    return [f"{split} {name}" for split in JUDGED for name in ("AUC", "spec@sens95")]


if __name__ == "__main__":
    sys.exit(run_script(main))
