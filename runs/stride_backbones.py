"""Backbones on one seed, and what BatchNorm does to a slide: AUC in eval and in train mode.

    python runs/stride_backbones.py COHORT OUT [--seed 1] [--smoke]

Two-stage and SWIFT with ConvNeXt, ViT and a ResNet with BatchNorm, all from random weights. Judged
with BatchNorm as in training, as many slides stand in a batch as in a training step, drawn by
chance, without its labelled cells. OUT is that of runs/stride.sh, whose rates are taken; what it
holds is not trained again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from koilo.datasets.crop_store import CropStore, StoredSlide
from koilo.evaluate.scores import auc
from koilo.progress import log
from koilo.train.both_modes import in_both_modes
from koilo.train.recipes.swift import SwiftSettings
from koilo.train.stages import NetConfig
from koilo.train.stored_cells import read_images
from koilo.train.swift_model import SwiftModel, refuse_empty_bags
from stride import JUDGED, Study, refuse_other_study
from stride_page import (
    RANDOM_AUC,
    open_study,
    page_parser,
    run_script,
    write_page,
)

BACKBONES = ("convnext_twin", "vit_twin", "resnet_twin")


def main() -> None:
    options = page_parser(__doc__).parse_args()
    started = time.time()
    study = open_study(options)
    refuse_other_study(study.out, study.store, study.plan)
    table = backbones_table(study)
    name = "stride_backbones"
    write_page(
        options,
        f"{name}.py",
        name,
        "STRIDE's backbones on the multi-centre cohort (synthetic, one seed)",
        f"phantom cohort, seed {study.store.facts.get('seed')}",
        time.time() - started,
        controls=RANDOM_AUC,
        tables={"Backbones": table},
        notes=[
            "One seed: no interval over trainings, no verdict. All begin at random weights, which "
            "their few steps do not make up for.",
        ],
    )


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


if __name__ == "__main__":
    sys.exit(run_script(main))
