"""Recipe "organisms": a second head on a frozen cell classifier, on phantom organisms.

Crops are drawn from phantom centres, some with an organism in them, and run once through a bundle's
cell classifier; only the head learns. Thresholds are locked on further centres, and what is
measured is measured on centres that neither saw. The bundle with the head is a new one, in
``OUT/bundle``.
Phantoms show what a textbook says of an organism: on real cells such a head raises many false
alarms (half of CRIC's normal cells as clue cells, docs/results.md), and on real organisms it is
unmeasured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from koilo.bundle import Bundle, as_stored, load_bundle, write_bundle
from koilo.cells.organisms import STAGE, OrganismHead, predict_organisms
from koilo.cells.predict import CellClassifier, load_classifier
from koilo.errors import ConfigError
from koilo.evaluate.scores import auc
from koilo.phantom.centre import draw_centre
from koilo.phantom.crops import training_bank
from koilo.phantom.organisms import ORGANISM_NAMES, draw_organism_crops
from koilo.progress import log, progress
from koilo.runtime import choose_device, seed_all
from koilo.taxonomy import NEGATIVE
from koilo.train.batches import IndexedBatches, batch_rng
from koilo.train.loop import fit
from koilo.train.losses.multi_label import multi_label_loss
from koilo.train.recipe import LoopConfig, Progress
from koilo.train.record import git_commit

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
    locking_centres: int = 3
    """phantom centres to lock thresholds on"""
    unseen_centres: int = 4
    """phantom centres to measure on; all three sets of centres are apart"""
    specificity: float = 0.99
    """share of crops without an organism that have to stay under its threshold"""
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
            for name in (
                "train_centres",
                "locking_centres",
                "unseen_centres",
                "crops",
                "hidden",
                "batch",
            )
            if getattr(self, name) < 1
        ]
        if not 0 <= self.without < 1:
            problems.append(f"without is {self.without} (allowed: 0 up to, not with, 1)")
        if not 0 < self.specificity < 1:
            problems.append(f"specificity is {self.specificity} (allowed: between 0 and 1)")
        if problems:
            raise ConfigError(f"{'; '.join(problems)}. Correct the settings of organisms.")


@dataclass(frozen=True)
class OrganismCells:
    """Features of crops and what they hold."""

    features: NDArray[np.float32]
    """(N, D)"""
    holds: NDArray[np.bool_]
    """(N, O), columns as `ORGANISM_NAMES`"""
    suspicion: NDArray[np.float32]
    """(N,) the classifier's probability of any lesion: what the head has to beat"""


def train_organisms(config: OrganismsConfig) -> None:
    """Train a head for organisms, write the bundle that has it, and say what it measures.

    Raises:
        BundleError: the bundle cannot be used.
        TrainingError: training cannot go on.
        OutputError: ``config.out`` cannot be written.
    """
    source = load_bundle(config.model)
    classifier = load_classifier(source, choose_device(config.loop.device))
    train, locking, unseen = (
        draw_organism_cells(classifier, config, centres) for centres in sets_of_centres(config)
    )
    recipe = OrganismsRecipe(config, train, unseen)
    result = fit(recipe, config.loop, config.out, settings=config)
    head = recipe.model
    head.load_state_dict(_as_stored(load_file(result.weights)))
    p = predict_organisms(head, locking.features)
    thresholds = lock_thresholds(p, locking.holds, config.specificity)
    figures = score_organisms(predict_organisms(head, unseen.features), unseen.holds, thresholds)
    for name, value in figures.items():
        log.info("%s on unseen centres: %.3f", name, value)
    made = write_organisms_bundle(config, source, head, thresholds, figures)
    log.info("%s (sha256 %s): use it with --model %s", made.name, made.sha256[:12], made.folder)


def _as_stored(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights rounded to what a bundle holds of them: thresholds are locked on these."""
    plain = {name: value.cpu().numpy() for name, value in weights.items()}
    return {name: torch.from_numpy(value) for name, value in as_stored(plain).items()}


def sets_of_centres(config: OrganismsConfig) -> tuple[range, range, range]:
    """Numbers of the phantom centres to learn from, to lock thresholds on, and to measure on."""
    first, second = config.train_centres, config.train_centres + config.locking_centres
    return range(first), range(first, second), range(second, second + config.unseen_centres)


def lock_thresholds(
    p: NDArray[np.float32], holds: NDArray[np.bool_], specificity: float
) -> list[float]:
    """The lowest threshold of each organism under which a share of the crops without it stays.

    Args:
        p: probabilities (N, O).
        holds: what the crops hold (N, O).
        specificity: the share.

    Returns:
        O thresholds, 1 at most; 1 where every crop holds the organism.
    """
    thresholds = []
    for column in range(holds.shape[1]):
        without = p[~holds[:, column], column]
        highest = np.quantile(without, specificity, method="higher") if len(without) else 1.0
        thresholds.append(min(float(np.nextafter(np.float32(highest), np.float32(2))), 1.0))
    return thresholds


def write_organisms_bundle(
    config: OrganismsConfig,
    source: Bundle,
    head: nn.Module,
    thresholds: list[float],
    figures: Mapping[str, float],
) -> Bundle:
    """Write ``config.out / "bundle"``: the source's bundle with the head beside its stages.

    Raises:
        BundleError: the parts do not fit.
        OutputError: the folder cannot be written.
    """
    spec = {key: value for key, value in source.spec.items() if key not in ("format", "sha256")}
    weights = {name: np.asarray(value.cpu().numpy()) for name, value in head.state_dict().items()}
    stage = {
        "names": list(ORGANISM_NAMES),
        "thresholds": thresholds,
        "d_in": len(weights["norm.running_mean"]),
        "hidden": config.hidden,
    }
    spec["name"] = f"{source.name}-{STAGE}"
    spec["stages"] = {**source.spec["stages"], STAGE: stage}
    made_by = {"commit": git_commit(), "from_bundle": source.name, "from_sha256": source.sha256}
    spec["provenance"] = {**spec.get("provenance", {}), STAGE: made_by}
    tensors = {part: source.tensors(part) for part in source.parts} | {STAGE: weights}
    return write_bundle(
        config.out / "bundle", spec, tensors, source.card + _card(config, source, figures)
    )


def _card(config: OrganismsConfig, source: Bundle, figures: Mapping[str, float]) -> str:
    rows = "\n".join(
        f"| {name} | "
        + " | ".join(
            f"{figures[key]:.3f}" if (key := f"{name}_{measure}") in figures else "not measured"
            for measure in ("auc", "sensitivity", "specificity")
        )
        + " |"
        for name in ORGANISM_NAMES
    )
    return f"""
## Organisms: a hint at where to look

`koilo train organisms` added a head to bundle {source.name} ({source.sha256[:12]}). It learnt from
**drawn** organisms alone and was never measured on real ones; on CRIC's real cells a head trained
like this raised half of the normal ones as clue cells (docs/results.md). It sees only the cells
that the detector kept as suspicious of a lesion, so its silence says nothing. Under each threshold
stay {config.specificity:.0%} of the crops without that organism, on {config.locking_centres} drawn
centres; on {config.unseen_centres} further ones:

| organism | AUC | sensitivity | specificity |
|---|---|---|---|
{rows}
"""


def draw_organism_cells(
    classifier: CellClassifier, config: OrganismsConfig, centres: range
) -> OrganismCells:
    """Crops of phantom centres as a classifier sees them; each centre has its own seed."""
    bank = training_bank(config.world)
    features, holds, suspicion = [], [], []
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
            seen, p = classifier.predict(crops)
            features.append(seen)
            suspicion.append(1 - p[:, classifier.classes.index(NEGATIVE)])
            holds.append(held)
            advance(1)
    return OrganismCells(np.concatenate(features), np.concatenate(holds), np.concatenate(suspicion))


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
        return score_organisms(p, self.unseen.holds, [0.5] * p.shape[1])


def score_organisms(
    p: NDArray[np.float32], holds: NDArray[np.bool_], thresholds: Sequence[float]
) -> dict[str, float]:
    """Measures of ``p`` (N, O) against what crops hold (N, O); leaves out what is undefined."""
    figures = {}
    for column, name in enumerate(ORGANISM_NAMES):
        truth, called = holds[:, column], p[:, column] >= thresholds[column]
        if truth.any() and not truth.all():
            figures[f"{name}_auc"] = auc(truth, p[:, column])
            figures[f"{name}_sensitivity"] = float(called[truth].mean())
            figures[f"{name}_specificity"] = float(1 - called[~truth].mean())
    if figures:
        figures["mean_auc"] = float(np.mean([v for k, v in figures.items() if k.endswith("_auc")]))
    return figures
