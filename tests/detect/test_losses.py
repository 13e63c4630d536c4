import math

import pytest
import torch

from koilo.detect.losses import box_loss, quality_focal_loss


def literal_quality_focal(logits, target, weight, beta):
    total = 0.0
    for x, y, w in zip(logits.tolist(), target.tolist(), weight.tolist(), strict=True):
        p = 1 / (1 + math.exp(-x))
        entropy = -(y * math.log(p) + (1 - y) * math.log(1 - p))
        total += w * abs(y - p) ** beta * entropy
    return total


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0])
def test_quality_focal_equals_a_literal_sum(beta):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, generator=generator) * 3
    target, weight = torch.rand(50, generator=generator), torch.rand(50, generator=generator)
    loss = quality_focal_loss(logits, target, weight, beta=beta)
    assert float(loss) == pytest.approx(literal_quality_focal(logits, target, weight, beta), 1e-4)


def test_quality_focal_is_nothing_where_the_label_is_met():
    target = torch.tensor([0.2, 0.5, 0.9])
    loss = quality_focal_loss(torch.logit(target), target, torch.ones(3))
    assert float(loss) == pytest.approx(0, abs=1e-6)


def test_box_loss_equals_a_literal_mean_over_owned_places():
    generator = torch.Generator().manual_seed(1)
    boxes, target = torch.randn(2, 2, 4, 3, 5, generator=generator)
    owned = torch.rand(2, 3, 5, generator=generator) < 0.4
    terms = []
    for b, row, column in torch.nonzero(owned).tolist():
        for channel in range(4):
            gap = abs(float(boxes[b, channel, row, column] - target[b, channel, row, column]))
            terms.append(gap**2 / (2 * 0.5) if gap < 0.5 else gap - 0.25)
    assert float(box_loss(boxes, target, owned)) == pytest.approx(sum(terms) / len(terms), 1e-4)


def test_box_loss_without_cells_is_zero_and_still_has_a_gradient():
    boxes = torch.randn(1, 4, 3, 3, requires_grad=True)
    loss = box_loss(boxes, torch.zeros(1, 4, 3, 3), torch.zeros(1, 3, 3, dtype=torch.bool))
    loss.backward()
    assert float(loss.detach()) == 0
    assert boxes.grad is not None
    assert not boxes.grad.any()
