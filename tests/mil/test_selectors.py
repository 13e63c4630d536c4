"""Selectors: one score a cell each, lesion cells first where there is something to find."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from koilo.errors import ConfigError
from koilo.evaluate.ranking import RankedSlide, top_k_recall
from koilo.mil import Bag, build_head, collate
from koilo.mil.bottleneck import (
    BottleneckSettings,
    fit_bottleneck,
    information_cost,
    soft_coins,
    through_gate,
)
from koilo.mil.selectors import (
    SELECTORS,
    Judge,
    integrated_gradients,
    keep_top,
    score_cells,
)
from tests.mil.scored import C, D, toy_bag, toy_bags

N_LESIONS = 4


@pytest.fixture(scope="module")
def judge() -> Judge:
    """A head and a gate trained for twenty steps on slides whose lesion cells stand out."""
    scored, labels = toy_bags(30)
    bags = [Bag(str(i), b.features, y) for i, (b, y) in enumerate(zip(scored, labels, strict=True))]
    torch.manual_seed(0)
    head = build_head("abmil", D, C, {"hidden": 16, "dropout": 0.0})
    optimizer = torch.optim.Adam(head.parameters(), lr=0.1)
    x, mask, truth = collate(bags)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(x, mask)[0], truth).backward()
        optimizer.step()
    settings = BottleneckSettings(hidden=16, steps=20, lr=0.1, batch=24)
    gate, _ = fit_bottleneck(bags, C, settings, seed=0)
    return Judge(head=head.eval(), gate=gate)


def test_the_selectors_are_those_named() -> None:
    assert set(SELECTORS) == {
        "attention", "bottleneck", "cells", "detector", "eq4", "gradcam", "hirescam",
        "integrated_gradients",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(set(SELECTORS) - {"detector", "eq4"}))
def test_lesion_cells_come_first(name: str, judge: Judge) -> None:
    """Not so for eq4, whose sign is arbitrary, nor for a detector that scores at random."""
    rng = np.random.default_rng(5)
    recalls = []
    for label in (1, 2, 1, 2):
        bag = toy_bag(rng, label)
        scores = score_cells(name, bag, Judge(judge.head, "features", label, judge.gate))
        assert scores.shape == (len(bag),)
        slide = RankedSlide("HSIL", np.arange(len(bag)) < N_LESIONS, scores)
        recalls.append(top_k_recall([slide], [2 * N_LESIONS], draws=1)[0].estimate)
    assert np.mean(recalls) > 0.6, recalls  # by chance 0.2


@pytest.mark.parametrize("name", sorted(SELECTORS))
def test_scores_follow_their_cells_when_these_change_places(name: str, judge: Judge) -> None:
    bag = toy_bag(np.random.default_rng(6), 1)
    order = np.random.default_rng(7).permutation(len(bag))
    scores, moved = (score_cells(name, each, judge) for each in (bag, bag.at(order)))
    np.testing.assert_allclose(moved, scores[order], rtol=1e-3, atol=1e-5)


def test_attributions_sum_to_the_rise_of_the_logit(judge: Judge) -> None:
    assert judge.head is not None
    x = torch.from_numpy(toy_bag(np.random.default_rng(8), 1).features)
    mask = torch.ones(1, len(x), dtype=torch.bool)
    start = x.mean(0).expand_as(x)
    rise = judge.head(x[None], mask)[0][0, 1] - judge.head(start[None], mask)[0][0, 1]
    shares = integrated_gradients(judge.head, x, 1)
    assert shares.sum().item() == pytest.approx(rise.item(), rel=0.02)


def test_of_a_linear_head_each_cell_gets_its_own_part() -> None:
    torch.manual_seed(0)
    head = build_head("mean", D, C, {}).eval()
    x = torch.randn(5, D)
    weight = head.classify.weight[2]
    expected = torch.stack([(cell - x.mean(0)) @ weight / 5 for cell in x])
    torch.testing.assert_close(integrated_gradients(head, x, 2), expected, rtol=1e-4, atol=1e-5)


def literal_cost(logits: Tensor, mask: Tensor, prior: float) -> float:
    costs = []
    for row, real in zip(logits, mask, strict=True):
        for value, is_real in zip(row.tolist(), real.tolist(), strict=True):
            if is_real:
                p = 1 / (1 + np.exp(-value))
                costs.append(p * np.log(p / prior) + (1 - p) * np.log((1 - p) / (1 - prior)))
    return float(np.mean(costs))


def test_the_cost_is_the_divergence_from_the_prior_cell_by_cell() -> None:
    torch.manual_seed(1)
    logits, mask = torch.randn(3, 6), torch.rand(3, 6) < 0.7
    cost = information_cost(logits, mask, 0.2)
    assert cost.item() == pytest.approx(literal_cost(logits, mask, 0.2), rel=1e-5)
    at_prior = information_cost(torch.full((1, 4), float(np.log(0.25))), torch.ones(1, 4) > 0, 0.2)
    assert at_prior.item() == pytest.approx(0, abs=1e-6)


def test_soft_coins_fall_as_often_as_their_probability_says() -> None:
    torch.manual_seed(2)
    coins = soft_coins(torch.full((20_000,), float(np.log(0.3 / 0.7))), 0.5)
    assert (coins > 0.5).float().mean().item() == pytest.approx(0.3, abs=0.02)


def test_a_cell_held_back_becomes_the_mean_cell_and_padding_has_no_part() -> None:
    x = torch.tensor([[[1.0], [3.0], [99.0]]])
    mask = torch.tensor([[True, True, False]])
    passed = through_gate(x, mask, torch.tensor([[0.0, 1.0, 0.0]]))
    assert passed[0, :2, 0].tolist() == [2.0, 3.0]


def test_the_same_seed_trains_the_same_gate() -> None:
    scored, labels = toy_bags(6)
    bags = [Bag(str(y), b.features, y) for b, y in zip(scored, labels, strict=True)]
    settings = BottleneckSettings(hidden=4, steps=2, batch=3)
    first, second = (fit_bottleneck(bags, C, settings, seed=3)[0] for _ in range(2))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_highest_scores_are_kept_best_first() -> None:
    scores = np.array([0.9, 0.1, 0.8, 0.7], np.float32)
    assert keep_top(scores, 2).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda bag: score_cells("attentoin", bag), "attention"),
        (lambda bag: score_cells("gradcam", bag), "no slide head"),
        (lambda bag: score_cells("bottleneck", bag), "no gate"),
        (
            lambda bag: score_cells("attention", bag, Judge(build_head("mean", D, C, {}))),
            "MeanHead",
        ),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_line(ask: Callable[..., object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ask(toy_bag(np.random.default_rng(0), 1))
