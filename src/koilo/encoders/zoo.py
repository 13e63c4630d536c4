"""Encoders by name: one plain dictionary, with what a name stands for and under which licence.

An encoder is a module with `channels` and `strides`, one entry a map, that turns float RGB images
of 0-255, ``(B, 3, H, W)``, into a list of maps ``(B, C, H / stride, W / stride)``, coarsest last.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from koilo.config import nearest
from koilo.errors import ConfigError


@dataclass(frozen=True)
class EncoderEntry:
    """What an encoder's name stands for."""

    target: str
    """``module:Class``"""
    licence: str
    """of the graph; weights of our own training are Apache-2.0"""
    config: dict[str, Any] = field(default_factory=dict)
    """arguments of the class"""
    mpp: float = 0.5
    """pixel size it is meant for, in micrometres"""
    input_px: int = 96
    """side of the crops it is meant for"""


_CONVNEXT = "koilo.encoders.convnext:ConvNextTrunk"
_RESNET = "koilo.encoders.resnet:ResNetTrunk"
_VIT = "koilo.encoders.vit:ViTTrunk"

ENCODERS: dict[str, EncoderEntry] = {
    "nanodet": EncoderEntry(
        "koilo.encoders.nanodet:NanoDetTrunk", "Apache-2.0 (RangiLyu/nanodet)", {"n_stages": 3}
    ),
    "nanodet_frozen_norm": EncoderEntry(
        "koilo.encoders.nanodet:NanoDetTrunk",
        "Apache-2.0 (RangiLyu/nanodet)",
        {"n_stages": 3, "frozen_norm": True},
        mpp=0.75,
        input_px=64,
    ),
    "plain": EncoderEntry(
        "koilo.encoders.plain:PlainTrunk",
        "Apache-2.0",
        {"widths": (32, 64, 128, 256), "blocks": (1, 2, 2, 1)},
    ),
    "convnext_twin": EncoderEntry(
        _CONVNEXT,
        "Apache-2.0 (transformers)",
        {"widths": (24, 48, 96, 192), "depths": (2, 2, 4, 2), "drop_path": 0.0},
        mpp=0.75,
        input_px=64,
    ),
    "convnext_atto": EncoderEntry(
        _CONVNEXT,
        "Apache-2.0 (transformers)",
        {"widths": (40, 80, 160, 320), "depths": (2, 2, 6, 2)},
    ),
    "convnext_femto": EncoderEntry(
        _CONVNEXT,
        "Apache-2.0 (transformers)",
        {"widths": (48, 96, 192, 384), "depths": (2, 2, 6, 2)},
    ),
    "convnext_pico": EncoderEntry(
        _CONVNEXT,
        "Apache-2.0 (transformers)",
        {"widths": (64, 128, 256, 512), "depths": (2, 2, 6, 2)},
    ),
    "convnext_nano": EncoderEntry(
        _CONVNEXT,
        "Apache-2.0 (transformers)",
        {"widths": (80, 160, 320, 640), "depths": (2, 2, 8, 2)},
    ),
    "convnext_tiny": EncoderEntry(
        _CONVNEXT,
        "Apache-2.0 (transformers)",
        {"widths": (96, 192, 384, 768), "depths": (3, 3, 9, 3)},
    ),
    "resnet18": EncoderEntry(
        _RESNET,
        "Apache-2.0 (transformers)",
        {"widths": (64, 128, 256, 512), "depths": (2, 2, 2, 2), "stem": 64, "block": "basic"},
    ),
    "resnet_twin": EncoderEntry(
        _RESNET,
        "Apache-2.0 (transformers)",
        {"widths": (20, 40, 80, 160), "depths": (2, 2, 2, 2), "stem": 20, "block": "basic"},
        mpp=0.75,
        input_px=64,
    ),
    "vit_small": EncoderEntry(
        _VIT,
        "Apache-2.0 (transformers)",
        {"family": "vit", "width": 384, "depth": 12, "heads": 6, "patch_px": 16, "position_px": 96},
    ),
    "vit_twin": EncoderEntry(
        _VIT,
        "Apache-2.0 (transformers)",
        {"family": "vit", "width": 120, "depth": 6, "heads": 4, "patch_px": 8, "position_px": 64},
        mpp=0.75,
        input_px=64,
    ),
    "dinov2_small": EncoderEntry(
        _VIT,
        "Apache-2.0 (transformers)",
        {
            "family": "dinov2",
            "width": 384,
            "depth": 12,
            "heads": 6,
            "patch_px": 14,
            "position_px": 518,
        },
    ),
}


def build_encoder(name: str, **config: Any) -> nn.Module:
    """Build an encoder with random weights; ``config`` replaces the entry's own arguments.

    Raises:
        ConfigError: no encoder has this name, or it takes no such argument or value.
    """
    if name not in ENCODERS:
        raise ConfigError(f"No encoder is called '{name}'. {nearest(name, list(ENCODERS))}")
    entry = ENCODERS[name]
    module, attribute = entry.target.split(":")
    try:
        built = getattr(importlib.import_module(module), attribute)(**{**entry.config, **config})
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"Encoder {name!r} cannot be built: {str(error).rstrip('.')}. Its arguments are "
            f"{', '.join(entry.config)}. Correct the encoder's config."
        ) from error
    assert isinstance(built, nn.Module)
    return built
