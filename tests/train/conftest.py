"""A toy recipe that every test of the loop steps: BatchNorm, dropout, random batches."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from koilo.train import IndexedBatches, Progress, batch_rng

N_BATCHES = 5


class ToyRecipe:
    """Regress the sum of four numbers; ``as_iterator`` gives batches that cannot be indexed."""

    def __init__(self, *, as_iterator: bool = False) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1)
        )
        self.as_iterator = as_iterator
        self.seen: list[tuple[int, int]] = []
        self.modes: list[tuple[bool, bool]] = []

    def batches(self, epoch: int) -> Iterable[Any]:
        def make(index: int) -> tuple[Tensor, Tensor, tuple[int, int]]:
            x = torch.from_numpy(batch_rng(7, epoch, index).normal(size=(6, 4))).float()
            return x, x.sum(dim=1, keepdim=True), (epoch, index)

        batches = IndexedBatches(N_BATCHES, make)
        return iter(list(batches)) if self.as_iterator else batches

    def losses(self, batch: Any, progress: Progress) -> dict[str, Tensor]:
        x, y, place = batch
        self.seen.append(place)
        assert self.model.training
        error = (self.model(x) - y).square().mean()
        return {"mse": error, "largest": x.max()}

    def after_step(self, progress: Progress) -> None:
        self.modes.append((self.model.training, torch.is_grad_enabled()))

    def evaluate(self) -> dict[str, float]:
        self.modes.append((self.model.training, torch.is_grad_enabled()))
        return {"sum": sum(p.sum().item() for p in self.model.parameters())}


@pytest.fixture
def toy() -> ToyRecipe:
    return ToyRecipe()


def weights_of(folder: Path) -> dict[str, Tensor]:
    """The final weights that a run left in ``folder``."""
    from safetensors.torch import load_file

    return dict(load_file(folder / "model.safetensors"))


def assert_same_bits(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name
