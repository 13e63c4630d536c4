"""DINO's loss and centre against the formulas written out."""

from __future__ import annotations

import math

import pytest
import torch

from koilo.train.losses.dino import DinoLoss


def softmax(row: list[float]) -> list[float]:
    return [math.exp(v - max(row)) / sum(math.exp(w - max(row)) for w in row) for v in row]


def views(n: int, seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(3, 4, generator=generator) for _ in range(n)]


def test_the_loss_is_the_literal_one_over_pairs_of_different_views() -> None:
    student, teacher = views(4, 0), views(2, 1)
    criterion = DinoLoss(4, student_temperature=0.1)
    criterion.centre.copy_(torch.tensor([0.1, -0.2, 0.3, 0.0]))
    total, pairs = 0.0, 0
    for i, taught in enumerate(teacher):
        for j, answered in enumerate(student):
            if i == j:
                continue
            pairs += 1
            for t_row, s_row in zip(taught.tolist(), answered.tolist(), strict=True):
                centred = [v - c for v, c in zip(t_row, criterion.centre.tolist(), strict=True)]
                target = softmax([v / 0.05 for v in centred])
                answer = softmax([v / 0.1 for v in s_row])
                total -= sum(t * math.log(a) for t, a in zip(target, answer, strict=True)) / 3
    assert pairs == 6
    assert criterion(student, teacher, 0.05).item() == pytest.approx(total / pairs, rel=1e-4)


def test_the_centre_moves_by_a_tenth_towards_the_mean_of_both_views() -> None:
    criterion = DinoLoss(2, centre_keep=0.9)
    criterion.centre.copy_(torch.tensor([1.0, 0.0]))
    criterion.move_centre([torch.tensor([[2.0, 4.0], [4.0, 4.0]]), torch.tensor([[6.0, 4.0]] * 2)])
    assert criterion.centre.tolist() == pytest.approx([0.9 * 1.0 + 0.1 * 4.5, 0.1 * 4.0])


def test_centring_undoes_an_output_that_wins_everywhere() -> None:
    criterion = DinoLoss(3, centre_keep=0.0)
    teacher = [torch.tensor([[9.0, 0.0, 0.0]] * 4)] * 2
    student = [torch.zeros(4, 3)] * 2
    won = criterion(student, teacher, 0.04)
    criterion.move_centre(teacher)
    evened = criterion(student, teacher, 0.04)
    # An even student pays log 3 either way; the target it is given is even only after centring.
    assert won.item() == pytest.approx(evened.item())
    hot = [torch.tensor([[5.0, 0.0, 0.0]] * 4)] * 2
    assert criterion(hot, teacher, 0.04) > 10


def test_the_teacher_gets_no_gradient() -> None:
    student = [view.requires_grad_() for view in views(2, 0)]
    teacher = [view.requires_grad_() for view in views(2, 1)]
    DinoLoss(4)(student, teacher, 0.04).backward()
    assert all(view.grad is not None for view in student)
    assert all(view.grad is None for view in teacher)
