"""Recipe "detector": one class "positive cell" on tiles cut from labelled scenes.

Half and more of the tiles are centred near a positive cell (drawn field by field, so that one
crowded field does not fill the training), the rest anywhere. Both contenders of
`koilo.detect.MODELS` train here: the recipe knows only ``losses(images, truths)`` and the
`Detector` that measures them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from koilo.detect.augment import Scene, TileAugmentation, cut_tile
from koilo.detect.predict import Detector
from koilo.detect.targets import TileTruth
from koilo.errors import TrainingError
from koilo.evaluate.detection import FieldFinds, score_detection
from koilo.train.batches import IndexedBatches, batch_rng
from koilo.train.recipe import Progress

Batch = tuple[Tensor, list[TileTruth]]


@dataclass(frozen=True)
class DetectorSettings:
    """What a detector learns from; shared by both models so that a comparison is equal."""

    tile_px: int = 192
    """side of a training tile, in pixels at ``mpp``"""
    mpp: float = 1.0
    """pixel size the detector reads, in µm"""
    batch: int = 12
    """tiles a batch"""
    batches_per_epoch: int = 100
    """batches that count as one epoch (tiles are drawn, not enumerated)"""
    positive_share: float = 0.6
    """share of tiles centred near a positive cell"""
    second_share: float = 0.0
    """share of tiles from the second set of scenes (phantoms beside real fields)"""
    box_weight: float = 0.5
    """weight of losses named ``box``"""
    nucleus_weight: float = 0.5
    """weight of losses named ``nucleus``"""
    augmentation: TileAugmentation = field(default_factory=TileAugmentation)
    """how far a tile may be changed"""


class DetectorRecipe:
    """The five members the loop asks for, over scenes held in memory."""

    def __init__(
        self,
        model: nn.Module,
        scenes: Sequence[Scene],
        settings: DetectorSettings,
        *,
        second: Sequence[Scene] = (),
        validation: Sequence[Scene] = (),
        seed: int = 0,
    ) -> None:
        """Take the model, the scenes to learn from, those to measure on, and the tiles' seed.

        Raises:
            TrainingError: no scene holds a positive cell.
        """
        if not any(scene.positive.any() for scene in scenes):
            raise TrainingError(
                "No training scene holds a positive cell. At least one is needed. "
                "Check the labels of the cells manifest."
            )
        self._model, self.settings, self.seed = model, settings, seed
        self.sets = [_SceneSet(scenes)] + ([_SceneSet(second)] if second else [])
        self.validation = list(validation)

    @property
    def model(self) -> nn.Module:
        """The detector in training."""
        return self._model

    def batches(self, epoch: int) -> IndexedBatches:
        """Tiles float32 (B, 3, S, S) of 0-255 and their truths, drawn by (seed, epoch, index)."""
        return IndexedBatches(
            self.settings.batches_per_epoch, lambda index: self._make_batch(epoch, index)
        )

    def losses(self, batch: Batch, progress: Progress) -> Mapping[str, Tensor]:
        """The model's own losses, weighted."""
        images, truths = batch
        weights = {"box": self.settings.box_weight, "nucleus": self.settings.nucleus_weight}
        values: dict[str, Tensor] = self._model.losses(images, truths)  # type: ignore[operator]
        return {name: value * weights.get(name, 1.0) for name, value in values.items()}

    def after_step(self, progress: Progress) -> None:
        """Nothing: the model has no teacher and no queue."""

    def evaluate(self) -> Mapping[str, float]:
        """Figures on the validation scenes; empty without any."""
        if not self.validation:
            return {}
        device = next(self._model.parameters()).device
        detector = Detector(self._model, mpp=self.settings.mpp, device=device)
        figures = score_detection([find_in_scene(detector, scene) for scene in self.validation])
        return {name: value for name, value in figures.items() if np.isfinite(value)}

    def _make_batch(self, epoch: int, index: int) -> Batch:
        rng = batch_rng(self.seed, epoch, index)
        tiles, truths = [], []
        for _ in range(self.settings.batch):
            use_second = len(self.sets) > 1 and rng.random() < self.settings.second_share
            rgb, truth = self._cut(self.sets[int(use_second)], rng)
            tiles.append(rgb)
            truths.append(truth)
        images = torch.from_numpy(np.stack(tiles)).permute(0, 3, 1, 2).float()  # (B, 3, S, S)
        return images, truths

    def _cut(
        self, scenes: _SceneSet, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], TileTruth]:
        settings = self.settings
        near_positive = bool(rng.random() < settings.positive_share)
        scene, centre_px = scenes.draw(rng, near_positive, settings.tile_px * settings.mpp)
        return cut_tile(
            scene,
            centre_px,
            size_px=settings.tile_px,
            mpp=settings.mpp,
            rng=rng,
            settings=settings.augmentation,
        )


class _SceneSet:
    """Scenes with the odds of drawing each."""

    def __init__(self, scenes: Sequence[Scene]) -> None:
        self.scenes = list(scenes)
        # The root keeps crowded fields from filling the training and single cells in it.
        odds = np.sqrt([float(scene.positive.sum()) for scene in self.scenes])
        self.odds = odds / odds.sum() if odds.sum() > 0 else None

    def draw(
        self, rng: np.random.Generator, near_positive: bool, tile_um: float
    ) -> tuple[Scene, tuple[float, float]]:
        """A scene and the centre of a tile in its pixels, off a positive cell by up to a third."""
        if near_positive and self.odds is not None:
            scene = self.scenes[int(rng.choice(len(self.scenes), p=self.odds))]
            box = scene.boxes_px[int(rng.choice(np.flatnonzero(scene.positive)))]
            reach = tile_um / scene.mpp / 3
            centre = box[:2] + box[2:] / 2 + rng.uniform(-reach, reach, 2)
        else:
            scene = self.scenes[int(rng.integers(len(self.scenes)))]
            centre = rng.uniform(0, 1, 2) * (scene.rgb.shape[1], scene.rgb.shape[0])
        return scene, (float(centre[0]), float(centre[1]))


def find_in_scene(detector: Detector, scene: Scene, *, block: int = 0) -> FieldFinds:
    """Run the detector over a whole scene (at once, whatever its size); all in detector pixels."""
    factor = scene.mpp / detector.mpp
    height, width = scene.rgb.shape[:2]
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    rgb = np.asarray(cv2.resize(scene.rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    boxes, scores = detector.predict(rgb[None])[0]
    truth = scene.boxes_px * np.float32(factor)
    return FieldFinds(
        boxes,
        scores,
        truth[scene.positive],
        truth[~scene.positive],
        detector.mpp,
        size,
        scene.name,
        block,
    )


def start_trunk(model: nn.Module, tensors: Mapping[str, Any]) -> None:
    """Load a pretrained trunk's tensors into ``model.trunk``; deeper stages it lacks are left out.

    Raises:
        TrainingError: the model has no trunk of this kind.
    """
    trunk = getattr(model, "trunk", None)
    if not isinstance(trunk, nn.Module):
        raise TrainingError(
            "This detector has no trunk that pretrained weights fit. Allowed: the model 'centre'. "
            "Train it without --pretrained."
        )
    own = trunk.state_dict()
    trunk.load_state_dict({name: torch.as_tensor(tensors[name]) for name in own})
