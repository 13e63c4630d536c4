"""Information bottleneck: a gate that learns how few cells a slide's label needs [1].

Each cell has a probability of being let through; in training a soft coin is thrown for it, the head
reads what passes, and letting through more than a given share costs information. Afterwards the
cells with the highest probability are those that the label needs.

[1] Li et al.: Task-specific fine-tuning via variational information bottleneck for
weakly-supervised pathology whole slide image classification, CVPR 2023. Departures: prior, weight
and temperature are ours, fields of `BottleneckSettings`; any slide head may read the gated cells; a
cell that is held back becomes the mean cell of its bag, not a vector of zeros, which for features
that are not centred would be a sign of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from koilo.errors import TrainingError
from koilo.mil.bags import Bag, collate
from koilo.mil.heads import build_head


@dataclass(frozen=True)
class BottleneckSettings:
    """How gate and head are trained together."""

    head: str = "abmil"
    """the slide head that reads what passes"""
    hidden: int = 128
    """width of the gate"""
    prior: float = 0.1
    """share of cells that may pass at no cost"""
    weight: float = 0.1
    """of the cost, against the slide's cross-entropy"""
    temperature: float = 0.5
    """of the soft coins: low is near to yes or no"""
    steps: int = 500
    """updates"""
    batch: int = 16
    """slides a batch, classes drawn evenly"""
    lr: float = 1e-3
    """Adam's rate, falling linearly"""


class BottleneckGate(nn.Module):
    """Logits of letting each cell through, from what a head reads of it."""

    def __init__(self, d_in: int, hidden: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(d_in, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` (B, N, D) to logits (B, N)."""
        logits: Tensor = self.layers(x).squeeze(-1)
        return logits


def fit_bottleneck(
    bags: Sequence[Bag], n_classes: int, settings: BottleneckSettings, seed: int
) -> tuple[BottleneckGate, nn.Module]:
    """Train a gate and a head that reads what it lets through; both in eval mode.

    Raises:
        TrainingError: the bags hold fewer than two classes.
        ConfigError: the head is unknown.
    """
    labels = np.array([bag.label for bag in bags])
    present = sorted(set(labels.tolist()))
    if len(present) < 2:
        raise TrainingError(
            f"The {len(bags)} training bags hold fewer than two classes. A bottleneck keeps what "
            "tells classes apart. Check the labels and splits."
        )
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    d_in = bags[0].x.shape[1]
    gate = BottleneckGate(d_in, settings.hidden).train()
    head = build_head(settings.head, d_in, n_classes, {}).train()
    optimizer = torch.optim.Adam([*gate.parameters(), *head.parameters()], lr=settings.lr)
    pools = [np.flatnonzero(labels == label) for label in present]
    for step in range(settings.steps):
        optimizer.param_groups[0]["lr"] = settings.lr * (1 - step / settings.steps)
        chosen = [int(rng.choice(pools[rng.integers(len(pools))])) for _ in range(settings.batch)]
        x, mask, truth = collate([bags[i] for i in chosen])
        logits = gate(x)  # (B, N)
        passed = through_gate(x, mask, soft_coins(logits, settings.temperature))
        called, _ = head(passed, mask)
        cost = information_cost(logits, mask, settings.prior)
        loss = functional.cross_entropy(called, truth) + settings.weight * cost
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return gate.eval(), head.eval()


def soft_coins(logits: Tensor, temperature: float) -> Tensor:
    """Relaxed Bernoulli draws of the same shape as ``logits``, differentiable, within (0, 1)."""
    u = torch.rand_like(logits).clamp(1e-6, 1 - 1e-6)
    return torch.sigmoid((logits + torch.log(u) - torch.log1p(-u)) / temperature)


def through_gate(x: Tensor, mask: Tensor, coins: Tensor) -> Tensor:
    """What passes, (B, N, D): each cell drawn towards its bag's mean cell by 1 - its coin."""
    real = mask.unsqueeze(-1)
    mean = x.masked_fill(~real, 0).sum(dim=1, keepdim=True) / real.sum(dim=1, keepdim=True)
    return torch.lerp(mean.expand_as(x), x, coins.unsqueeze(-1))


def information_cost(logits: Tensor, mask: Tensor, prior: float) -> Tensor:
    """Mean over real cells of KL(Bernoulli(sigmoid(logits)) || Bernoulli(prior)), a scalar.

    Args:
        logits: (B, N) of letting a cell through.
        mask: (B, N), True = real cell.
        prior: share of cells that passes at no cost.
    """
    log_p, log_q = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    p = log_p.exp()
    cost = p * (log_p - np.log(prior)) + (1 - p) * (log_q - np.log1p(-prior))
    return cost[mask].mean()
