"""The hierarchical loss equals its product of steps written out leaf by leaf."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from koilo.taxonomy.hierarchy import Hierarchy, load_hierarchy
from koilo.train.losses.hierarchical import HierarchicalLoss


def literal(tree: Hierarchy, logits: Tensor, labels: Tensor, alpha: float) -> float:
    """Every step's conditional probability from sums of leaves, weights scaled to a mean of 1."""
    raw = [math.exp(-alpha * n) for n in range(tree.depth)]
    weights = [w * len(raw) / sum(raw) for w in raw]
    total = 0.0
    for row, label in zip(logits.double(), labels.tolist(), strict=True):
        odds = [math.exp(value) for value in row.tolist()]
        path = tree.paths[label]
        mass = sum(odds)
        for n, weight in enumerate(weights[: len(path)]):
            own = sum(
                o for o, p in zip(odds, tree.paths, strict=True) if p[: n + 1] == path[: n + 1]
            )
            total -= weight * math.log(own / mass)
            mass = own
    return total / len(labels)


@pytest.mark.parametrize("alpha", [0.0, 0.4])
def test_it_equals_the_steps_written_out(alpha: float) -> None:
    torch.manual_seed(0)
    tree = load_hierarchy()
    logits, labels = torch.randn(9, 23) * 2, torch.tensor([0, 5, 8, 12, 13, 14, 16, 18, 22])
    loss = HierarchicalLoss(tree, alpha)(logits, labels)
    assert loss.item() == pytest.approx(literal(tree, logits, labels, alpha), rel=1e-5)


def test_without_weights_it_is_plain_cross_entropy() -> None:
    torch.manual_seed(1)
    logits, labels = torch.randn(6, 23), torch.arange(6) * 4
    torch.testing.assert_close(
        HierarchicalLoss(load_hierarchy(), 0.0)(logits, labels),
        torch.nn.functional.cross_entropy(logits, labels),
    )


def test_a_wrong_branch_costs_more_than_a_wrong_leaf() -> None:
    tree = load_hierarchy()
    loss = HierarchicalLoss(tree, 0.4)
    label = torch.tensor([tree.leaves.index("HSIL")])
    sibling, stranger = (
        8.0 * torch.nn.functional.one_hot(torch.tensor([tree.leaves.index(name)]), 23).float()
        for name in ("LSIL", "Normal")
    )
    assert loss(sibling, label) < loss(stranger, label)


def test_hopeless_logits_give_a_finite_gradient() -> None:
    logits = torch.zeros(1, 23)
    logits[0, 0], logits[0, 22] = 200.0, -200.0
    logits.requires_grad_(True)
    HierarchicalLoss(load_hierarchy())(logits, torch.tensor([22])).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
