"""FlexMatch's thresholds, case by case."""

from __future__ import annotations

import pytest
import torch

from koilo.train.losses.flexmatch import FlexThresholds


def sure_of(label: int, n: int, p: float = 0.99) -> torch.Tensor:
    """``n`` rows of three classes that are ``p`` sure of ``label``."""
    rows = torch.full((n, 3), (1 - p) / 2)
    rows[:, label] = p
    return rows


def test_before_any_sure_call_every_threshold_is_zero() -> None:
    assert FlexThresholds(10, 3, 0.95)().tolist() == [0.0, 0.0, 0.0]


def test_status_is_held_against_the_unused_cells_while_those_are_more() -> None:
    flex = FlexThresholds(10, 3, 0.9)
    flex.note(torch.arange(3), sure_of(1, 3))
    # 3 of class 1, 7 never sure: beta = 3 / 7, threshold .9 * beta / (2 - beta).
    assert flex().tolist() == pytest.approx([0.0, 0.9 * (3 / 7) / (2 - 3 / 7), 0.0])


def test_the_best_learnt_class_has_the_fixed_threshold_once_most_cells_are_used() -> None:
    flex = FlexThresholds(10, 3, 0.9)
    flex.note(torch.arange(6), sure_of(2, 6))
    flex.note(torch.arange(6, 9), sure_of(0, 3))
    # 6 of class 2, 3 of class 0, one never sure.
    assert flex().tolist() == pytest.approx([0.9 * 0.5 / 1.5, 0.0, 0.9])


def test_an_unsure_answer_leaves_the_last_sure_call() -> None:
    flex = FlexThresholds(4, 3, 0.9)
    flex.note(torch.tensor([2]), sure_of(1, 1))
    flex.note(torch.tensor([2]), sure_of(0, 1, p=0.8))
    assert flex.last_call.tolist() == [-1, -1, 1, -1]
    flex.note(torch.tensor([2]), sure_of(0, 1))
    assert flex.last_call.tolist() == [-1, -1, 0, -1]


def test_thresholds_are_those_of_a_literal_count() -> None:
    generator = torch.Generator().manual_seed(0)
    flex, last = FlexThresholds(30, 3, 0.7), [-1] * 30
    for _ in range(5):
        cells = torch.randperm(30, generator=generator)[:12]
        p = (2 * torch.randn(12, 3, generator=generator)).softmax(1)
        flex.note(cells, p)
        for cell, row in zip(cells.tolist(), p.tolist(), strict=True):
            if max(row) >= 0.7:
                last[cell] = row.index(max(row))
        counts = [last.count(name) for name in range(3)]
        most = max([*counts, last.count(-1)])
        beta = [count / most for count in counts]
        assert flex().tolist() == pytest.approx([0.7 * b / (2 - b) for b in beta])


def test_a_checkpoint_holds_the_calls() -> None:
    flex, other = (FlexThresholds(5, 3, 0.9) for _ in range(2))
    flex.note(torch.arange(4), sure_of(1, 4))
    other.load_state_dict(flex.state_dict())
    assert other().tolist() == flex().tolist()
