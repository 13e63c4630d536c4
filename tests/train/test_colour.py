"""ColorAdv's shift, its direction, and the stain augmentation it is compared with."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from koilo.train.colour import (
    _fitted_stains,
    jitter_stain,
    random_shift,
    shift_colours,
    steepest_shift,
)
from koilo.train.views import rgb_to_hsv


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bags(n: int = 2) -> torch.Tensor:
    return torch.rand(n, 3, 3, 8, 8, generator=chance(1))


def real(x: torch.Tensor) -> torch.Tensor:
    """No padding."""
    return torch.ones(x.shape[:2], dtype=torch.bool)


@pytest.mark.parametrize("hsv", [True, False])
def test_no_shift_changes_nothing(hsv: bool) -> None:
    x = bags()
    moved = shift_colours(x, torch.zeros(2, 3), torch.tensor([hsv, hsv]))
    assert torch.allclose(moved, x, atol=1e-6)


def test_a_shift_in_rgb_is_added_and_clamped() -> None:
    x = bags(1)
    moved = shift_colours(x, torch.tensor([[0.1, -0.05, 0.0]]), torch.tensor([False]))
    assert torch.allclose(moved[:, :, 0], (x[:, :, 0] + 0.1).clamp(0, 1))
    assert torch.allclose(moved[:, :, 1], (x[:, :, 1] - 0.05).clamp(0, 1))
    assert torch.equal(moved[:, :, 2], x[:, :, 2])


def test_hue_wraps_round_the_circle() -> None:
    from koilo.train.views import hsv_to_rgb

    hsv = torch.tensor([0.95, 0.6, 0.7]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    moved = shift_colours(
        hsv_to_rgb(hsv).unsqueeze(0), torch.tensor([[0.1, 0.0, 0.0]]), torch.tensor([True])
    )
    assert rgb_to_hsv(moved[0])[0, :, 0, 0].tolist() == pytest.approx([0.05, 0.6, 0.7], abs=1e-5)


def test_the_steepest_shift_has_the_length_asked_for_and_vanishes_with_the_gradient() -> None:
    gradient = torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1e-15, 0.0]])
    shift = steepest_shift(gradient, 0.1)
    assert shift[0].tolist() == pytest.approx([0.06, 0.08, 0.0])
    assert shift[1:].abs().max() == 0
    assert random_shift(50, 0.1, chance()).norm(dim=1).tolist() == pytest.approx([0.1] * 50)


@pytest.mark.parametrize("hsv", [True, False])
def test_the_loss_rises_along_the_steepest_shift(hsv: bool) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(2), nn.Linear(3 * 8 * 8, 8), nn.Tanh(), nn.Linear(8, 2))
    x, label, space = bags(4) * 0.6 + 0.2, torch.tensor([0, 1, 0, 1]), torch.tensor([hsv] * 4)

    def loss(r: torch.Tensor) -> torch.Tensor:
        logits = net(shift_colours(x, r, space)).mean(1)
        return functional.cross_entropy(logits, label, reduction="none")

    zero = torch.zeros(4, 3, requires_grad=True)
    clean = loss(zero)
    (gradient,) = torch.autograd.grad(clean.sum(), zero)
    assert (loss(steepest_shift(gradient, 0.005)) > clean).all()
    assert (loss(-steepest_shift(gradient, 0.005)) < clean).all()


def test_stain_jitter_of_size_zero_changes_nothing_and_one_draw_moves_a_whole_slide() -> None:
    x = bags(6) * 0.7 + 0.2
    assert torch.allclose(jitter_stain(x, real(x), 0.0, chance()), x, atol=2e-3)
    same = x[:1].expand(6, 3, 3, 8, 8)
    moved = jitter_stain(same, real(same), 0.4, chance())
    assert moved.min() >= 0
    assert moved.max() <= 1
    change = (moved - same).abs().mean((1, 2, 3, 4))
    assert change.min() > 1e-3
    assert len({round(float(value), 6) for value in change}) == 6


def test_macenkos_fit_finds_the_two_stains_that_a_picture_was_made_of() -> None:
    stains = functional.normalize(torch.tensor([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]]), dim=1)
    amounts = torch.rand(4000, 2, generator=chance()) * 1.5
    amounts[:200, 1] = 0  # some pixels hold one stain alone
    amounts[200:400, 0] = 0
    amounts[:400] += 0.3 * (amounts[:400] > 0)
    density = (amounts @ stains + 0.16).view(1, 40, 100, 3)
    fitted = _fitted_stains(density - 0.0)
    assert fitted is not None
    cosine = functional.normalize(fitted, dim=1) @ stains.T
    assert cosine.max(1).values.min() > 0.93
    assert _fitted_stains(torch.zeros(1, 40, 100, 3)) is None


def test_half_precision_around_it_does_not_touch_a_new_stain() -> None:
    x = bags(4) * 0.7 + 0.2
    with torch.autocast("cpu", torch.bfloat16):
        halved = jitter_stain(x, real(x), 0.2, chance())
    assert torch.equal(halved, jitter_stain(x, real(x), 0.2, chance()))


def test_padding_is_no_stain_to_fit() -> None:
    x = bags(6) * 0.7 + 0.2
    padded = torch.cat([x, torch.zeros_like(x)], 1)  # black: four fifths of all that is dark
    valid = torch.cat([real(x), ~real(x)], 1)
    moved = jitter_stain(padded, valid, 0.4, chance())
    assert torch.allclose(moved[:, :3], jitter_stain(x, real(x), 0.4, chance()), atol=1e-6)
