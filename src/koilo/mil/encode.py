"""The verb ``features``: a frozen encoder over a crop store leaves a bag file for slide heads.

It is no mode of `koilo data`, which needs no torch, and no recipe of `koilo train`, as nothing is
learnt: a recipe's run folder, steps and checkpoints would all be empty. Whoever has an encoder of
their own gives its folder and gets what `koilo train slide_head --inputs features` reads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from koilo.datasets.crop_store import CropStore, StoredSlide, open_crop_store
from koilo.encoders.starting import encoder_of_folder, load_start, statistics_of_folder
from koilo.encoders.zoo import ENCODERS, build_encoder
from koilo.errors import ConfigError, ManifestError
from koilo.mil.bags import BagSet, write_bags
from koilo.progress import log, progress
from koilo.runtime import choose_device, set_threads


@dataclass(frozen=True)
class FeaturesConfig:
    """Run a frozen encoder over the cells of a crop store."""

    store: Path = field(metadata={"positional": "one"})
    """folder of the crop store"""
    encoder: str
    """a local folder in the format of transformers, or the name of one of koilo's own trunks"""
    start: Path | None = None
    """weights of koilo's own trunk (.safetensors), as training leaves them"""
    out: Path = field(default=Path("bags.npz"), metadata={"result": False})
    """the bag file to write"""
    top_k: int = 1024
    """cells of a slide that are kept, best detection first"""
    batch: int = field(default=256, metadata={"result": False})
    """crops that the encoder sees at once"""
    device: str = field(default="auto", metadata={"result": False})
    """auto, cpu or cuda"""
    threads: int = field(default=0, metadata={"result": False})
    """threads torch computes on; 0 = torch's choice"""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, all in one error."""
        problems = [
            f"{name} is {getattr(self, name)} (allowed: 1 or more)"
            for name in ("top_k", "batch")
            if getattr(self, name) < 1
        ]
        is_folder = Path(self.encoder).is_dir()
        if not is_folder and self.encoder not in ENCODERS:
            problems.append(
                f"encoder {self.encoder!r} is neither a folder nor one of {', '.join(ENCODERS)}"
            )
        if is_folder == (self.start is not None):
            problems.append("a trunk by name needs --start, a folder brings its own weights")
        if problems:
            raise ConfigError(
                f"koilo features: {'; '.join(problems)}. See `koilo features --help`."
            )


def features(config: FeaturesConfig) -> None:
    """Run a frozen encoder over a crop store and write a bag file for `train slide_head`.

    A cell's features are the mean of the encoder's last map, less their mean over the training
    slides' cells and over their deviation there, so that a head's rates suit any encoder; one that
    does not vary there is 0 everywhere. Crops keep their size, and are normalised as the folder's
    preprocessor_config.json says, else by ImageNet's mean and deviation.

    Raises:
        ManifestError: the store is not whole, or has no training slide with a cell.
        TrainingError: the weights cannot be read or do not fit.
        OutputError: ``config.out`` cannot be written.
    """
    set_threads(config.threads)
    store = open_crop_store(config.store)
    slides = [slide for slide in store.slides if len(store.bag(slide.slide_id))]
    for slide in set(store.slides) - set(slides):
        log.info("left out: %s has no cell", slide.slide_id)
    rows = [store.bag(slide.slide_id, config.top_k) for slide in slides]
    training = [own for own, s in zip(rows, slides, strict=True) if s.split == "train"]
    if not training:
        raise ManifestError(
            f"{config.store} has no slide of split train with a cell. Features are scaled by "
            "those. Give slides to train in the store's manifest."
        )
    trunk = _load_trunk(config).to(choose_device(config.device))
    x = encode_crops(trunk, store, np.concatenate(rows), batch=config.batch)  # (M, D)
    places = np.split(np.arange(len(x)), np.cumsum([len(own) for own in rows])[:-1])
    write_bags(config.out, _bag_set(slides, x, places))
    log.info("%s: %d slides, %d cells of %d features", config.out, len(slides), *x.shape)


@torch.no_grad()
def encode_crops(
    trunk: nn.Module, store: CropStore, rows: NDArray[np.int64], *, batch: int = 256
) -> NDArray[np.float32]:
    """Means of the last map (len(rows), D) of a trunk in eval mode over these crops of a store."""
    trunk.eval()
    device = next(trunk.parameters()).device
    parts = []
    with progress("encoding cells", len(rows), unit="cells") as advance:
        for first in range(0, len(rows), batch):
            crops = np.ascontiguousarray(store.crops[rows[first : first + batch]])
            images = torch.from_numpy(crops).to(device).permute(0, 3, 1, 2).float()  # 0-255
            parts.append(trunk(images)[-1].mean((2, 3)).float().cpu().numpy())
            advance(len(crops))
    return np.concatenate(parts)


def _load_trunk(config: FeaturesConfig) -> nn.Module:
    """The encoder with its weights."""
    if config.start is not None:
        trunk = build_encoder(config.encoder)
        load_start(trunk, config.start)
        return trunk
    return load_encoder(Path(config.encoder))


def load_encoder(folder: Path) -> nn.Module:
    """The trunk of a local folder in the format of transformers, with its own normalisation.

    Raises:
        TrainingError: the weights cannot be read or do not fit.
    """
    name, arguments = encoder_of_folder(folder)
    trunk = build_encoder(name, **arguments)
    load_start(trunk, folder)
    statistics = statistics_of_folder(folder)
    if statistics is not None:
        trunk.normalise_by(*statistics)  # type: ignore[operator]
    return trunk


def scale_features(x: NDArray[np.floating], training: NDArray[np.int64]) -> NDArray[np.floating]:
    """Features (M, D) less their mean over the rows ``training``, over their deviation there.

    One that does not vary there is 0 everywhere.
    """
    mean, deviation = x[training].mean(axis=0), x[training].std(axis=0)
    # A channel that is dead in training may wake elsewhere: over its deviation it is infinite.
    return (x - mean) * np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0)


def _bag_set(
    slides: list[StoredSlide], x: NDArray[np.float32], places: list[NDArray[np.int64]]
) -> BagSet:
    """Scaled features as bags; there is no cell classifier, so no probability."""
    training = np.concatenate(
        [own for own, slide in zip(places, slides, strict=True) if slide.split == "train"]
    )
    return BagSet(
        features=scale_features(x, training),
        probabilities=np.zeros((len(x), 0), np.float32),
        rows=tuple(places),
        bag_ids=tuple(slide.slide_id for slide in slides),
        labels=tuple(slide.label for slide in slides),
        splits=tuple(slide.split for slide in slides),
        groups=tuple(_group(slide) for slide in slides),
    )


def _group(slide: StoredSlide) -> str:
    """What must not lie in two splits; a twin shows its slide's cells in a split of its own."""
    group = slide.case_id or slide.twin_of or slide.slide_id
    return f"{group} twin" if slide.split.endswith("_twin") else group
