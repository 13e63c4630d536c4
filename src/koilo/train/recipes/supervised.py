"""Recipe "supervised": a cell classifier on labelled crops, with sets of several origins mixed.

A batch draws each crop's set first (real cells, background, phantoms; by their shares), then
within a set the class with odds of count^-power, then the cell. Crops are cut anew out of larger
patches each time, changed as another laboratory would change them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from koilo.cells.augment import Augmentation, augment_crop, centre_crop
from koilo.errors import TrainingError
from koilo.evaluate.hierarchy import score_hierarchy
from koilo.evaluate.scores import auc, confusion, macro_f1
from koilo.taxonomy.hierarchy import Hierarchy
from koilo.train.batches import IndexedBatches, batch_rng
from koilo.train.losses.hierarchical import HierarchicalLoss
from koilo.train.recipe import Progress

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class SupervisedSettings:
    """What a cell classifier learns from."""

    input_px: int = 96
    """side of the crops"""
    batch: int = 64
    """crops a batch"""
    batches_per_epoch: int = 100
    """batches that count as one epoch (crops are drawn, not enumerated)"""
    class_power: float = 0.5
    """a class is drawn with odds of count^(1 - power): 0 as it comes, 1 all classes evenly"""
    smoothing: float = 0.05
    """share of the target spread over all outputs; without a hierarchy only"""
    alpha: float = 0.4
    """with a hierarchy: a step into its level n weighs exp(-alpha (n - 1)); above 0 a wrong branch
    costs more than a wrong leaf, 0 is plain cross-entropy"""
    mirrored: float = 0.1
    """share of crops cut small and mirrored at their edges, as a picture of one cell would be"""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """how far a crop may be changed"""


@dataclass(frozen=True)
class CellSet:
    """Patches with labels, and the share of a batch that is drawn from them.

    ``patches`` uint8 RGB (N, S, S, 3), each with its cell at the centre and larger than a crop;
    ``labels`` (N,) is the index of the model's output; ``share`` counts relative to other sets.
    """

    patches: NDArray[np.uint8]
    labels: NDArray[np.int64]
    share: float = 1.0


class SupervisedRecipe:
    """The five members the loop asks for, over patches held in memory."""

    def __init__(
        self,
        model: nn.Module,
        sets: Sequence[CellSet],
        settings: SupervisedSettings,
        *,
        validation: CellSet | None = None,
        hierarchy: Hierarchy | None = None,
        seed: int = 0,
    ) -> None:
        """Take the model, the sets to learn from, those to measure on, and the crops' seed.

        With a ``hierarchy`` the model's outputs are its leaves, and its tree weighs the loss.

        Raises:
            TrainingError: there is no cell to learn from, or a share is negative.
        """
        has_cell = any(len(each.labels) and each.share > 0 for each in sets)
        if not has_cell or any(each.share < 0 for each in sets):
            raise TrainingError(
                "No training set holds a cell, or a share is negative. At least one labelled cell "
                "with a share above 0 is needed. Check the cells manifest and what is held out."
            )
        self.hierarchy = hierarchy
        self._tree_loss = HierarchicalLoss(hierarchy, settings.alpha) if hierarchy else None
        self._model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.settings, self.seed = settings, seed
        self.sets = [each for each in sets if len(each.labels)]
        shares = np.array([each.share for each in self.sets], np.float64)
        self._shares = shares / shares.sum()
        self._odds = [class_odds(each.labels, settings.class_power) for each in self.sets]
        self.validation = validation

    @property
    def model(self) -> nn.Module:
        """The classifier in training."""
        return self._model

    def batches(self, epoch: int) -> IndexedBatches:
        """Crops float32 (B, 3, P, P) of 0-255 and outputs (B,), drawn by (seed, epoch, index)."""
        return IndexedBatches(
            self.settings.batches_per_epoch, lambda index: self._make_batch(epoch, index)
        )

    def losses(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """Cross-entropy with smoothed labels, or the tree's; the share called right is logged."""
        images, labels = batch
        images = images.contiguous(memory_format=torch.channels_last)
        logits = self._model(images)  # (B, n_outputs)
        if self._tree_loss is not None:
            loss = self._tree_loss.to(logits.device)(logits, labels)
        else:
            loss = functional.cross_entropy(logits, labels, label_smoothing=self.settings.smoothing)
        right = (logits.detach().argmax(1) == labels).float().mean()
        return {"classes": loss, "right": right}

    def after_step(self, progress: Progress) -> None:
        """Nothing: the model has no teacher and no queue."""

    def evaluate(self) -> Mapping[str, float]:
        """Macro-F1 over outputs that occur, and AUC of the negative outputs against all others.

        Output 0 is negative, or the NILM leaves of the hierarchy; with one, accuracy a level and
        how far off in the tree the calls and the mistakes lie.
        """
        if self.validation is None or not len(self.validation.labels):
            return {}
        p = predict_outputs(self._model, self.validation.patches, self.settings.input_px)
        labels = self.validation.labels
        names = [str(number) for number in range(p.shape[1])]
        table = confusion([str(n) for n in labels], [str(n) for n in p.argmax(1)], names)
        figures = {"macro_f1": macro_f1(table)}
        negative = np.arange(p.shape[1]) == 0 if self.hierarchy is None else self.hierarchy.negative
        lesion = ~negative[labels]
        if 0 < lesion.sum() < len(labels):
            figures["lesion_auc"] = auc(lesion, 1 - p[:, negative].sum(axis=1))
        return {**figures, **self._tree_figures(labels, p)}

    def _tree_figures(
        self, labels: NDArray[np.int64], p: NDArray[np.float32]
    ) -> Mapping[str, float]:
        if self.hierarchy is None:
            return {}
        found = score_hierarchy(labels, p, self.hierarchy)
        values = {f"accuracy_level_{n}": a for n, a in enumerate(found.level_accuracy, start=1)}
        values["mean_level_accuracy"] = found.mean_accuracy
        values["tree_distance"] = found.mean_distance
        if np.isfinite(found.mistake_distance):
            values["tree_distance_of_mistakes"] = found.mistake_distance
        return values

    def _make_batch(self, epoch: int, index: int) -> Batch:
        rng = batch_rng(self.seed, epoch, index)
        crops, labels = [], []
        for number in rng.choice(len(self.sets), self.settings.batch, p=self._shares):
            cell = int(rng.choice(len(self._odds[number]), p=self._odds[number]))
            crops.append(self._crop(self.sets[number].patches[cell], rng))
            labels.append(self.sets[number].labels[cell])
        images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float()  # (B, 3, P, P)
        return images, torch.tensor(np.asarray(labels), dtype=torch.long)

    def _crop(self, patch: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        crop = augment_crop(patch, self.settings.input_px, rng, self.settings.augmentation)
        return mirror_edges(crop, rng) if rng.random() < self.settings.mirrored else crop


def class_odds(labels: NDArray[np.int64], power: float) -> NDArray[np.float64]:
    """Odds of drawing each cell, ``(N,)``: count of its class^-power, summing to 1."""
    counts = np.bincount(labels)
    odds = np.maximum(counts, 1).astype(np.float64)[labels] ** -power
    return np.asarray(odds / odds.sum())


def mirror_edges(crop: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Keep a middle box of 3/8 of the side or more; mirror the rest ``(P, P, 3)``."""
    side = crop.shape[0]
    height, width = rng.integers(side * 3 // 8, side, 2).tolist()
    top, left = (side - height) // 2, (side - width) // 2
    inside = np.ascontiguousarray(crop[top : top + height, left : left + width])
    bottom, right = side - height - top, side - width - left
    mirrored = cv2.copyMakeBorder(inside, top, bottom, left, right, cv2.BORDER_REFLECT_101)
    return np.asarray(mirrored, np.uint8)


def predict_outputs(
    model: nn.Module, patches: NDArray[np.uint8], input_px: int, batch: int = 64
) -> NDArray[np.float32]:
    """Probabilities of a model's outputs, ``(N, n_outputs)``, for the middle of each patch."""
    device = next(model.parameters()).device
    parts = []
    with torch.no_grad():
        for start in range(0, len(patches), batch):
            crops = [centre_crop(patch, input_px) for patch in patches[start : start + batch]]
            images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float().to(device)
            parts.append(model(images).softmax(1).cpu().numpy())
    return np.concatenate(parts)
