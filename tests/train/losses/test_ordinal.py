"""The ordinal loss equals its definition step by step, and asks for what an order asks for."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from koilo.train.losses.ordinal import ordinal_loss


def literal(logits: Tensor, labels: Tensor) -> float:
    total = 0.0
    for row, label in zip(logits.double(), labels.tolist(), strict=True):
        weights = [math.exp(value) for value in row.tolist()]
        p = [weight / sum(weights) for weight in weights]
        for step in range(len(p) - 1):
            above = sum(p[step + 1 :])
            total -= math.log(above) if label > step else math.log(1 - above)
    return total / len(labels)


def test_it_equals_the_sum_over_steps_computed_bag_by_bag() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(7, 5) * 2, torch.tensor([0, 4, 2, 1, 3, 3, 0])
    assert ordinal_loss(logits, labels).item() == pytest.approx(literal(logits, labels), rel=1e-5)


def test_a_near_miss_costs_less_than_a_far_one() -> None:
    near, far = (torch.eye(5)[k : k + 1] * 6 for k in (3, 1))
    label = torch.tensor([4])
    assert ordinal_loss(near, label) < ordinal_loss(far, label)


def test_two_classes_are_plain_cross_entropy() -> None:
    logits, labels = torch.randn(6, 2), torch.tensor([0, 1, 1, 0, 1, 0])
    torch.testing.assert_close(
        ordinal_loss(logits, labels), torch.nn.functional.cross_entropy(logits, labels)
    )


def test_hopeless_logits_still_give_a_finite_gradient() -> None:
    logits = torch.tensor([[80.0, -80.0, 0.0]], requires_grad=True)
    ordinal_loss(logits, torch.tensor([2])).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
