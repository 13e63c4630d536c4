"""The alarm fires on collapsed embeddings and stays silent on healthy ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from koilo.errors import TrainingError
from koilo.train.collapse import CollapseAlarm, effective_rank, spread


def normal(n: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def test_rank_is_the_exponential_of_the_entropy_of_singular_values() -> None:
    x = normal(20, 5) @ torch.diag(torch.tensor([9.0, 3.0, 1.0, 0.3, 0.1]))
    values = np.linalg.svd((x - x.mean(0)).double().numpy(), compute_uv=False)
    p = values / values.sum()
    assert effective_rank(x) == pytest.approx(math.exp(-(p * np.log(p)).sum()), rel=1e-6)


@given(st.integers(1, 6), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_rank_lies_between_one_and_the_directions_used(directions: int, seed: int) -> None:
    x = normal(30, directions, seed) @ normal(directions, 8, seed + 1)
    assert 1 - 1e-6 <= effective_rank(x) <= directions + 1e-3


def test_spread_is_one_on_the_sphere_and_zero_at_a_point() -> None:
    assert spread(normal(2000, 16)) == pytest.approx(1.0, abs=0.02)
    assert spread(torch.ones(10, 16)) == pytest.approx(0.0, abs=1e-6)


def test_healthy_embeddings_pass_with_their_values() -> None:
    values = CollapseAlarm().check(normal(64, 16) + 1.0)
    assert values["rank"] > 10
    assert values["spread"] > 0.5


@pytest.mark.parametrize(
    ("collapsed", "words"),
    [
        (torch.ones(32, 8), "rank [01].000.*spread 0.000"),
        (torch.ones(32, 8) + 1e-4 * normal(32, 8), "spread 0.000"),
        (normal(32, 1) @ torch.ones(1, 8), "rank 1.000"),
        (torch.full((32, 8), float("nan")), "rank nan"),
    ],
    ids=["one point", "one point with noise", "one line", "not finite"],
)
def test_collapsed_embeddings_stop_training_and_say_why(collapsed, words: str) -> None:
    with pytest.raises(TrainingError, match=f"have collapsed: {words}"):
        CollapseAlarm().check(collapsed)


def test_a_bound_of_zero_switches_the_alarm_off() -> None:
    assert CollapseAlarm(0.0, 0.0).check(torch.ones(4, 3))["spread"] < 1e-6
