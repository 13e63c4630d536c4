"""Starting weights of a trunk: a local file, a bundle, or a folder in transformers' format.

Nothing is ever downloaded. A file is the plain safetensors of a trunk, as self-supervised training
leaves it; of a bundle, named by its folder or as built in, the trunk of its cell model is taken; a
folder of transformers holds ``config.json`` and ``model.safetensors`` of a ConvNeXt, ViT, DINOv2 or
ResNet, with or without a classifier on top. Licences of published weights are theirs.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from koilo.bundle import load_bundle
from koilo.encoders.zoo import ENCODERS
from koilo.errors import BundleError, TrainingError

_BUNDLE_FILE = "bundle.json"
_TRUNK = "trunk."

_NAMES = {
    "convnext": "convnext_tiny",
    "dinov2": "dinov2_small",
    "resnet": "resnet18",
    "vit": "vit_small",
}
"""``model_type`` of a folder's config.json to the encoder that builds its graph."""

_FIXED = {"downsample_in_bottleneck": False, "downsample_in_first_stage": False}
"""Settings of a config.json that change the graph and no tensor's shape, as koilo builds it."""


def encoder_of_folder(folder: Path) -> tuple[str, dict[str, Any]]:
    """The encoder and its arguments that build the graph of a folder's ``config.json``.

    Raises:
        TrainingError: there is no such file, or it is of a graph that koilo does not build.
    """
    try:
        stored = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind = stored.get("model_type")
        name, arguments = _NAMES[kind], _arguments(kind, stored)
        for key, own in {"hidden_act": "relu" if kind == "resnet" else "gelu", **_FIXED}.items():
            if stored.get(key, own) != own:
                raise ValueError(f"its {key} is {stored[key]!r}, koilo's {own!r}")
        return name, arguments
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise TrainingError(
            f"{folder} holds no config.json of a graph that koilo builds ({error!r}). Allowed: "
            f"folders in the format of transformers of {', '.join(_NAMES)}. Correct the path."
        ) from error


def statistics_of_folder(folder: Path) -> tuple[list[float], list[float]] | None:
    """Mean and deviation of RGB of 0-255 by which a folder's encoder wants its images normalised.

    None where the folder has no ``preprocessor_config.json``.

    Raises:
        TrainingError: the file holds none.
    """
    path = folder / "preprocessor_config.json"
    if not path.exists():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        unit = 1 / float(stored.get("rescale_factor", 1 / 255))
        unit = unit if stored.get("do_rescale", True) else 1.0
        if not stored.get("do_normalize", True):
            return [0.0] * 3, [unit] * 3
        mean = [unit * float(value) for value in stored["image_mean"]]
        std = [unit * float(value) for value in stored["image_std"]]
        if not (len(mean) == len(std) == 3 and all(0 < value < math.inf for value in std)):
            raise ValueError("image_mean and image_std are not three numbers, std above 0")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ZeroDivisionError) as error:
        raise TrainingError(
            f"{path} does not say how images are normalised ({error!r}). image_mean and image_std "
            "are three numbers each, of 0 to 1. Correct the file, or remove it for ImageNet's."
        ) from error
    return mean, std


def load_start(trunk: nn.Module, start: Path) -> None:
    """Give a trunk the weights of a safetensors file, a bundle or a transformers folder.

    Raises:
        TrainingError: the weights cannot be read or are not those of this trunk.
    """
    start = _located(start)
    try:
        trunk.load_state_dict(_read(trunk, start))
    except TrainingError:
        raise
    except Exception as error:  # safetensors and transformers raise their own kinds
        raise TrainingError(
            f"The weights {start} do not fit the trunk {type(trunk).__name__} "
            f"({' '.join(str(error).split())[:200]}). Allowed: safetensors of the same trunk, a "
            "bundle whose cell model has it, or a folder in the format of transformers. "
            f"{_advice(start)}"
        ) from error


def start_files(start: Path) -> tuple[Path, ...]:
    """The files of starting weights, whose hashes a run records."""
    start = _located(start)
    if _is_bundle(start):
        return (start / "cells.safetensors",)
    if start.is_dir():
        return start / "config.json", start / "model.safetensors"
    return (start,)


def _located(start: Path) -> Path:
    """The path itself, or the folder of the built-in bundle of that name."""
    if start.exists():
        return start
    try:
        return load_bundle(str(start)).folder
    except BundleError:
        return start  # reading it says what is wrong


def _is_bundle(start: Path) -> bool:
    return (start / _BUNDLE_FILE).is_file()


def _read(trunk: nn.Module, start: Path) -> dict[str, Tensor]:
    if _is_bundle(start):
        return _read_bundle(start)
    return _read_folder(trunk, start) if start.is_dir() else _read_file(start)


def _read_bundle(folder: Path) -> dict[str, Tensor]:
    """The trunk of the bundle's cell model."""
    stored = load_bundle(folder).tensors("cells")
    own = {n.removeprefix(_TRUNK): v for n, v in stored.items() if n.startswith(_TRUNK)}
    return {name: torch.from_numpy(value) for name, value in own.items()}


def _read_file(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return dict(load_file(path))


def _read_folder(trunk: nn.Module, folder: Path) -> dict[str, Tensor]:
    """The trunk's own tensors out of a folder, under the trunk's names."""
    encoder_of_folder(folder)  # refuses another graph in our words
    backbone: Any = getattr(trunk, "backbone", None)
    if backbone is None:
        raise ValueError("this trunk is none of transformers")
    stored = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    kind, own = stored["model_type"], backbone.config
    if kind != own.model_type:
        raise ValueError(f"the folder holds a {kind}, the trunk is a {own.model_type}")
    heads = getattr(own, "num_attention_heads", None)
    if stored.get("num_attention_heads") != heads:  # tensors of other heads have the same shapes
        raise ValueError(f"the folder has {stored['num_attention_heads']} heads, the trunk {heads}")
    # transformers renames the tensors of older files, so its own reader is used.
    loaded, report = type(backbone).from_pretrained(
        folder, local_files_only=True, use_safetensors=True, output_loading_info=True
    )
    tensors, wanted = loaded.state_dict(), trunk.state_dict()
    missing = {f"backbone.{name}" for name in report["missing_keys"]} & set(wanted)
    if missing:
        raise ValueError(f"the folder lacks {', '.join(sorted(missing)[:3])}")
    return {name: tensors[name.removeprefix("backbone.")] for name in wanted}


def _arguments(kind: str, stored: dict[str, Any]) -> dict[str, Any]:
    if kind in ("convnext", "resnet"):
        sizes = {"widths": tuple(stored["hidden_sizes"]), "depths": tuple(stored["depths"])}
        if kind == "convnext":
            return sizes
        return {**sizes, "stem": stored["embedding_size"], "block": stored["layer_type"]}
    return {
        "width": stored["hidden_size"],
        "depth": stored["num_hidden_layers"],
        "heads": stored["num_attention_heads"],
        "patch_px": stored["patch_size"],
        "position_px": stored["image_size"],
    }


def _advice(start: Path) -> str:
    """Which encoder a folder needs, in the words of the settings."""
    try:
        name, arguments = encoder_of_folder(start)
    except TrainingError:
        return f"Encoders are {', '.join(ENCODERS)}. Correct the path or the encoder."
    return f"This folder needs encoder: {name} with encoder_config: {json.dumps(arguments)}."
