"""One training loop and the recipes that run in it."""

from koilo.train.batches import IndexedBatches, batch_rng
from koilo.train.loop import FitResult, fit
from koilo.train.recipe import LoopConfig, Progress, Recipe

__all__ = [
    "FitResult",
    "IndexedBatches",
    "LoopConfig",
    "Progress",
    "Recipe",
    "batch_rng",
    "fit",
]
