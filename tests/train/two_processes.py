"""What each of two processes trains in test_processes: the toy without what differs by chance."""

from __future__ import annotations

import sys
from pathlib import Path

from torch import nn

from koilo.train import LoopConfig, fit
from tests.train.conftest import ToyRecipe


def main(out: Path, accumulation: int) -> None:
    """Train in ``out``; BatchNorm's statistics and dropout's chance would differ between two."""
    recipe = ToyRecipe()
    recipe.model = nn.Sequential(recipe.model[0], recipe.model[2], recipe.model[4])
    loop = LoopConfig(
        steps=6, lr=1e-2, accumulation=accumulation, device="cpu", threads=1, log_every=1
    )
    fit(recipe, loop, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
