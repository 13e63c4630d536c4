"""The recipes detector and supervised on a manifest: what ``koilo train`` runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from koilo.cells.predict import build_cell_net
from koilo.detect import build_detector
from koilo.encoders.nanodet import NanoDetTrunk
from koilo.encoders.pretrained import calibrate_batchnorm
from koilo.errors import ConfigError, TrainingError
from koilo.progress import log
from koilo.runtime import seed_all
from koilo.taxonomy.hierarchy import load_hierarchy
from koilo.train.batches import IndexedBatches
from koilo.train.labelled import read_labelled, read_patches, read_scenes, refuse_other_leaves
from koilo.train.loop import fit
from koilo.train.recipe import LoopConfig, Recipe
from koilo.train.recipes.detector import DetectorRecipe, DetectorSettings
from koilo.train.recipes.supervised import CellSet, SupervisedRecipe, SupervisedSettings
from koilo.train.stored_cells import class_problems

_PATCH_SHARE = 1.7
"""A patch is this much wider than a crop, so that a rotated crop needs no made-up corner."""

_SCENE_SHARE = 0.5
"""Scenes are held at half the detector's pixel size, so that scaling has something to take from."""


@dataclass(frozen=True)
class DetectorConfig:
    """Train a positive-cell detector on the labelled cells of a manifest."""

    manifest: Path
    """manifest.csv with cells.csv beside it, as `koilo data` writes them"""
    out: Path = field(default=Path("detector"), metadata={"result": False})
    """folder of the run: weights, checkpoint, log, run.json"""
    model: str = "centre"
    """centre (one stage, fast on CPUs) or dfine"""
    model_config: dict[str, Any] = field(default_factory=dict)
    """settings of the model"""
    start: Path | None = None
    """safetensors of a pretrained trunk; none = random weights"""
    validation: str = "validation"
    """split to measure on, such as fold-0"""
    unused: tuple[str, ...] = ("test",)
    """splits that are not touched; all other slides are learnt from"""
    settings: DetectorSettings = field(default_factory=DetectorSettings)
    """tiles and their augmentation"""
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=900, ema=0.99, clip=5.0))
    """how the recipe is stepped"""


@dataclass(frozen=True)
class SupervisedConfig:
    """Train a cell classifier on the labelled cells of a manifest."""

    manifest: Path
    """manifest.csv with cells.csv beside it, as `koilo data` writes them"""
    out: Path = field(default=Path("supervised"), metadata={"result": False})
    """folder of the run: weights, checkpoint, log, run.json"""
    model: str = "pooled"
    """the cell network"""
    model_config: dict[str, Any] = field(default_factory=dict)
    """its settings, such as encoder: convnext_atto"""
    classes: tuple[str, ...] = ("NILM", "ASC-US", "LSIL", "ASC-H", "HSIL", "SCC")
    """cell classes, NILM first; with --hierarchy its leaves in their place"""
    hierarchy: str | None = None
    """tree of classes, hicervix: the cells' classes are its leaves, in column fine of cells.csv"""
    mpp: float = 0.5
    """µm per pixel of the crops"""
    start: Path | None = None
    """safetensors of a pretrained trunk; none = random weights"""
    validation: str = "validation"
    """split to measure on, such as fold-0"""
    unused: tuple[str, ...] = ("test",)
    """splits that are not touched; all other slides are learnt from"""
    settings: SupervisedSettings = field(default_factory=SupervisedSettings)
    """crops and their augmentation"""
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=900, ema=0.99, clip=5.0))
    """how the recipe is stepped"""

    def __post_init__(self) -> None:
        """Refuse classes that are unknown, stand twice, or do not begin with NILM."""
        if problems := class_problems(self.classes):
            raise ConfigError(f"{'; '.join(problems)} Correct the settings of supervised.")


def train_detector(config: DetectorConfig) -> None:
    """Train a detector and say what it measures on the validation split.

    Raises:
        ManifestError: the manifest is malformed, leaks, or leaves nothing to learn from.
        ConfigError: the model or one of its settings is unknown.
        TrainingError: no cell is positive, the start does not fit, or training cannot go on.
        SlideError: a slide cannot be read.
        OutputError: ``config.out`` cannot be written.
    """
    slides = read_labelled(config.manifest, validation=config.validation, unused=config.unused)
    seed_all(config.loop.seed)
    model = build_detector(config.model, config.model_config)
    mpp = config.settings.mpp * _SCENE_SHARE
    recipe = DetectorRecipe(
        model,
        read_scenes(slides.train, mpp=mpp),
        config.settings,
        validation=read_scenes(slides.validation, mpp=mpp),
        seed=config.loop.seed,
    )
    _run(recipe, config, model, recipe.batches(-1), slides.files)


def train_supervised(config: SupervisedConfig) -> None:
    """Train a cell classifier and say what it measures on the validation split.

    Raises:
        ManifestError: the manifest is malformed, leaks, or holds other classes.
        ConfigError: there is no such hierarchy.
        BundleError: no cell network has the model's name.
        TrainingError: the start does not fit, or training cannot go on.
        SlideError: a slide cannot be read.
        OutputError: ``config.out`` cannot be written.
    """
    slides = read_labelled(config.manifest, validation=config.validation, unused=config.unused)
    tree = None if config.hierarchy is None else load_hierarchy(config.hierarchy)
    if tree is not None:
        refuse_other_leaves(slides, tree)
    classes = config.classes if tree is None else tree.leaves
    seed_all(config.loop.seed)
    model = build_cell_net(config.model, n_outputs=len(classes), **config.model_config)
    size_px, fine = round(config.settings.input_px * _PATCH_SHARE), tree is not None
    train, held_out = (
        CellSet(*read_patches(part, classes, mpp=config.mpp, size_px=size_px, fine=fine))
        for part in (slides.train, slides.validation)
    )
    recipe = SupervisedRecipe(
        model,
        [train],
        config.settings,
        validation=held_out,
        hierarchy=tree,
        seed=config.loop.seed,
    )
    _run(recipe, config, model, recipe.batches(-1), slides.files)


def _run(
    recipe: Recipe,
    config: DetectorConfig | SupervisedConfig,
    model: nn.Module,
    calibration: IndexedBatches,
    files: tuple[Path, ...],
) -> None:
    if config.start is not None:
        _start_trunk(model, config.start, calibration)
        files = (*files, config.start)
    result = fit(recipe, config.loop, config.out, settings=config, data=files)
    for name, value in result.metrics.items():
        log.info("%s: %.4f", name, value)
    log.info("The weights are in %s.", result.weights)


def _start_trunk(model: nn.Module, start: Path, batches: IndexedBatches) -> None:
    """Load a pretrained trunk; stages that the model lacks are left out."""
    from safetensors.torch import load_file

    trunk = getattr(model, "trunk", None)
    try:
        assert isinstance(trunk, NanoDetTrunk)
        tensors = load_file(start)
        trunk.load_state_dict({name: tensors[name] for name in trunk.state_dict()})
    except Exception as error:  # safetensors raises its own kinds
        raise TrainingError(
            f"The weights {start} do not fit the trunk of this model ({type(error).__name__}). "
            "Allowed: safetensors of its own trunk (runs/fetch_pretrained.py makes NanoDet's). "
            "Train without --start, or choose a model with that trunk."
        ) from error
    with torch.no_grad():
        calibrate_batchnorm(trunk, [batches[index][0] for index in range(6)])
