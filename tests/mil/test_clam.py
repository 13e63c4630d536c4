"""CLAM equals its paper computed cell by cell, and its cell loss calls the right ends."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from koilo.mil import build_head

D, C, K = 6, 3, 2
SIZES = {"width": 8, "hidden": 5, "k": K}


def make(name: str) -> nn.Module:
    torch.manual_seed(1)
    head = build_head(name, D, C, SIZES).eval()
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.6)
    return head


def literal_scores(w: dict[str, Tensor], bag: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Projected cells and each cell's raw attention scores, one cell at a time."""
    cells, scores = [], []
    for x in bag:
        h = (w["project.0.weight"] @ x + w["project.0.bias"]).clamp_min(0)
        content = torch.tanh(w["content.weight"] @ h + w["content.bias"])
        gate = 1 / (1 + torch.exp(-(w["gate.weight"] @ h + w["gate.bias"])))
        cells.append(h)
        scores.append(w["score.weight"] @ (content * gate))
    return cells, scores


def literal_pooled(cells: list[Tensor], scores: list[float]) -> tuple[Tensor, list[float]]:
    total = sum(math.exp(score) for score in scores)
    weights = [math.exp(score) / total for score in scores]
    return sum((a * h for a, h in zip(weights, cells, strict=True)), torch.zeros(8)), weights


def test_sb_equals_the_paper_computed_cell_by_cell() -> None:
    head, bag = make("clam_sb"), torch.randn(7, D)
    w = head.state_dict()
    cells, scores = literal_scores(w, bag)
    pooled, weights = literal_pooled(cells, [float(score[0]) for score in scores])
    logits, attention = head(bag.unsqueeze(0), torch.ones(1, 7, dtype=torch.bool))
    torch.testing.assert_close(logits[0], w["classify.weight"] @ pooled + w["classify.bias"])
    torch.testing.assert_close(attention[0], torch.tensor(weights))


def test_mb_equals_the_paper_computed_cell_by_cell() -> None:
    head, bag = make("clam_mb"), torch.randn(7, D)
    w = head.state_dict()
    cells, scores = literal_scores(w, bag)
    expected, weights = [], []
    for c in range(C):
        pooled, a = literal_pooled(cells, [float(score[c]) for score in scores])
        expected.append(float(w["weight"][c] @ pooled + w["bias"][c]))
        weights.append(a)
    logits, attention = head(bag.unsqueeze(0), torch.ones(1, 7, dtype=torch.bool))
    torch.testing.assert_close(logits[0], torch.tensor(expected))
    called = max(range(C), key=lambda c: expected[c])
    torch.testing.assert_close(attention[0], torch.tensor(weights[called]))


@pytest.mark.parametrize("name", ["clam_sb", "clam_mb"])
def test_the_cell_loss_equals_the_paper_computed_cell_by_cell(name: str) -> None:
    head, bags, labels = make(name), torch.randn(2, 7, D), [1, 0]
    w = head.state_dict()
    losses = []
    for bag, own in zip(bags, labels, strict=True):
        cells, scores = literal_scores(w, bag)
        for c in range(C):
            branch = c if name == "clam_mb" else 0
            order = sorted(range(7), key=lambda i: float(scores[i][branch]))
            called = [(i, int(c == own)) for i in order[-K:]]
            called += [(i, 0) for i in order[:K]] if c == own else []
            for i, target in called:
                logits = w["cells.weight"] @ cells[i] + w["cells.bias"]
                pair = logits[2 * c : 2 * c + 2]
                losses.append(functional.cross_entropy(pair[None], torch.tensor([target])))
    extra = head.extra_losses(bags, torch.ones(2, 7, dtype=torch.bool), torch.tensor(labels))
    torch.testing.assert_close(extra["cells"], 3 / 7 * torch.stack(losses).mean())


def test_a_bag_of_one_cell_has_no_ends() -> None:
    head = make("clam_sb")
    one = torch.ones(1, 1, dtype=torch.bool)
    # Named all the same: processes that train together average what they log by name.
    assert head.extra_losses(torch.randn(1, 1, D), one, torch.tensor([1])) == {"cells": 0}
