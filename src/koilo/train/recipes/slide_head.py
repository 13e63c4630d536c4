"""Recipe "slide_head": a head over bags of cells whose features or probabilities are fixed.

Bags of one label set are of very different size: a field has tens of cells, a slide a thousand.
So a training bag is often cut to a random number of its best cells, five at least, and a random
shift common to all its cells stands for the case's stain and preparation, which move all cells of
a slide together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from koilo.datasets.splits import refuse_shared_groups
from koilo.errors import ConfigError, TrainingError
from koilo.evaluate.operating_point import specificity_at
from koilo.evaluate.scores import auc, confusion, macro_f1
from koilo.mil.bags import INPUTS, Bag, collate, read_bags
from koilo.mil.heads import build_head
from koilo.progress import log
from koilo.runtime import seed_all
from koilo.train.batches import IndexedBatches, batch_rng
from koilo.train.loop import fit
from koilo.train.losses.ordinal import ordinal_loss
from koilo.train.recipe import LoopConfig, Progress

Batch = tuple[Tensor, Tensor, Tensor]

LOSSES = ("cross_entropy", "ordinal")


@dataclass(frozen=True)
class SlideHeadConfig:
    """Train a slide head on a bag file."""

    bags: Path
    """bag file (.npz) with the splits train and validation"""
    out: Path = field(default=Path("slide_head"), metadata={"result": False})
    """folder of the run: weights, checkpoint, log, run.json"""
    head: str = "dense_attention"
    """dense_attention (the paper's), abmil, clam_sb, clam_mb, transmil, evidence, mean or max"""
    head_config: dict[str, float] = field(default_factory=dict)
    """settings of the head, such as hidden: 128"""
    inputs: str = "log_p"
    """what the head reads of a cell: features, log_p or both"""
    classes: tuple[str, ...] = ("NILM", "ASC-US", "LSIL", "ASC-H", "HSIL+SCC")
    """slide classes, NILM first"""
    batch: int = 16
    """bags a batch"""
    batches_per_epoch: int = 50
    """batches that count as one epoch (bags are drawn, not enumerated)"""
    balance: float = 0.5
    """bags are drawn by their class's count to the power of minus this: 1 = classes even"""
    half_positive: bool = False
    """half of the bags drawn are positive, whatever the classes' counts (as SWIFT draws slides)"""
    cut_share: float = 0.5
    """share of training bags cut to a random number of their best cells"""
    least_cells: int = 5
    """fewest cells that a bag is cut to"""
    top_k: int = 1024
    """cells of a bag that are read, best first"""
    shift: float = 0.0
    """standard deviation of a random shift of each input, common to all cells of a training bag"""
    smoothing: float = 0.05
    """label smoothing, of cross_entropy"""
    loss: str = "cross_entropy"
    """cross_entropy, or ordinal: classes in order of severity, and a near miss costs less"""
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=1000, ema=0.99))
    """how the recipe is stepped"""

    def __post_init__(self) -> None:
        """Refuse what no run can have, all in one error."""
        problems = []
        if self.inputs not in INPUTS:
            problems.append(f"inputs is {self.inputs!r} (allowed: {', '.join(INPUTS)})")
        if self.loss not in LOSSES:
            problems.append(f"loss is {self.loss!r} (allowed: {', '.join(LOSSES)})")
        if self.classes[:1] != ("NILM",) or len(self.classes) < 2:
            problems.append("classes must be NILM and at least one other, NILM first")
        for name in ("batch", "batches_per_epoch", "least_cells", "top_k"):
            if getattr(self, name) < 1:
                problems.append(f"{name} is {getattr(self, name)} (allowed: 1 or more)")
        if problems:
            raise ConfigError(f"{'; '.join(problems)}. Correct the settings of slide_head.")


def train_slide_head(config: SlideHeadConfig) -> None:
    """Train a slide head on the bags of a file and say what it measures on validation.

    Raises:
        ManifestError: the bag file is malformed, or a group lies in two splits.
        ConfigError: the head or one of its settings is unknown.
        TrainingError: there is no bag to train or to measure on, or training cannot go on.
        OutputError: ``config.out`` cannot be written.
    """
    bags = read_bags(config.bags)
    refuse_shared_groups(bags.groups, bags.splits, what="group")
    train, validation = (
        bags.bags(config.inputs, config.classes, split) for split in ("train", "validation")
    )
    recipe = SlideHeadRecipe(config, train, validation)
    result = fit(recipe, config.loop, config.out, settings=config, data=[config.bags])
    for name, value in result.metrics.items():
        log.info("%s: %.4f", name, value)
    log.info("The head is in %s.", result.weights)


class SlideHeadRecipe:
    """The five members the loop asks for, over bags held in memory."""

    def __init__(
        self, config: SlideHeadConfig, train: Sequence[Bag], validation: Sequence[Bag]
    ) -> None:
        """Build the head with random weights; ``validation`` may be empty.

        Raises:
            TrainingError: there is no bag to train on, or only bags of one class.
            ConfigError: the head or one of its settings is unknown.
        """
        labels = np.array([bag.label for bag in train], dtype=np.int64)
        if len(set(labels.tolist())) < 2:
            raise TrainingError(
                f"The {len(train)} training bags hold fewer than two classes. A head needs "
                "negatives and positives. Check the labels and splits of the bag file."
            )
        if not train[0].x.shape[1]:
            raise TrainingError(
                f"The cells of the bag file have nothing that inputs {config.inputs!r} reads. "
                f"Allowed: {', '.join(INPUTS)}. Set --inputs to what the file holds."
            )
        self.config, self.train, self.validation = config, list(train), list(validation)
        counts = np.bincount(labels, minlength=len(config.classes)).astype(np.float64)
        odds = counts[labels] ** -config.balance
        if config.half_positive:
            odds = np.where(labels > 0, 1 / max((labels > 0).sum(), 1), 1 / max(counts[0], 1))
        self._odds = odds / odds.sum()
        seed_all(config.loop.seed)
        # YAML knows no integers in a mapping of floats; widths are whole.
        settings = {
            name: int(value) if float(value).is_integer() else float(value)
            for name, value in config.head_config.items()
        }
        d_in = self.train[0].x.shape[1]
        self._model = build_head(config.head, d_in, len(config.classes), settings)

    @property
    def model(self) -> nn.Module:
        """The head in training."""
        return self._model

    def batches(self, epoch: int) -> IndexedBatches:
        """Padded bags x (B, N, D), mask (B, N) and labels (B,), drawn by (seed, epoch, index)."""
        return IndexedBatches(
            self.config.batches_per_epoch, lambda index: self._make_batch(epoch, index)
        )

    def losses(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """The loss of the slide classes, and those of its own that the head adds."""
        x, mask, labels = batch
        logits, _ = self._model(x, mask)  # (B, C)
        if self.config.loss == "ordinal":
            losses = {"slide": ordinal_loss(logits, labels)}
        else:
            smoothing = self.config.smoothing
            losses = {"slide": functional.cross_entropy(logits, labels, label_smoothing=smoothing)}
        extra = getattr(self._model, "extra_losses", None)
        return losses if extra is None else {**losses, **extra(x, mask, labels)}

    def after_step(self, progress: Progress) -> None:
        """Nothing: the head has no teacher and no queue."""

    def evaluate(self) -> Mapping[str, float]:
        """AUC, spec@sens95, macro-F1 and cross-entropy on validation; empty without any."""
        if not self.validation:
            return {}
        p = predict_bags(self._model, self.validation, top_k=self.config.top_k)
        return score_bags(p, [bag.label for bag in self.validation], self.config.classes)

    def _make_batch(self, epoch: int, index: int) -> Batch:
        rng = batch_rng(self.config.loop.seed, epoch, index)
        chosen = rng.choice(len(self.train), self.config.batch, p=self._odds)
        return collate([self._vary(self.train[i], rng) for i in chosen])

    def _vary(self, bag: Bag, rng: np.random.Generator) -> Bag:
        """Cut a bag to its best cells and shift it, by chance."""
        config = self.config
        x = bag.x[: config.top_k]  # (N, D)
        if len(x) > config.least_cells and rng.random() < config.cut_share:
            low, high = np.log([config.least_cells, len(x)])
            x = x[: round(float(np.exp(rng.uniform(low, high))))]  # small bags as often as large
        if config.shift:
            x = x + np.float32(config.shift) * rng.standard_normal(x.shape[1], np.float32)
        return Bag(bag.bag_id, x, bag.label)


@torch.no_grad()
def predict_bags(head: nn.Module, bags: Sequence[Bag], *, top_k: int) -> np.ndarray:
    """Probabilities (S, C) of the slide classes, one bag at a time; sets eval mode."""
    head.eval()
    device = next(head.parameters()).device
    rows = []
    for bag in bags:
        x, mask, _ = collate([Bag(bag.bag_id, bag.x[:top_k], bag.label)])
        logits, _ = head(x.to(device), mask.to(device))  # (1, C)
        rows.append(torch.softmax(logits[0].float(), dim=0).cpu().numpy())
    return np.stack(rows)


def score_bags(p: np.ndarray, labels: Sequence[int], classes: Sequence[str]) -> dict[str, float]:
    """Measures of slide probabilities ``p`` (S, C) against labels; leaves out what is undefined."""
    truth = np.asarray(labels)
    positive, score = truth > 0, 1 - p[:, 0]
    floor = np.finfo(np.float32).tiny
    values = {
        "cross_entropy": float(-np.log(np.maximum(p[np.arange(len(p)), truth], floor)).mean()),
        "macro_f1": macro_f1(
            confusion([classes[i] for i in truth], [classes[i] for i in p.argmax(axis=1)], classes)
        ),
        "auc": auc(positive, score),
    }
    if positive.any() and not positive.all():
        values["spec@sens95"] = specificity_at(positive, score)
    return {name: value for name, value in values.items() if np.isfinite(value)}
