"""Recipe "organisms": a second head on a frozen cell classifier, on phantom organisms.

Crops are drawn from phantom centres, some with an organism in them, and run once through a bundle's
cell classifier; only the head learns. What is measured is measured on centres that it never saw.
Phantoms show what a textbook says of an organism: how the head does on real slides is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from koilo.bundle import load_bundle
from koilo.cells.organisms import OrganismHead, predict_organisms
from koilo.cells.predict import CellClassifier, load_classifier
from koilo.errors import ConfigError
from koilo.evaluate.scores import auc
from koilo.phantom.centre import draw_centre
from koilo.phantom.crops import training_bank
from koilo.phantom.organisms import ORGANISM_NAMES, draw_organism_crops
from koilo.progress import log, progress
from koilo.runtime import choose_device, seed_all
from koilo.train.batches import IndexedBatches, batch_rng
from koilo.train.loop import fit
from koilo.train.losses.multi_label import multi_label_loss
from koilo.train.recipe import LoopConfig, Progress

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class OrganismsConfig:
    """Train a head for organisms on phantom crops."""

    out: Path = field(default=Path("organisms"), metadata={"result": False})
    """folder of the run: weights, checkpoint, log, run.json"""
    model: str = "cytology"
    """bundle whose cell classifier gives the features: a built-in name or a folder"""
    train_centres: int = 12
    """phantom centres to learn from"""
    unseen_centres: int = 4
    """phantom centres to measure on, none of them learnt from"""
    crops: int = 250
    """crops a centre"""
    without: float = 0.35
    """share of crops that no organism is put into"""
    hidden: int = 128
    """width of the head"""
    batch: int = 64
    """crops a batch"""
    world: int = 0
    """seed of centres and crops"""
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=1500, ema=0.99))
    """how the recipe is stepped"""

    def __post_init__(self) -> None:
        """Refuse what no run can have, all in one error."""
        problems = [
            f"{name} is {getattr(self, name)} (allowed: 1 or more)"
            for name in ("train_centres", "unseen_centres", "crops", "hidden", "batch")
            if getattr(self, name) < 1
        ]
        if not 0 <= self.without < 1:
            problems.append(f"without is {self.without} (allowed: 0 up to, not with, 1)")
        if problems:
            raise ConfigError(f"{'; '.join(problems)}. Correct the settings of organisms.")


@dataclass(frozen=True)
class OrganismCells:
    """Features of crops and what they hold."""

    features: NDArray[np.float32]
    """(N, D)"""
    holds: NDArray[np.bool_]
    """(N, O), columns as `ORGANISM_NAMES`"""


def train_organisms(config: OrganismsConfig) -> None:
    """Train a head for organisms and say what it measures on unseen phantom centres.

    Raises:
        BundleError: the bundle cannot be used.
        TrainingError: training cannot go on.
        OutputError: ``config.out`` cannot be written.
    """
    classifier = load_classifier(load_bundle(config.model), choose_device(config.loop.device))
    first_unseen = config.train_centres
    train = draw_organism_cells(classifier, config, range(first_unseen))
    unseen = draw_organism_cells(
        classifier, config, range(first_unseen, first_unseen + config.unseen_centres)
    )
    result = fit(OrganismsRecipe(config, train, unseen), config.loop, config.out, settings=config)
    for name, value in result.metrics.items():
        log.info("%s on unseen centres: %.3f", name, value)
    log.info("The head is in %s.", result.weights)


def draw_organism_cells(
    classifier: CellClassifier, config: OrganismsConfig, centres: range
) -> OrganismCells:
    """Crops of phantom centres as a classifier sees them; each centre has its own seed."""
    bank = training_bank(config.world)
    features, holds = [], []
    with progress("drawing organisms", len(centres), unit="centres") as advance:
        for index in centres:
            crops, held = draw_organism_crops(
                np.random.default_rng([config.world, 0x0C, index]),
                draw_centre(config.world, index),
                n=config.crops,
                mpp=classifier.mpp,
                size_px=classifier.input_px,
                without=config.without,
                bank=bank,
            )
            features.append(classifier.predict(crops)[0])
            holds.append(held)
            advance(1)
    return OrganismCells(np.concatenate(features), np.concatenate(holds))


class OrganismsRecipe:
    """The five members the loop asks for, over features held in memory."""

    def __init__(
        self, config: OrganismsConfig, train: OrganismCells, unseen: OrganismCells
    ) -> None:
        """Build the head with random weights."""
        self.config, self.train, self.unseen = config, train, unseen
        seed_all(config.loop.seed)
        d_in = train.features.shape[1]
        self._model = OrganismHead(d_in, train.holds.shape[1], hidden=config.hidden)

    @property
    def model(self) -> nn.Module:
        """The head in training."""
        return self._model

    def batches(self, epoch: int) -> IndexedBatches:
        """Features (B, D) and what the crops hold (B, O), drawn by (seed, epoch, index)."""
        n_batches = max(len(self.train.features) // self.config.batch, 1)

        def make(index: int) -> Batch:
            rng = batch_rng(self.config.loop.seed, epoch, index)
            rows = rng.integers(len(self.train.features), size=self.config.batch)
            return (
                torch.from_numpy(self.train.features[rows]),
                torch.from_numpy(self.train.holds[rows]),
            )

        return IndexedBatches(n_batches, make)

    def losses(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """The multi-label loss of all organisms."""
        features, holds = batch
        return {"organisms": multi_label_loss(self._model(features), holds)}

    def after_step(self, progress: Progress) -> None:
        """Nothing: the head has no teacher and no queue."""

    def evaluate(self) -> Mapping[str, float]:
        """AUC of each organism, and sensitivity and specificity at .5, on unseen centres."""
        p = predict_organisms(self._model, self.unseen.features)
        return score_organisms(p, self.unseen.holds)


def score_organisms(p: NDArray[np.float32], holds: NDArray[np.bool_]) -> dict[str, float]:
    """Measures of ``p`` (N, O) against what crops hold (N, O); leaves out what is undefined."""
    figures = {}
    for column, name in enumerate(ORGANISM_NAMES):
        truth, called = holds[:, column], p[:, column] >= 0.5
        if truth.any() and not truth.all():
            figures[f"{name}_auc"] = auc(truth, p[:, column])
            figures[f"{name}_sensitivity"] = float(called[truth].mean())
            figures[f"{name}_specificity"] = float(1 - called[~truth].mean())
    if figures:
        figures["mean_auc"] = float(np.mean([v for k, v in figures.items() if k.endswith("_auc")]))
    return figures
