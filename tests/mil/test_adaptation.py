"""Adaptation by prototypes: the bank, the soft labels, and that the head given stays as it is."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from koilo.errors import TrainingError
from koilo.mil import Bag, build_head
from koilo.mil.adaptation import AdaptationSettings, PrototypeBank, adapt
from tests.mil.scored import C, D, toy_bags


def bags(n: int, seed: int) -> list[Bag]:
    scored, labels = toy_bags(n, seed)
    return [Bag(str(i), b.features, y) for i, (b, y) in enumerate(zip(scored, labels, strict=True))]


def mean_head() -> nn.Module:
    """A head that knows the toy's signal: feature c speaks for class c."""
    head = build_head("mean", D, C, {}).eval()
    with torch.no_grad():
        head.classify.weight.copy_(4 * torch.eye(C, D))
        head.classify.bias.copy_(torch.tensor([1.5, 0.0, 0.0]))
        head.classify.weight[0] = 0
    return head


def test_a_full_bank_takes_a_surer_slide_for_its_least_sure() -> None:
    bank = PrototypeBank(2, 2)
    for value, p in ((1.0, 0.6), (2.0, 0.9), (3.0, 0.5), (4.0, 0.7)):
        bank.offer(torch.tensor([value]), 0, p)
    assert sorted(float(v) for v in bank.vectors[0]) == [2, 4]
    assert bank.vectors[1] == []


def test_soft_labels_are_softmaxed_cosines_to_the_class_means() -> None:
    bank = PrototypeBank(3, 5)
    for vector in ([1.0, 0.0], [1.0, 0.4]):
        bank.offer(torch.tensor(vector), 0, 0.9)
    bank.offer(torch.tensor([0.0, 2.0]), 2, 0.9)
    z = np.array([0.6, 0.8])
    means = [np.array([1.0, 0.2]), np.array([0.0, 2.0])]
    odds = [np.exp(z @ m / np.linalg.norm(z) / np.linalg.norm(m) / 0.5) for m in means]
    p = bank.soft_labels(torch.tensor(z, dtype=torch.float32)[None], 0.5)
    np.testing.assert_allclose(p[0], [odds[0] / sum(odds), 0, odds[1] / sum(odds)], rtol=1e-5)


def test_every_slide_is_judged_and_the_head_given_stays_as_it_is() -> None:
    head = mean_head()
    before = copy.deepcopy(head.state_dict())
    p, teacher = adapt(
        head, bags(30, 0), bags(21, 1), AdaptationSettings(batch=8, lr=1e-2, ema=0.5)
    )
    assert p.shape == (21, C)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    assert all(torch.equal(before[name], value) for name, value in head.state_dict().items())
    moved = [not torch.equal(before[name], value) for name, value in teacher.state_dict().items()]
    assert any(moved)


def test_without_a_step_it_is_the_head_itself() -> None:
    head, target = mean_head(), bags(9, 1)
    p, _ = adapt(head, bags(30, 0), target, AdaptationSettings(lr=0.0))
    for row, bag in zip(p, target, strict=True):
        logits, _ = head(torch.from_numpy(bag.x)[None], torch.ones(1, len(bag.x)) > 0)
        np.testing.assert_allclose(row, logits[0].softmax(0).detach(), rtol=1e-4)


def test_labels_of_new_slides_are_not_read() -> None:
    head, target = mean_head(), bags(12, 1)
    hidden = [Bag(bag.bag_id, bag.x, 0) for bag in target]
    settings = AdaptationSettings(batch=4, lr=1e-2)
    first, second = (adapt(head, bags(30, 0), each, settings)[0] for each in (target, hidden))
    np.testing.assert_array_equal(first, second)


def test_a_head_that_calls_nothing_right_has_no_prototypes() -> None:
    wrong = [Bag(bag.bag_id, bag.x, (bag.label + 1) % C) for bag in bags(9, 0)]
    with pytest.raises(TrainingError, match="none of the 9"):
        adapt(mean_head(), wrong, bags(3, 1))


def test_an_average_that_is_not_trained_itself_adapts_like_its_student() -> None:
    """SWIFT's averaged head, which its measurement often chooses, asks for no gradient."""
    settings = AdaptationSettings(batch=4, lr=1e-2)
    average = mean_head().requires_grad_(False)
    own, of_average = (
        adapt(h, bags(30, 0), bags(8, 1), settings)[0] for h in (mean_head(), average)
    )
    np.testing.assert_array_equal(of_average, own)
    assert not any(parameter.requires_grad for parameter in average.parameters())


def test_no_new_slide_is_refused_in_one_line() -> None:
    with pytest.raises(TrainingError, match="no new slide"):
        adapt(mean_head(), bags(9, 0), [])
