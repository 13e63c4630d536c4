"""What each of two processes trains in test_processes: toys without dropout's own chance."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from koilo.datasets.crop_store import CropStore, open_crop_store
from koilo.train import LoopConfig, Progress, fit
from koilo.train.checkpoint import write_weights
from koilo.train.generations import train_semi
from koilo.train.joint import Classes, JointSampler
from koilo.train.recipes.self_supervised import SelfSupervisedConfig, SelfSupervisedRecipe
from koilo.train.recipes.semi import SemiConfig, SemiRecipe
from koilo.train.recipes.swift import SwiftRecipe, SwiftSettings
from koilo.train.self_supervision import DinoSettings, MocoSettings
from koilo.train.swift_model import build_swift_model
from tests.train.conftest import ToyRecipe

TRUNK = {"widths": (4, 8), "blocks": (1, 1)}
KEEPING = ("mean_teacher", "flexmatch", "crest", "moco", "dino")
"""Methods that keep something beside their weights."""
TRAINED = (*KEEPING, "swift")
"""And one whose views each process draws by its own chance."""

_STEPS, _STOP = 4, 3


def main(out: Path, store: Path, accumulation: int, *, stops: bool) -> None:
    """Train all in ``out``; what ``stops`` is cut off between checkpoints and goes on from one."""
    loop = LoopConfig(
        steps=6, lr=1e-2, accumulation=accumulation, device="cpu", threads=1, log_every=1
    )
    toy = ToyRecipe()
    # Without a bias before BatchNorm: its gradient is rounding alone, which Adam makes a step of.
    toy.model = nn.Sequential(nn.Linear(4, 8, bias=False), *toy.model[1:3], nn.Linear(8, 1))
    fit(toy, loop, out / "toy")
    loop = replace(loop, steps=_STEPS, lr=1e-3, checkpoint_every=2)
    for method in TRAINED:
        _train_one(out / method, method, open_crop_store(store), loop, stops)
    train_semi(_semi("crest", store, out / "generations", replace(loop, ema=0.9)))


def _train_one(out: Path, method: str, store: CropStore, loop: LoopConfig, stops: bool) -> None:
    """Leave what this process's model ends with in ``state_<rank>.safetensors``."""
    if stops:
        recipe = _recipe(method, store, loop)
        own = recipe.after_step

        def after_step(progress: Progress) -> None:
            own(progress)
            if progress.step == _STOP:
                raise KeyboardInterrupt

        recipe.after_step = after_step  # type: ignore[method-assign]
        with suppress(KeyboardInterrupt):
            fit(recipe, loop, out)
    recipe = _recipe(method, store, loop)
    fit(recipe, loop, out)
    write_weights(out / f"state_{os.environ.get('RANK', '0')}.safetensors", recipe.model, {})


def _recipe(
    method: str, store: CropStore, loop: LoopConfig
) -> SemiRecipe | SelfSupervisedRecipe | SwiftRecipe:
    if method == "swift":
        torch.manual_seed(0)
        model = build_swift_model(
            Classes(), encoder="plain", encoder_config=TRUNK, head_config={"hidden": 8}
        )
        sampler = JointSampler(store, Classes(), n_cells=6, n_slides=2, top_k=4)
        return SwiftRecipe(model, sampler, SwiftSettings(batches_per_epoch=8, tau_teacher=0.2))
    if method in ("moco", "dino"):
        config = SelfSupervisedConfig(
            store=store.folder, method=method, encoder="plain", encoder_config=TRUNK,
            batch=6, batches_per_epoch=8, alarm_cells=32, moco=MocoSettings(queue=40, width=8),
            dino=DinoSettings(outputs=12, hidden=8, bottleneck=6, local_views=2), loop=loop,
        )  # fmt: skip
        return SelfSupervisedRecipe(config, store)
    return SemiRecipe(_semi(method, store.folder, Path("semi"), loop), store)


def _semi(method: str, store: Path, out: Path, loop: LoopConfig) -> SemiConfig:
    return SemiConfig(
        store=store, out=out, method=method, encoder="plain", encoder_config=TRUNK,
        batch=6, unlabelled=8, batches_per_epoch=8, threshold=0.22, generations=2, loop=loop,
    )  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), 2, stops=True)
