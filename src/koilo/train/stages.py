"""The stages of end-to-end training on a crop store, each resumable, and the scores they leave.

Cells first, then a head on their frozen features (together the two-stage baseline, and where SWIFT
starts: an activation map of an untrained head means nothing), then the joint stage, then colours.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koilo.datasets.crop_store import CropStore, StoredSlide
from koilo.errors import TrainingError
from koilo.evaluate.operating_point import lock_threshold, specificity_at
from koilo.evaluate.scores import auc
from koilo.files import write_text
from koilo.progress import log
from koilo.runtime import seed_all
from koilo.train.joint import Classes, JointSampler
from koilo.train.loop import FitResult, fit
from koilo.train.recipe import LoopConfig
from koilo.train.recipes.slide_head import SlideHeadConfig, SlideHeadRecipe
from koilo.train.recipes.swift import SwiftRecipe, SwiftSettings
from koilo.train.stored_cells import store_files
from koilo.train.swift_model import (
    SwiftModel,
    build_swift_model,
    judge_slides,
    read_bags_of_store,
)


@dataclass(frozen=True)
class NetConfig:
    """The networks that are trained."""

    encoder: str = "convnext_tiny"
    """trunk of the cell network (paper convnext_tiny; twin convnext_twin)"""
    encoder_config: dict[str, Any] = field(default_factory=dict)
    """settings of the trunk"""
    head: str = "dense_attention"
    """slide head (the paper's: dense_attention)"""
    head_config: dict[str, Any] = field(default_factory=dict)
    """settings of the head"""
    classes: Classes = field(default_factory=Classes)
    """slide and cell classes"""


def build_model(config: NetConfig, seed: int) -> SwiftModel:
    """A model with random weights that depend on the seed alone.

    Raises:
        ConfigError: encoder, head or one of their settings is unknown.
    """
    seed_all(seed)
    return build_swift_model(
        config.classes,
        encoder=config.encoder,
        encoder_config=config.encoder_config,
        head=config.head,
        head_config=config.head_config,
    )


@dataclass(frozen=True)
class _StageSettings:
    """What a joint stage is known by beside its loop and data."""

    settings: SwiftSettings
    net: NetConfig


def train_swift_stage(
    model: SwiftModel,
    store: CropStore,
    net: NetConfig,
    settings: SwiftSettings,
    loop: LoopConfig,
    out: Path,
    start: Sequence[Path] = (),
) -> FitResult:
    """Train ``model`` on the terms of ``settings``; it holds the result afterwards.

    ``net`` is what ``model`` was built by. The teacher and the head's average start as copies of
    what they follow. ``start`` are the files whose weights ``model`` holds: a run that began
    elsewhere, or with other networks or classes, is refused, not resumed.

    Raises:
        TrainingError: the store cannot be trained on, or training cannot go on.
        OutputError: ``out`` cannot be written.
    """
    sampler = JointSampler(
        store,
        net.classes,
        n_cells=settings.n_cells if "cell" in settings.terms else 0,
        n_slides=settings.n_slides if settings.uses_bags else 0,
        top_k=settings.top_k,
        labels=settings.labels,
    )
    model.teacher.load_state_dict(model.student.state_dict())
    model.head_average.load_state_dict(model.head.state_dict())
    slides = [slide for slide in store.of_split("validation") if slide.label]

    def measure(trained: SwiftModel) -> Mapping[str, float]:
        if not slides or not settings.uses_bags:
            return {}
        return measure_both(trained, store, slides, settings.top_k)

    recipe = SwiftRecipe(model, sampler, settings, seed=loop.seed, measure=measure)
    known_by = _StageSettings(settings, net)
    return fit(recipe, loop, out, settings=known_by, data=[*store_files(store), *start])


def fit_head(
    model: SwiftModel,
    store: CropStore,
    config: NetConfig,
    *,
    top_k: int,
    loop: LoopConfig,
    out: Path,
    start: Sequence[Path] = (),
) -> FitResult:
    """Fit the model's head on the frozen features of its student: the second of two stages.

    ``start`` are the files whose weights the student holds.

    Raises:
        TrainingError: a slide has no cell, or the training split lacks negatives or positives.
        OutputError: ``out`` cannot be written.
    """
    slides = [slide for slide in store.of_split("train", "validation") if slide.label]
    bags = read_bags_of_store(model.student, store, slides, top_k)
    classes = config.classes.slides
    settings = SlideHeadConfig(
        bags=store.folder,
        head=config.head,
        head_config=config.head_config,
        inputs="features",
        classes=classes,
        half_positive=True,
        cut_share=0.0,
        top_k=top_k,
        smoothing=0.0,
        loop=loop,
    )
    recipe = SlideHeadRecipe(
        settings,
        bags.bags("features", classes, "train"),
        bags.bags("features", classes, "validation"),
    )
    data = [*store_files(store), *start]
    result = fit(recipe, loop, out, settings=settings, data=data)
    model.head.load_state_dict(recipe.model.state_dict())
    return result


def measure_both(
    model: SwiftModel, store: CropStore, slides: Sequence[StoredSlide], top_k: int
) -> dict[str, float]:
    """AUC and spec@sens95 of slides by the student with its head, and by their averages."""
    positive = np.array([slide.label != "NILM" for slide in slides])
    values = {}
    for averaged in (False, True):
        p = judge_slides(*model.parts(averaged=averaged), store, slides, top_k)
        name = "average" if averaged else "student"
        values[f"{name}_auc"] = auc(positive, 1 - p[:, 0])
        if positive.any() and not positive.all():
            values[f"{name}_spec@sens95"] = specificity_at(positive, 1 - p[:, 0])
    return {name: float(value) for name, value in values.items() if np.isfinite(value)}


def restart_at_better(model: SwiftModel, metrics: Mapping[str, float]) -> None:
    """Begin a further stage at what is judged of a finished one: its student or its averages.

    ``metrics`` are the finished stage's, by `measure_both`.
    """
    model.restart(averaged=averages_are_better(metrics))


def averages_are_better(metrics: Mapping[str, float]) -> bool:
    """Whether a finished stage is judged by its averages: the better validation AUC decides.

    >>> averages_are_better({"student_auc": 0.8, "average_auc": 0.9})
    True
    """
    return metrics.get("average_auc", 0.0) > metrics.get("student_auc", 0.0)


def colour_stage(settings: SwiftSettings, colour: str) -> SwiftSettings:
    """The settings of a further stage with colours changed: its averages go on, not young again.

    A young average forgets within a few steps what it began as, which is what was judged best.
    """
    return replace(settings, colour=colour, young=1.0)


@dataclass(frozen=True)
class Scores:
    """What a trained model says of every slide of a store, and the threshold it locked."""

    slides: tuple[StoredSlide, ...]
    p: NDArray[np.float32]
    """(S, C) of the slide classes"""
    classes: tuple[str, ...]
    threshold: float
    """the ⌈0.95 n⌉-th highest p_positive of validation's positives"""
    averaged: bool
    """whether the averages were taken, by validation AUC"""

    @property
    def p_positive(self) -> NDArray[np.float64]:
        """1 - p_NILM, ``(S,)``."""
        return 1.0 - self.p[:, 0].astype(np.float64)


def validation_slides(store: CropStore) -> tuple[list[StoredSlide], NDArray[np.bool_]]:
    """The labelled slides of validation, and which of them are positive, ``(S,)``.

    Raises:
        TrainingError: there is no positive or no NILM one.
    """
    slides = [slide for slide in store.of_split("validation") if slide.label]
    positive = np.array([slide.label != "NILM" for slide in slides], dtype=bool)
    if not positive.any() or positive.all():
        raise TrainingError(
            f"The validation split of {store.folder} holds {int(positive.sum())} positive of "
            f"{len(positive)} slides. A threshold is locked on positives and stated with its "
            "specificity: both kinds are needed. Correct the splits."
        )
    return slides, positive


def score_store(
    model: SwiftModel, store: CropStore, classes: Classes, top_k: int, splits: Sequence[str]
) -> Scores:
    """Judge the slides of ``splits``; student or averages are chosen by validation AUC.

    Raises:
        TrainingError: validation has no positive or no NILM slide, or a slide has no cell.
    """
    validation, positive = validation_slides(store)
    judged = {
        averaged: judge_slides(*model.parts(averaged=averaged), store, validation, top_k)
        for averaged in (False, True)
    }
    averaged = auc(positive, -judged[True][:, 0]) > auc(positive, -judged[False][:, 0])
    others = [slide for slide in store.of_split(*splits) if slide.split != "validation"]
    p = judged[averaged]
    if others:
        rest = judge_slides(*model.parts(averaged=averaged), store, others, top_k)
        p = np.concatenate([p, rest])
    threshold = lock_threshold(positive, 1.0 - judged[averaged][:, 0].astype(np.float64))
    log.info("taken by validation AUC: the %s", "averages" if averaged else "student")
    return Scores((*validation, *others), p, classes.slides, threshold, averaged)


def write_scores(path: Path, scores: Scores) -> None:
    """One row a slide: slide_id, split, centre, label, p_positive, p_<CLASS>…, threshold.

    Raises:
        OutputError: the file cannot be written.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names = [f"p_{name}" for name in scores.classes]
    writer.writerow(["slide_id", "split", "centre", "label", "p_positive", *names, "threshold"])
    for slide, p, positive in zip(scores.slides, scores.p, scores.p_positive, strict=True):
        values = [f"{positive:.6f}", *(f"{value:.6f}" for value in p)]
        writer.writerow(
            [slide.slide_id, slide.split, slide.centre, slide.label, *values,
             f"{scores.threshold:.6f}"]
        )  # fmt: skip
    write_text(path, buffer.getvalue())
