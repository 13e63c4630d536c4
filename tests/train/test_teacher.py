"""A teacher follows its student and is never in train mode."""

from __future__ import annotations

import torch
from torch import nn

from koilo.train.teacher import Teacher


def student() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))


def test_it_moves_by_one_minus_keep_statistics_included() -> None:
    net = student()
    teacher = Teacher(net)
    with torch.no_grad():
        net[0].weight += 1.0
        net[1].running_mean += 2.0
    old = teacher.net[0].weight.clone()
    teacher.follow(net, 0.75)
    torch.testing.assert_close(teacher.net[0].weight, old + 0.25)
    torch.testing.assert_close(teacher.net[1].running_mean, torch.full((2,), 0.5))


def test_it_stays_in_eval_mode_without_gradients_inside_a_model_in_training() -> None:
    whole = nn.ModuleDict({"student": student()})
    whole["teacher"] = Teacher(whole["student"])
    whole.train()
    assert whole["student"].training
    assert not any(module.training for module in whole["teacher"].modules())
    assert not any(parameter.requires_grad for parameter in whole["teacher"].parameters())
