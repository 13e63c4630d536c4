"""An untrained text encoder over the real words, as a model and as part of a toy bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from koilo.bundle import Bundle, add_stage
from koilo.language.encoders import WordEncoder
from koilo.language.model import AlignedTexts
from koilo.language.predict import STAGE
from koilo.taxonomy import read_vocabulary
from koilo.train.recipes.alignment import known_words

TEXTS = tuple(option.text for option in read_vocabulary())
HALO = "perinuclear halo or cytoplasmic vacuolisation"


def toy_model(n_features: int = 3) -> AlignedTexts:
    """An untrained text encoder over the real words."""
    torch.manual_seed(0)
    return AlignedTexts(WordEncoder(known_words(), width=8), torch.zeros(n_features)).eval()


def toy_stage(threshold: float = 0.9, query_threshold: float = 0.9) -> dict[str, Any]:
    """What bundle.json says of `toy_model`."""
    return {
        "encoder": "words",
        "words": list(known_words()),
        "config": {"width": 8},
        "temperature": False,
        "texts": list(TEXTS),
        "thresholds": [threshold] * len(TEXTS),
        "query_threshold": query_threshold,
    }


def tensors_of(model: AlignedTexts) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in model.state_dict().items()}


def add_words(folder: Path, **thresholds: float) -> Bundle:
    """Give a toy bundle, whose cells have three features, the toy descriptions."""
    model, stage = toy_model(), toy_stage(**thresholds)
    return add_stage(folder, STAGE, stage, tensors_of(model), "# A toy with words\n")
