"""Algorithm 1's label rules, case by case, and the loss over what they label."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from koilo.train.losses.semi_weak import masked_cross_entropy, pseudo_labels

VALID = torch.tensor([[True, True, True, True, False]])


def label(
    maps: list[float], p: list[list[float]], slide: int = 2, **tau: float
) -> tuple[list, ...]:
    given = pseudo_labels(
        torch.tensor([maps]),
        torch.tensor([p]),
        torch.tensor([slide]),
        VALID,
        **({"tau_cam": 0.5, "tau_teacher": 0.9} | tau),
    )
    return (
        given.labels[0].tolist(),
        given.by_cam[0].tolist(),
        given.by_teacher[0].tolist(),
        given.mask[0].tolist(),
    )


SURE, UNSURE = [0.95, 0.03, 0.02], [0.5, 0.3, 0.2]


def test_the_map_comes_before_the_teacher_and_the_teacher_before_the_mask() -> None:
    labels, by_cam, by_teacher, mask = label(
        [1.0, 0.6, 0.5, 0.0, 1.0], [SURE, UNSURE, SURE, UNSURE, SURE]
    )
    assert labels[:3] == [2, 2, 0]  # the slide's class twice, then what the teacher is sure of
    assert by_cam == [True, True, False, False, False]  # .5 is not above .5; padding never
    assert by_teacher == [False, False, True, False, False]
    assert mask == [True, True, True, False, False]


def test_a_nilm_slide_labels_its_cells_nilm_by_the_same_rules() -> None:
    labels, by_cam, _, mask = label([0.9, 0.1, 0.0, 0.0, 0.0], [UNSURE] * 5, slide=0)
    assert labels[0] == 0
    assert by_cam == mask == [True, False, False, False, False]


def test_thresholds_are_what_they_say() -> None:
    _, _, by_teacher, _ = label([0.0] * 5, [SURE] * 5, tau_teacher=0.95)
    assert not any(by_teacher)  # .95 is not above .95
    _, by_cam, _, _ = label([0.31, 0.3, 0.0, 0.0, 0.0], [UNSURE] * 5, tau_cam=0.3)
    assert by_cam == [True, False, False, False, False]


def test_the_loss_is_the_sum_over_labelled_cells_by_all_real_cells() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    mask = torch.tensor([True, False, True, True, False, False])
    loss = masked_cross_entropy(logits, labels, mask, torch.tensor(6))
    slow = 0.0
    for row in (0, 2, 3):
        exponents = [math.exp(float(v)) for v in logits[row]]
        slow -= math.log(exponents[int(labels[row])] / sum(exponents))
    assert float(loss) == pytest.approx(slow / 6, rel=1e-5)
    everything = masked_cross_entropy(logits, labels, torch.ones(6), torch.tensor(6))
    assert float(everything) == pytest.approx(float(functional.cross_entropy(logits, labels)))
    nothing = masked_cross_entropy(logits, labels, torch.zeros(6), torch.tensor(6))
    assert float(nothing) == 0
