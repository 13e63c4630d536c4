"""The multi-label loss equals its definition answer by answer, and asks only what is known."""

from __future__ import annotations

import math

import pytest
import torch

from koilo.errors import TrainingError
from koilo.train.losses.multi_label import multi_label_loss


@pytest.mark.parametrize("partly", [False, True])
def test_it_equals_the_definition_answer_by_answer(partly: bool) -> None:
    torch.manual_seed(0)
    logits, present = torch.randn(6, 5), torch.rand(6, 5) < 0.3
    known = torch.rand(6, 5) < 0.6 if partly else None
    terms = []
    for i in range(6):
        for j in range(5):
            if known is None or known[i, j]:
                p = 1 / (1 + math.exp(-float(logits[i, j])))
                terms.append(-math.log(p if present[i, j] else 1 - p))
    loss = multi_label_loss(logits, present, known)
    assert loss.item() == pytest.approx(sum(terms) / len(terms), rel=1e-5)


def test_what_nobody_looked_for_gives_no_gradient() -> None:
    logits = torch.randn(2, 3, requires_grad=True)
    known = torch.tensor([[True, False, True], [False, False, True]])
    multi_label_loss(logits, torch.ones(2, 3) > 0, known).backward()
    assert logits.grad is not None
    assert ((logits.grad != 0) == known).all()


def test_a_batch_of_which_nothing_is_known_is_refused() -> None:
    with pytest.raises(TrainingError, match="Nothing in a batch"):
        multi_label_loss(torch.zeros(2, 3), torch.zeros(2, 3) > 0, torch.zeros(2, 3) > 0)
