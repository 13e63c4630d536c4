"""The frozen features that slide heads are compared on: what each way of training leaves of a cell.

All from one study: its cells, its trunk, its start. The semi-supervised methods begin where SWIFT
begins, in the trunk that labelled cells have taught, and take as many steps with as many labelled
cells; the self-supervised ones begin where all begin and see no label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from koilo.cells.model import MeanCellNet
from koilo.datasets.crop_store import StoredSlide
from koilo.encoders.starting import encoder_of_folder, start_files
from koilo.errors import ConfigError
from koilo.files import ensure_folder
from koilo.mil import BagSet
from koilo.mil.encode import load_encoder, scale_features
from koilo.train.checkpoint import write_weights
from koilo.train.generations import train_semi
from koilo.train.recipes import self_supervised, semi
from koilo.train.recipes.self_supervised import SelfSupervisedConfig, train_self_supervised
from koilo.train.recipes.semi import SemiConfig
from koilo.train.record import hash_files
from koilo.train.swift_model import read_bags_of_store
from stride import METHODS, Study

SEMI = tuple(name for name in semi.METHODS if name != "supervised")
SELF_SUPERVISED = self_supervised.METHODS
FEATURES = ("two_stage", *SEMI, *SELF_SUPERVISED, "swift")
KNOWN = (*METHODS, *SEMI, *SELF_SUPERVISED)
"""Names of features; one of these is never a folder, though one may be called so."""


def known_features(words: str) -> list[str]:
    """The names in ``words``, parted by commas; a folder is a user's own encoder.

    >>> known_features("swift,dino")
    ['swift', 'dino']

    Raises:
        ConfigError: a word is neither.
    """
    names = words.split(",")
    if wrong := [name for name in names if name not in KNOWN and not Path(name).is_dir()]:
        raise ConfigError(
            f"--features: {', '.join(map(repr, wrong))} is unknown. Allowed: "
            f"{', '.join(KNOWN)}, or a folder in the format of transformers. Correct --features."
        )
    return names


def read_features(study: Study, name: str, slides: Sequence[StoredSlide]) -> BagSet:
    """The bags of slides as one way of training leaves them.

    Features are as they come (docs/log.md: scaled, they lose); of an encoder of one's own they are
    scaled as `koilo features` does.

    Raises:
        TrainingError: a slide has no cell, or a folder's weights cannot be read.
    """
    bags = read_bags_of_store(
        _cell_net(study, name), study.store, slides, study.plan.settings.top_k
    )
    if tells_classes(name):
        return bags
    splits = zip(bags.rows, bags.splits, strict=True)
    training = [rows for rows, split in splits if split == "train"]
    return replace(bags, features=scale_features(bags.features, np.concatenate(training)))


def key_of(name: str) -> str:
    """What features are known by in OUT; an encoder of one's own by its weights, too."""
    if name in KNOWN:
        return name
    folder = Path(name)
    weights = start_files(folder)[-1]
    return f"{folder.name}-{hash_files([weights])[str(weights)][:12]}"


def tells_classes(name: str) -> bool:
    """Whether these features come with a cell classifier, which the two-stage rivals need."""
    return name in KNOWN


def _cell_net(study: Study, name: str) -> MeanCellNet:
    """The cell network of one way of training; it is trained where OUT does not hold it."""
    if name in METHODS:
        return study.judged(name)[0]
    net, classes = study.plan.net, study.plan.net.classes.cells
    if name not in KNOWN:
        own = MeanCellNet(len(classes), *encoder_of_folder(Path(name)))
        own.trunk = load_encoder(Path(name))
        return own
    folder = study.out / "features" / str(study.seed) / name
    if not (folder / "cells.json").exists():
        _train_semi(study, name, folder) if name in SEMI else _train_alone(study, name, folder)
    own = MeanCellNet(len(classes), net.encoder, net.encoder_config)
    own.load_state_dict(load_file(folder / "cells.safetensors"))
    return own


def _train_semi(study: Study, name: str, folder: Path) -> None:
    plan = study.plan
    start = ensure_folder(folder) / "start.safetensors"
    write_weights(start, study.start().student.trunk, {})
    scales = {f"net.{k.removeprefix('student.')}": v for k, v in plan.joint.lr_scales.items()}
    loop = replace(plan.joint, lr_scales=scales, ema=plan.settings.teacher_decay)
    config = SemiConfig(
        store=study.store.folder,
        out=folder,
        method=name,
        encoder=plan.net.encoder,
        encoder_config=plan.net.encoder_config,
        start=start,
        classes=plan.net.classes.cells,
        batch=plan.settings.n_cells,
        unlabelled=3 * plan.settings.n_cells,
        loop=replace(loop, seed=study.seed, evaluate_every=0),
    )
    train_semi(config)


def _train_alone(study: Study, name: str, folder: Path) -> None:
    plan = study.plan
    config = SelfSupervisedConfig(
        store=study.store.folder,
        out=folder,
        method=name,
        encoder=plan.net.encoder,
        encoder_config=plan.net.encoder_config,
        start=plan.start,
        classes=plan.net.classes.cells,
        batch=3 * plan.settings.n_cells,
        loop=replace(plan.joint, lr_scales={}, seed=study.seed, evaluate_every=0),
    )
    train_self_supervised(config)
