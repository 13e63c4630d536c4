"""One training loop and the recipes that run in it.

Names are imported when they are asked for: the table of recipes must show without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from koilo.train.batches import IndexedBatches, batch_rng
    from koilo.train.loop import FitResult, fit
    from koilo.train.recipe import LoopConfig, Progress, Recipe

_HOMES = {
    "FitResult": "koilo.train.loop",
    "IndexedBatches": "koilo.train.batches",
    "LoopConfig": "koilo.train.recipe",
    "Progress": "koilo.train.recipe",
    "Recipe": "koilo.train.recipe",
    "batch_rng": "koilo.train.batches",
    "fit": "koilo.train.loop",
}

__all__ = [
    "FitResult",
    "IndexedBatches",
    "LoopConfig",
    "Progress",
    "Recipe",
    "batch_rng",
    "fit",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
