"""The alignment loss is eq. 5 of the paper, term by term, and its two terms are equal."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from koilo.errors import TrainingError
from koilo.train.losses.alignment import alignment_loss


def literal(cells: Tensor, texts: Tensor, said: Tensor) -> tuple[float, float]:
    """Both terms of eq. 5, in the order of its letters: V with T, then T with V."""

    def bce(a: Tensor, b: Tensor, truth: Tensor) -> float:
        terms = []
        for i in range(len(a)):
            for j in range(len(b)):
                cosine = float(a[i] @ b[j] / (a[i].norm() * b[j].norm()))
                p = 1 / (1 + math.exp(-cosine))
                terms.append(-math.log(p if truth[i, j] else 1 - p))
        return sum(terms) / len(terms)

    return bce(cells, texts, said), bce(texts, cells, said.T)


def test_it_equals_the_papers_formula_whose_terms_are_equal() -> None:
    torch.manual_seed(0)
    cells, texts, said = torch.randn(6, 5), torch.randn(4, 5), torch.rand(6, 4) < 0.4
    one, other = literal(cells, texts, said)
    assert one == pytest.approx(other)
    unit = [torch.nn.functional.normalize(x, dim=1) for x in (cells, texts)]
    loss = alignment_loss(unit[0] @ unit[1].T, said)
    assert loss.item() == pytest.approx(one + other, rel=1e-5)


def test_it_never_nears_zero_on_bare_cosines() -> None:
    said = torch.eye(3) > 0
    perfect = 2 * said.float() - 1  # cosines of 1 and -1
    assert alignment_loss(perfect, said).item() == pytest.approx(2 * math.log(1 + math.exp(-1)))


def test_what_nobody_said_gives_no_gradient() -> None:
    cosines = torch.zeros(2, 3, requires_grad=True)
    known = torch.tensor([[True, False, True], [False, False, True]])
    alignment_loss(cosines, torch.ones(2, 3) > 0, known).backward()
    assert cosines.grad is not None
    assert ((cosines.grad != 0) == known).all()


def test_a_batch_without_anything_known_and_a_matrix_turned_over_are_refused() -> None:
    said = torch.zeros(2, 3) > 0
    with pytest.raises(TrainingError, match="Nothing in a batch of cells"):
        alignment_loss(torch.zeros(2, 3), said, said)
    with pytest.raises(TrainingError, match=r"\(3, 2\).*\(2, 3\)"):
        alignment_loss(torch.zeros(3, 2), said)
