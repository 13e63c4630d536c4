"""What one seed's trained models say of a sample of the test, beside the drawn truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import nn

from koilo.datasets.crop_store import CropStore, StoredSlide
from koilo.errors import ConfigError
from koilo.mil.bottleneck import BottleneckGate, BottleneckSettings, fit_bottleneck
from koilo.mil.scored import ScoredBag, with_detector_scores
from koilo.phantom.multicentre.kinds import COHORT_KINDS
from koilo.progress import log
from koilo.train.joint import Classes
from koilo.train.swift_model import read_bags_of_store
from stride import TWO_STAGE, Plan, Study, judged_folder, lineage, run_folder
from stride_maps import draw_evenly

KEPT = 64
"""Cells of a slide that are ranked: all that a cohort draws, more than the head was trained on."""
GATE_SLIDES = 400
"""Training slides, equally many a class, on which the information bottleneck's gate is fitted."""
MIMIC = "mimic (NILM)"


@dataclass(frozen=True)
class Reading:
    """What one method's model says of the sampled slides."""

    bags: Sequence[ScoredBag]
    head: nn.Module
    p: NDArray[np.float32]
    """(S, C) of the slide classes"""
    vectors: NDArray[np.float32]
    """(S, V), what the head's last layer reads"""
    gate: BottleneckGate
    """an information bottleneck on the same features"""


@dataclass(frozen=True)
class Sample:
    """The sampled slides and the truth of their cells."""

    slides: Sequence[StoredSlide]
    truth: Sequence[NDArray[np.str_]]
    """(N,) cell classes of each slide's bag"""
    kind: Sequence[NDArray[np.str_]]
    """(N,) the class, or `MIMIC`"""
    n_lesions: Sequence[int]
    """all lesion cells of each slide, missed ones too"""

    @property
    def labels(self) -> list[str]:
        """The slides' labels."""
        return [slide.label for slide in self.slides]


def has_run(study: Study, method: str) -> bool:
    """Whether the models of a method, and of what it began from, are on disk."""
    *starts, last = lineage(method)
    folders = [run_folder(study.out, study.seed, name, study.rates) for name in starts]
    begun = [folder / "head" if name in TWO_STAGE else folder
             for name, folder in zip(starts, folders, strict=True)]  # fmt: skip
    needed = [*begun, metrics_folder(study, last)]
    return all((folder / "metrics.json").exists() for folder in needed)


def no_model(study: Study, methods: Sequence[str]) -> ConfigError:
    """What to say where none of the methods has run."""
    return ConfigError(
        f"{study.out} holds no model of {', '.join(methods)} with seed {study.seed}. One of them "
        "is needed. Run runs/stride.sh first, or give the --seed that it ran with."
    )


def metrics_folder(study: Study, method: str) -> Path:
    folder = run_folder(study.out, study.seed, method, study.rates)
    return judged_folder(folder, method)


def draw_sample(store: CropStore, classes: Classes, n: int) -> Sample:
    """About ``n`` slides of the internal test, equally many a class, with their cells' truth."""
    every = store.of_split("test")
    rows = draw_evenly([slide.label for slide in every], n, np.random.default_rng(0))
    slides = sorted((every[row] for row in rows), key=lambda s: classes.slides.index(s.label))
    bags = [store.bag(slide.slide_id, KEPT) for slide in slides]
    told = pq.read_table(store.folder / "truth" / "slides.parquet").to_pydict()
    lesions = dict(zip(told["slide_id"], told["n_lesions"], strict=True))
    drawn = pq.read_table(store.folder / "truth" / "cells.parquet", columns=["crop", "kind"])
    subtype = store.cells.truth.astype(object)
    for crop, kind in zip(*drawn.to_pydict().values(), strict=True):
        if crop >= 0 and COHORT_KINDS[kind].role == "mimic":
            subtype[crop] = MIMIC
    return Sample(
        slides,
        [store.cells.truth[bag] for bag in bags],
        [subtype[bag].astype(str) for bag in bags],
        [int(lesions[slide.slide_id]) for slide in slides],
    )


def read_slides(study: Study, method: str, sample: Sample) -> Reading:
    """Bags, slide probabilities and slide vectors by the model of a method."""
    log.info("reading %d slides by %s", len(sample.slides), method)
    net, head = study.judged(method)
    bags = read_bags_of_store(net, study.store, sample.slides, KEPT)
    scored = with_detector_scores(bags, study.store)
    head.eval()
    seen: list[torch.Tensor] = []
    hook = head.get_submodule("classify").register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    p = []
    with torch.no_grad():
        for bag in scored:
            x = torch.from_numpy(bag.features).unsqueeze(0)  # (1, N, D)
            logits, _ = head(x, torch.ones(x.shape[:2], dtype=torch.bool))
            p.append(logits[0].softmax(0).numpy())
    hook.remove()
    gate = fit_gate(net, study.store, study.plan, study.seed)
    return Reading(scored, head, np.stack(p), torch.cat(seen).numpy(), gate)


def fit_gate(net: nn.Module, store: CropStore, plan: Plan, seed: int) -> BottleneckGate:
    """A gate on the frozen features, fitted on slides of the training split."""
    every = store.of_split("train")
    rows = draw_evenly([slide.label for slide in every], GATE_SLIDES, np.random.default_rng(seed))
    bags = read_bags_of_store(net, store, [every[row] for row in rows], plan.settings.top_k)
    classes = plan.net.classes.slides
    training = bags.bags("features", classes, "train")
    return fit_bottleneck(training, len(classes), BottleneckSettings(), seed)[0]
