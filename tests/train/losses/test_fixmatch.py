"""FixMatch's loss against a loop over cells."""

from __future__ import annotations

import math

import pytest
import torch

from koilo.train.losses.fixmatch import pseudo_label_loss


def literal(strong, p_weak, thresholds) -> float:
    total = 0.0
    for logits, p in zip(strong.tolist(), p_weak.tolist(), strict=True):
        best = max(range(len(p)), key=p.__getitem__)
        if p[best] >= thresholds[best]:
            total -= logits[best] - math.log(sum(math.exp(value) for value in logits))
    return total / len(strong)


def test_the_loss_is_the_literal_one() -> None:
    generator = torch.Generator().manual_seed(0)
    strong = torch.randn(40, 3, generator=generator)
    p_weak = (3 * torch.randn(40, 3, generator=generator)).softmax(1)
    thresholds = torch.tensor([0.95, 0.5, 0.7])
    loss, sure = pseudo_label_loss(strong, p_weak, thresholds)
    assert 0 < sure.sum() < 40
    assert loss.item() == pytest.approx(literal(strong, p_weak, thresholds.tolist()), rel=1e-5)


def test_a_threshold_that_is_just_reached_counts() -> None:
    p = torch.tensor([[0.75, 0.25], [0.25, 0.75]])
    _, sure = pseudo_label_loss(torch.zeros(2, 2), p, torch.tensor([0.75, 0.76]))
    assert sure.tolist() == [True, False]


def test_unsure_cells_give_zero_and_no_gradient() -> None:
    strong = torch.randn(4, 2, requires_grad=True)
    loss, _ = pseudo_label_loss(strong, torch.full((4, 2), 0.5), torch.full((2,), 0.95))
    loss.backward()
    assert loss.item() == 0.0
    assert strong.grad is not None
    assert not strong.grad.any()
