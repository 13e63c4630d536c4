"""Recipe "semi": semi-supervised cell classifiers on a crop store, four methods and a control.

All draw the same labelled cells, evenly over the classes and seen strongly; they differ in what
they make of the unlabelled cells of the training slides' bags: nothing (``supervised``, the
control), `mean_teacher`, `fixmatch`, `flexmatch` and `crest`. The methods' papers and departures
stand in `koilo.train.losses`; `koilo.train.generations` runs CReST's networks one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from koilo.cells.predict import build_cell_net
from koilo.datasets.crop_store import CropStore
from koilo.encoders.starting import load_start
from koilo.errors import ConfigError
from koilo.runtime import mix_seed, seed_all
from koilo.train.batches import IndexedBatches, batch_rng
from koilo.train.ema import keep_share
from koilo.train.losses.crest import (
    AlignedAnswers,
    temperature,
)
from koilo.train.losses.fixmatch import pseudo_label_loss
from koilo.train.losses.flexmatch import FlexThresholds
from koilo.train.losses.mean_teacher import consistency, ramp_up
from koilo.train.recipe import LoopConfig, Progress
from koilo.train.stored_cells import (
    KnownCells,
    bag_rows,
    class_problems,
    draw_evenly,
    labelled_cells,
    measured_cells,
    read_images,
    score_cells,
)
from koilo.train.swift_model import read_cells
from koilo.train.teacher import Teacher
from koilo.train.views import StrongView, strong_view, weak_view

METHODS = ("supervised", "mean_teacher", "fixmatch", "flexmatch", "crest")


@dataclass(frozen=True)
class SemiConfig:
    """Train a cell classifier on labelled and unlabelled cells of a crop store."""

    store: Path = field(metadata={"result": False})
    """crop store, as `koilo data bags` or runs/cohort.sh make it"""
    out: Path = field(default=Path("semi"), metadata={"result": False})
    """folder of the run: weights, checkpoint, log, run.json, cells.json"""
    method: str = "fixmatch"
    """supervised (the control), mean_teacher, fixmatch, flexmatch or crest"""
    encoder: str = "convnext_twin"
    """trunk of the cell network (paper: convnext_tiny)"""
    encoder_config: dict[str, Any] = field(default_factory=dict)
    """arguments that replace the encoder's defaults"""
    start: Path | None = None
    """starting weights of the trunk: safetensors, or a folder in the format of transformers"""
    classes: tuple[str, ...] = ("NILM", "ASC-US", "LSIL", "ASC-H+HSIL+SCC", "AGC")
    """cell classes, NILM first (STRIDE's five)"""
    batch: int = 32
    """labelled cells a batch (STRIDE 128, FixMatch 64)"""
    unlabelled: int = 96
    """unlabelled cells a batch (FixMatch: 7 times the labelled ones)"""
    batches_per_epoch: int = 100
    """batches that count as one epoch (cells are drawn, not enumerated)"""
    weight: float = 1.0
    """weight of the unlabelled loss of fixmatch, flexmatch and crest (papers 1)"""
    threshold: float = 0.95
    """how sure a pseudo-label must be (FixMatch, FlexMatch and CReST .95)"""
    consistency: float = 100.0
    """weight of mean_teacher's loss after its ramp-up (paper 100)"""
    ramp_up: float = 0.2
    """share of the run in which that weight rises (paper: 40,000 of 150,000 steps or more)"""
    teacher_keep: float = 0.99
    """share of mean_teacher's teacher kept at an update (paper .99, then .999)"""
    generations: int = 3
    """networks that crest trains one after the other, the run's steps shared (paper 6)"""
    rate_power: float = 1 / 3
    """crest's power of the rates at which pseudo-labels are taken (paper 1/3)"""
    alignment: bool = True
    """crest: align answers with the labelled classes' shares (CReST+); false = plain CReST"""
    t_min: float = 0.5
    """temperature of those shares in crest's last generation (paper .5)"""
    validation_cells: int = 4000
    """cells of the validation split that are measured, drawn by chance; 0 = all"""
    view: StrongView = field(default_factory=StrongView)
    """how far the strong view goes"""
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=1500, ema=0.99))
    """how the recipe is stepped; mean_teacher leaves its teacher, all others the loop's average"""

    def __post_init__(self) -> None:
        """Refuse what no run can have, all in one error."""
        problems = class_problems(self.classes)
        if self.method not in METHODS:
            problems.append(f"method is {self.method!r} (allowed: {', '.join(METHODS)})")
        for name in ("batch", "unlabelled", "batches_per_epoch", "generations"):
            if getattr(self, name) < 1:
                problems.append(f"{name} is {getattr(self, name)} (allowed: 1 or more)")
        for name in ("threshold", "teacher_keep", "ramp_up", "t_min"):
            if not 0 <= getattr(self, name) <= 1:
                problems.append(f"{name} is {getattr(self, name)} (allowed: 0 to 1)")
        if self.loop.steps < self.generations and self.method == "crest":
            problems.append(f"{self.loop.steps} steps for {self.generations} generations")
        if problems:
            raise ConfigError(f"{'; '.join(problems)}. Correct the settings of semi.")


class SemiBatch(NamedTuple):
    """One step's crops, uint8, and the seed of their views."""

    cells: Tensor
    """(b, 3, P, P)"""
    labels: Tensor
    """(b,)"""
    unlabelled: Tensor
    """(u, 3, P, P); empty for the control"""
    numbers: Tensor
    """(u,) each unlabelled cell's number among all of them"""
    seed: int


class SemiRecipe:
    """The five members the loop asks for, over a crop store.

    Args:
        config: the method and its settings.
        store: an open crop store.
        generation: number of crest's generation, from 0.
        pseudo: cells that earlier generations labelled.
    """

    def __init__(
        self,
        config: SemiConfig,
        store: CropStore,
        *,
        generation: int = 0,
        pseudo: KnownCells | None = None,
    ) -> None:
        self.config, self.store = config, store
        self.given = labelled_cells(store, config.classes)
        self.labelled = _joined(self.given, pseudo) if pseudo else self.given
        self.rows = bag_rows(store)
        self.validation = measured_cells(
            store, config.classes, split="validation", limit=config.validation_cells
        )
        seed_all(config.loop.seed)
        net = build_cell_net(
            "mean",
            n_outputs=len(config.classes),
            encoder=config.encoder,
            encoder_config=config.encoder_config,
        )
        if config.start is not None:
            load_start(net.trunk, config.start)  # type: ignore[arg-type]
        self._model = _SemiModel(config, net, len(self.rows), self._shares(), generation)
        self._noted: list[tuple[Tensor, Tensor]] = []

    @property
    def model(self) -> _SemiModel:
        """The network, and what its method keeps beside it."""
        return self._model

    @property
    def cell_net(self) -> nn.Module:
        """The network that is measured and left: the teacher where there is one."""
        teacher = self._model.teacher
        return teacher.net if teacher is not None else self._model.net

    def batches(self, epoch: int) -> IndexedBatches:
        """Labelled and unlabelled crops, drawn by (seed, epoch, index)."""
        return IndexedBatches(
            self.config.batches_per_epoch, lambda index: self._make_batch(epoch, index)
        )

    def losses(self, batch: SemiBatch, progress: Progress) -> Mapping[str, Tensor]:
        """Cross-entropy of the labelled cells, and the method's loss of the unlabelled ones."""
        generator = torch.Generator().manual_seed(batch.seed)
        cells = strong_view(batch.cells.float() / 255, generator, self.config.view) * 255
        if self.config.method == "supervised":
            return {"cells": functional.cross_entropy(self._model.net(cells), batch.labels)}
        weak = weak_view(batch.unlabelled.float() / 255, generator) * 255
        strong = strong_view(batch.unlabelled.float() / 255, generator, self.config.view) * 255
        logits = self._model.net(torch.cat([cells, strong])).float()  # (b + u, C)
        n = len(cells)
        losses = {"cells": functional.cross_entropy(logits[:n], batch.labels)}
        if self.config.method == "mean_teacher":
            return {**losses, **self._consistency(batch, weak, logits, generator, progress)}
        return {**losses, **self._pseudo_labels(batch, weak, logits[n:])}

    def after_step(self, progress: Progress) -> None:
        """Move the teacher, or take in what this update's weak views were called."""
        model = self._model
        if model.teacher is not None:
            keep = keep_share(self.config.teacher_keep, progress.step - 1)
            model.teacher.follow(model.net, keep)
        for numbers, p in self._noted:
            if model.flex is not None:
                model.flex.note(numbers, p)
            if model.aligned is not None:
                model.aligned.note(p)
        self._noted = []

    def evaluate(self) -> Mapping[str, float]:
        """Macro-F1, F1 by class and lesion AUC on validation cells; empty without any."""
        if not len(self.validation):
            return {}
        _, p = read_cells(self.cell_net, self.store, self.validation.rows)
        return score_cells(p, self.validation.labels, self.config.classes)

    def _consistency(
        self,
        batch: SemiBatch,
        weak: Tensor,
        logits: Tensor,
        generator: torch.Generator,
        progress: Progress,
    ) -> dict[str, Tensor]:
        """Mean-Teacher's loss, on labelled and unlabelled cells alike."""
        assert self._model.teacher is not None
        weak_cells = weak_view(batch.cells.float() / 255, generator) * 255
        with torch.no_grad():
            taught = self._model.teacher(torch.cat([weak_cells, weak])).float()
        weight = self.config.consistency * ramp_up(progress.share, self.config.ramp_up)
        return {"consistency": weight * consistency(logits, taught)}

    def _pseudo_labels(
        self, batch: SemiBatch, weak: Tensor, strong_logits: Tensor
    ) -> dict[str, Tensor]:
        """The loss of FixMatch, FlexMatch and CReST; the share of sure cells is logged."""
        model = self._model
        with torch.no_grad():
            p = model.net(weak).float().softmax(1)  # (u, C)
        self._noted.append((batch.numbers, p))
        if model.aligned is not None:
            p = model.aligned(p)
        fixed = p.new_full((p.shape[1],), self.config.threshold)
        thresholds = fixed if model.flex is None else model.flex()
        loss, sure = pseudo_label_loss(strong_logits, p, thresholds)
        return {"unlabelled": self.config.weight * loss, "sure": sure.float().mean()}

    def _make_batch(self, epoch: int, index: int) -> SemiBatch:
        config = self.config
        rng = batch_rng(config.loop.seed, epoch, index)
        places = draw_evenly(self.labelled.labels, config.batch, rng)
        n_unlabelled = 0 if config.method == "supervised" else config.unlabelled
        numbers = rng.choice(len(self.rows), n_unlabelled, replace=n_unlabelled > len(self.rows))
        return SemiBatch(
            read_images(self.store, self.labelled.rows[places]),
            torch.from_numpy(self.labelled.labels[places]),
            read_images(self.store, self.rows[numbers]),
            torch.from_numpy(numbers),
            mix_seed(config.loop.seed, epoch, index, 1),
        )

    def _shares(self) -> Tensor:
        counts = np.bincount(self.given.labels, minlength=len(self.config.classes))
        return torch.from_numpy(counts / counts.sum()).float()


class _SemiModel(nn.Module):
    """The network and what its method keeps beside it: all that a checkpoint holds."""

    def __init__(
        self, config: SemiConfig, net: nn.Module, n_cells: int, shares: Tensor, generation: int
    ) -> None:
        super().__init__()
        self.net = net
        self.teacher = Teacher(net) if config.method == "mean_teacher" else None
        self.flex: FlexThresholds | None = None
        if config.method == "flexmatch":
            self.flex = FlexThresholds(n_cells, len(config.classes), config.threshold)
        self.aligned: AlignedAnswers | None = None
        if config.method == "crest" and config.alignment:
            heat = temperature(generation, config.generations, config.t_min)
            self.aligned = AlignedAnswers(shares, heat)


def _joined(given: KnownCells, pseudo: KnownCells) -> KnownCells:
    """Given labels win where a cell has both."""
    new = ~np.isin(pseudo.rows, given.rows)
    return KnownCells(
        np.concatenate([given.rows, pseudo.rows[new]]),
        np.concatenate([given.labels, pseudo.labels[new]]),
    )
