"""NT-Xent against four nested loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from koilo.train.losses.simclr import nt_xent


def literal(first, second, temperature) -> float:
    z = [*first, *second]
    n = len(first)
    total = 0.0
    for i, one in enumerate(z):
        similar = [
            math.exp(cosine_similarity(one, other, dim=0).item() / temperature) for other in z
        ]
        own = similar[(i + n) % (2 * n)]
        total -= math.log(own / sum(s for k, s in enumerate(similar) if k != i))
    return total / len(z)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_the_loss_is_the_literal_one(temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(7, 5, generator=generator) for _ in range(2))
    loss = nt_xent(first, second, temperature).item()
    assert loss == pytest.approx(literal(first, second, temperature), rel=1e-5)


def test_equal_views_of_different_cells_are_near_zero() -> None:
    z = torch.eye(6)
    assert nt_xent(z, z, 0.05).item() < 1e-6


def test_a_collapsed_network_pays_the_logarithm_of_all_other_views() -> None:
    z = torch.ones(4, 3)
    assert nt_xent(z, z, 0.1).item() == pytest.approx(math.log(7), rel=1e-5)


def test_half_precision_around_it_does_not_touch_the_similarities() -> None:
    torch.manual_seed(0)
    first, second = (normalize(torch.randn(7, 5), dim=1) for _ in range(2))
    with torch.autocast("cpu", torch.bfloat16):
        halved = nt_xent(first, second, 0.1)
    assert torch.equal(halved, nt_xent(first, second, 0.1))
