"""Mean-Teacher's consistency and ramp-up, against the formulas written out."""

from __future__ import annotations

import math

import pytest
import torch

from koilo.train.losses.mean_teacher import consistency, ramp_up


def test_consistency_is_the_mean_squared_difference_of_probabilities() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(6, 4, generator=generator) for _ in range(2))
    total = 0.0
    for one, other in zip(student.tolist(), teacher.tolist(), strict=True):
        p, q = ([math.exp(v) / sum(math.exp(w) for w in row) for v in row] for row in (one, other))
        total += sum((a - b) ** 2 for a, b in zip(p, q, strict=True))
    assert consistency(student, teacher).item() == pytest.approx(total / 24, rel=1e-5)


def test_the_teacher_gets_no_gradient() -> None:
    student, teacher = (torch.randn(3, 2, requires_grad=True) for _ in range(2))
    consistency(student, teacher).backward()
    assert student.grad is not None
    assert teacher.grad is None


def test_the_weight_rises_to_one_and_stays() -> None:
    weights = [ramp_up(share / 20, 0.5) for share in range(21)]
    assert weights == sorted(weights)
    assert weights[0] == pytest.approx(math.exp(-5))
    assert weights[5] == pytest.approx(math.exp(-5 * 0.25))
    assert weights[10:] == [1.0] * 11


def test_no_ramp_up_is_full_weight_at_once() -> None:
    assert ramp_up(0.0, 0.0) == 1.0
