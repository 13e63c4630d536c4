"""Slide heads by name: each takes a bag of cells and gives the slide's logits."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from torch import nn

from koilo.config import nearest
from koilo.errors import ConfigError

HEADS = {
    "abmil": "koilo.mil.abmil:Abmil",
    "clam_mb": "koilo.mil.clam:ClamMb",
    "clam_sb": "koilo.mil.clam:ClamSb",
    "dense_attention": "koilo.mil.dense_attention:DenseAttention",
    "evidence": "koilo.mil.evidence:EvidenceHead",
    "max": "koilo.mil.pooling:MaxHead",
    "mean": "koilo.mil.pooling:MeanHead",
    "transmil": "koilo.mil.transmil:TransMil",
}
"""Name -> class. Each is built as ``Head(d_in, n_classes, **config)`` and called as
``head(x (B, N, D), mask (B, N)) -> (logits (B, C), attention (B, N) or None)``; in ``mask`` True
marks a real cell, and every bag holds one at least. A head that learns from more than the slide's
class has ``extra_losses(x, mask, labels (B,)) -> {name: scalar}``, which training adds."""


def build_head(name: str, d_in: int, n_classes: int, config: Mapping[str, Any]) -> nn.Module:
    """The head ``name`` for cells of ``d_in`` numbers and ``n_classes`` slide classes.

    Raises:
        ConfigError: the name or a setting in ``config`` is unknown.
    """
    if name not in HEADS:
        raise ConfigError(f"There is no slide head {name!r}. {nearest(name, list(HEADS))}")
    module, _, attribute = HEADS[name].partition(":")
    try:
        head: nn.Module = getattr(importlib.import_module(module), attribute)(
            d_in, n_classes, **config
        )
    except TypeError as error:
        raise ConfigError(
            f"Slide head {name!r} does not take these settings: {error}. "
            f"Given: {', '.join(config) or 'none'}. Remove the one that is unknown."
        ) from error
    return head
