"""Recipe "self_supervised": a trunk learns from a crop store's cells without a label.

SimCLR, MoCo v2 or DINO on the cells of the training slides' bags; at each measurement the collapse
alarm, and a linear probe: how well frozen features tell the cell classes apart. What is left is
the probed network, as `koilo.cells` takes it, and ``trunk.safetensors``, the starting weights of a
fine-tuning (``koilo train semi --method supervised --start …``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from koilo.cells.predict import build_cell_net
from koilo.datasets.crop_store import CropStore, open_crop_store
from koilo.encoders.starting import load_start, start_files
from koilo.errors import ConfigError
from koilo.progress import log
from koilo.runtime import mix_seed, seed_all
from koilo.train.batches import IndexedBatches, batch_rng
from koilo.train.collapse import CollapseAlarm
from koilo.train.loop import FitResult, fit
from koilo.train.probe import fit_linear_probe
from koilo.train.recipe import LoopConfig, Progress
from koilo.train.self_supervision import (
    Dino,
    DinoSettings,
    Moco,
    MocoSettings,
    Simclr,
    SimclrSettings,
)
from koilo.train.stored_cells import (
    bag_rows,
    class_problems,
    labelled_cells,
    measured_cells,
    read_images,
    score_cells,
    store_files,
    write_cell_model,
)
from koilo.train.swift_model import read_cells
from koilo.train.views import StrongView

METHODS = ("simclr", "moco", "dino")


@dataclass(frozen=True)
class SelfSupervisedConfig:
    """Train a trunk on the cells of a crop store without labels, then probe it."""

    store: Path = field(metadata={"result": False})
    """crop store, as `koilo data bags` or runs/cohort.sh make it"""
    out: Path = field(default=Path("self_supervised"), metadata={"result": False})
    """folder of the run: weights, checkpoint, log, run.json, cells.json, trunk.safetensors"""
    method: str = "simclr"
    """simclr, moco or dino"""
    encoder: str = "convnext_twin"
    """trunk (STRIDE's rows: vit_small; convnext_twin or vit_twin on CPUs)"""
    encoder_config: dict[str, Any] = field(default_factory=dict)
    """arguments that replace the encoder's defaults"""
    start: Path | None = None
    """starting weights of the trunk: safetensors, or a folder in the format of transformers"""
    classes: tuple[str, ...] = ("NILM", "ASC-US", "LSIL", "ASC-H+HSIL+SCC", "AGC")
    """cell classes of the probe, NILM first (STRIDE's five)"""
    batch: int = 128
    """cells a batch, two views and more of each (papers 4,096, 256 and 1,024)"""
    batches_per_epoch: int = 100
    """batches that count as one epoch (cells are drawn, not enumerated)"""
    view: StrongView = field(
        default_factory=lambda: StrongView(
            crop=0.6, crop_to=1.0, hue=0.05, saturation=0.4, value=0.25
        )
    )
    """how far a view goes (papers: crops from .08 of the area, grey, blur)"""
    simclr: SimclrSettings = field(default_factory=SimclrSettings)
    """SimCLR's own values"""
    moco: MocoSettings = field(default_factory=MocoSettings)
    """MoCo v2's own values"""
    dino: DinoSettings = field(default_factory=DinoSettings)
    """DINO's own values"""
    alarm: CollapseAlarm = field(default_factory=CollapseAlarm)
    """bounds of the embeddings' rank and spread below which training stops"""
    alarm_cells: int = 512
    """unlabelled cells, always the same, on which they are measured"""
    probe_l2: float = 1e-3
    """strength of the linear probe's penalty"""
    validation_cells: int = 4000
    """cells of the validation split that are measured, drawn by chance; 0 = all"""
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(steps=1500, evaluate_every=250, clip=3.0)
    )
    """how the recipe is stepped"""

    def __post_init__(self) -> None:
        """Refuse what no run can have, all in one error."""
        problems = class_problems(self.classes)
        if self.method not in METHODS:
            problems.append(f"method is {self.method!r} (allowed: {', '.join(METHODS)})")
        lows = {"batch": 2, "batches_per_epoch": 1, "alarm_cells": 2}
        for name, low in lows.items():
            if getattr(self, name) < low:
                problems.append(f"{name} is {getattr(self, name)} (allowed: {low} or more)")
        if self.moco.queue < 1:
            problems.append(f"moco.queue is {self.moco.queue} (allowed: 1 or more)")
        if not 0 < self.dino.local_share <= 1:
            problems.append(f"dino.local_share is {self.dino.local_share} (allowed: above 0 to 1)")
        if problems:
            raise ConfigError(f"{'; '.join(problems)}. Correct the settings of self_supervised.")


def train_self_supervised(config: SelfSupervisedConfig) -> None:
    """Train a trunk without labels, probe it, and say what the probe measures on validation.

    Raises:
        ManifestError: there is no whole crop store.
        ConfigError: the encoder is unknown.
        TrainingError: the embeddings have collapsed, bags or labels are missing, the start does
            not fit, or training stops.
        OutputError: ``config.out`` cannot be written.
    """
    store = open_crop_store(config.store)
    recipe = SelfSupervisedRecipe(config, store)
    data = [*store_files(store), *(start_files(config.start) if config.start else ())]
    result: FitResult = fit(recipe, config.loop, config.out, settings=config, data=data)
    sizes = {"encoder": config.encoder, "encoder_config": dict(config.encoder_config)}
    weights = write_cell_model(config.out, recipe.cell_net, store, config.classes, sizes)
    for name, value in result.metrics.items():
        log.info("%s: %.4f", name, value)
    log.info("The probed cell network is in %s.", weights)


class SelfSupervisedBatch(NamedTuple):
    """One step's crops, uint8 (B, 3, P, P), and the seed of their views."""

    images: Tensor
    seed: int


class SelfSupervisedRecipe:
    """The five members the loop asks for, over the bags of a crop store."""

    def __init__(self, config: SelfSupervisedConfig, store: CropStore) -> None:
        self.config, self.store = config, store
        self.rows = bag_rows(store)
        self.labelled = labelled_cells(store, config.classes)
        self.validation = measured_cells(
            store, config.classes, split="validation", limit=config.validation_cells
        )
        fixed = np.random.default_rng(0).permutation(len(self.rows))[: config.alarm_cells]
        self._watched = self.rows[np.sort(fixed)]
        seed_all(config.loop.seed)
        net = build_cell_net(
            "mean",
            n_outputs=len(config.classes),
            encoder=config.encoder,
            encoder_config=config.encoder_config,
        )
        if config.method == "dino":
            _refuse_tiny_views(config, store.crop_px, net.trunk)  # type: ignore[arg-type]
        if config.start is not None:
            load_start(net.trunk, config.start)  # type: ignore[arg-type]
        net.head.requires_grad_(False)  # the probe's, fitted and not trained
        self._model = _build_method(config, net)

    @property
    def model(self) -> Simclr | Moco | Dino:
        """The cell network with the method's heads, teacher and queue."""
        return self._model

    @property
    def cell_net(self) -> nn.Module:
        """The network that is measured and left: DINO's teacher, as in the paper, else its own."""
        return self._model.teacher_net.net if isinstance(self._model, Dino) else self._model.net

    def batches(self, epoch: int) -> IndexedBatches:
        """Unlabelled crops, drawn by (seed, epoch, index)."""
        return IndexedBatches(
            self.config.batches_per_epoch, lambda index: self._make_batch(epoch, index)
        )

    def losses(self, batch: SelfSupervisedBatch, progress: Progress) -> Mapping[str, Tensor]:
        """The method's loss."""
        generator = torch.Generator().manual_seed(batch.seed)
        loss = self._model.loss(batch.images.float(), generator, progress.share)
        return {self.config.method: loss}

    def after_step(self, progress: Progress) -> None:
        """Move what follows the network."""
        self._model.after_step(progress.share)

    def evaluate(self) -> Mapping[str, float]:
        """Rank and spread of the embeddings, and what a linear probe reaches on validation.

        The probe's layer becomes the head of the cell network.

        Raises:
            TrainingError: the embeddings have collapsed.
        """
        net = self.cell_net
        embeddings, _ = read_cells(net, self.store, self._watched)
        values = self.config.alarm.check(torch.from_numpy(embeddings))
        features, _ = read_cells(net, self.store, self.labelled.rows)
        probe = fit_linear_probe(
            torch.from_numpy(features),
            torch.from_numpy(self.labelled.labels),
            len(self.config.classes),
            l2=self.config.probe_l2,
        )
        net.head.load_state_dict(probe.state_dict())  # type: ignore[union-attr]
        if len(self.validation):
            _, p = read_cells(net, self.store, self.validation.rows)
            values |= score_cells(p, self.validation.labels, self.config.classes)
        return values

    def _make_batch(self, epoch: int, index: int) -> SelfSupervisedBatch:
        config = self.config
        rng = batch_rng(config.loop.seed, epoch, index)
        rows = rng.choice(self.rows, config.batch, replace=config.batch > len(self.rows))
        seed = mix_seed(config.loop.seed, epoch, index, 1)
        return SelfSupervisedBatch(read_images(self.store, rows), seed)


def _refuse_tiny_views(config: SelfSupervisedConfig, crop_px: int, trunk: nn.Module) -> None:
    """Refuse small views that the trunk's last map would have no place for."""
    side_px = round(config.dino.local_share * crop_px)
    least_px = int(trunk.strides[-1])  # type: ignore[index]
    if config.dino.local_views and side_px < least_px:
        raise ConfigError(
            f"dino.local_share {config.dino.local_share:g} of crops of {crop_px} px gives views of "
            f"{side_px} px. Allowed with {config.encoder}: {least_px} px or more. Raise it, or "
            "set dino.local_views to 0."
        )


def _build_method(config: SelfSupervisedConfig, net: nn.Module) -> Simclr | Moco | Dino:
    if config.method == "simclr":
        return Simclr(net, config.view, config.simclr)
    if config.method == "moco":
        return Moco(net, config.view, config.moco)
    return Dino(net, config.view, config.dino)
