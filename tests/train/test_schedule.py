"""Learning rates over a run, and which parameters decay."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from koilo.errors import ConfigError
from koilo.train.schedule import SCHEDULES, lr_factor, parameter_groups


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_rate_rises_then_never_rises_again(schedule: str) -> None:
    factors = [lr_factor(s, 100, warmup=0.1, schedule=schedule) for s in range(100)]
    assert factors[:10] == pytest.approx([(s + 1) / 10 for s in range(10)])
    assert all(a >= b for a, b in itertools.pairwise(factors[10:]))
    assert factors[-1] == {"cosine": pytest.approx(0.5 * (1 + math.cos(math.pi * 89 / 90))),
                           "linear": pytest.approx(1 / 90), "constant": 1.0}[schedule]  # fmt: skip


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(ConfigError, match="cosine"):
        lr_factor(0, 1, warmup=0, schedule="cosin")


def test_vectors_do_not_decay_and_a_named_trunk_learns_at_its_own_rate() -> None:
    model = nn.ModuleDict({"trunk": nn.Linear(2, 3), "head": nn.Linear(3, 1)})
    model["head"].register_parameter("frozen", nn.Parameter(torch.zeros(1), requires_grad=False))
    groups = parameter_groups(model, lr=1.0, weight_decay=0.1, lr_scales={"trunk.": 0.5})
    by_name = {
        name: (group["base_lr"], group["weight_decay"])
        for group in groups
        for name, parameter in model.named_parameters()
        if any(parameter is member for member in group["params"])
    }
    assert by_name == {
        "trunk.weight": (0.5, 0.1),
        "trunk.bias": (0.5, 0.0),
        "head.weight": (1.0, 0.1),
        "head.bias": (1.0, 0.0),
    }
