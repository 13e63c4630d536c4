"""Moving averages: how far back they reach."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from koilo.train.ema import MovingAverage, keep_share


@pytest.mark.parametrize(("young", "span"), [(10.0, 1 / 9), (4.0, 1 / 3)])
def test_a_young_average_spans_the_stated_share_of_the_steps(young: float, span: float) -> None:
    model = nn.Linear(1, 1, bias=False)
    average = MovingAverage(model, 0.9999, young)
    n = 600
    for step in range(n):
        with torch.no_grad():
            model.weight.fill_(step)  # so that the average says how old it is
        average.update(model, step)
    age = n - 1 - float(average.shadow["weight"])
    assert age == pytest.approx(n * span / (1 + span), rel=0.05)


def test_the_decay_is_the_most_that_is_kept() -> None:
    assert keep_share(0.5, 100, 4.0) == 0.5
    assert keep_share(0.99, 0, 4.0) == 0.25
