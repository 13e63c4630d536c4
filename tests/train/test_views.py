"""Weak and strong views, and the way to HSV and back."""

from __future__ import annotations

import colorsys

import pytest
import torch

from koilo.errors import ConfigError
from koilo.train.views import StrongView, hsv_to_rgb, rgb_to_hsv, strong_view, weak_view


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_weak_view_moves_pixels_and_changes_none() -> None:
    images = torch.rand(40, 3, 8, 8, generator=chance(1))
    seen = weak_view(images, chance())
    assert torch.equal(seen.flatten(2).sort(2).values, images.flatten(2).sort(2).values)
    kinds = {
        tuple(image[0, ::7, ::7].flatten().tolist())
        for image in weak_view(images[:1].expand(200, 3, 8, 8), chance())
    }
    assert len(kinds) == 8  # four turns, mirrored or not


def test_views_are_a_function_of_the_generator() -> None:
    images = torch.rand(6, 3, 16, 16, generator=chance(1))
    assert torch.equal(strong_view(images, chance(3)), strong_view(images, chance(3)))
    assert not torch.equal(strong_view(images, chance(3)), strong_view(images, chance(4)))


def test_a_strong_view_stays_in_range_and_is_drawn_per_crop() -> None:
    images = torch.rand(1, 3, 16, 16, generator=chance(1)).expand(30, 3, 16, 16)
    seen = strong_view(images, chance())
    assert seen.min() >= 0
    assert seen.max() <= 1
    assert len({float(image.sum()) for image in seen}) == 30


def test_a_strong_view_with_nothing_on_is_a_weak_view() -> None:
    images = torch.rand(9, 3, 16, 16, generator=chance(1))
    off = StrongView(angle=0, crop=1, crop_to=1, hue=0, saturation=0, value=0)
    assert torch.allclose(
        strong_view(images, chance(5), off), weak_view(images, chance(5)), atol=1e-5
    )


def test_brightness_changes_by_no_more_than_asked() -> None:
    images = torch.full((200, 3, 4, 4), 0.5)
    seen = strong_view(
        images, chance(), StrongView(angle=0, crop=1, crop_to=1, hue=0, saturation=0, value=0.1)
    )
    assert 0.449 < seen.min() < 0.46
    assert 0.54 < seen.max() < 0.551


def test_strong_views_leave_a_nucleus_its_size_on_average() -> None:
    y, x = torch.meshgrid(torch.arange(64) - 31.5, torch.arange(64) - 31.5, indexing="ij")
    disc = (x**2 + y**2 < 12**2).float().expand(400, 3, 64, 64)
    still = StrongView(hue=0, saturation=0, value=0)
    areas = strong_view(disc, chance(), still).mean(1).sum((1, 2)) / disc[0, 0].sum()
    assert areas.mean() == pytest.approx(1, abs=0.02)  # cutting .85 to 1 alone: 1.18
    assert areas.min() < 0.9
    assert areas.max() > 1.1


@pytest.mark.parametrize(
    "values", [{"crop": 0}, {"crop": 1.2}, {"crop_to": 0.9}, {"crop_to": 2}, {"hue": -0.1}]
)
def test_impossible_views_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="is none"):
        StrongView(**values)


def test_hsv_is_colorsys_and_comes_back() -> None:
    rgb = torch.rand(1, 3, 20, 20, generator=chance())
    rgb[0, :, 0, 0] = 0.4  # grey has no hue
    rgb[0, :, 0, 1] = 0.0
    hsv = rgb_to_hsv(rgb)
    for row, column in [(0, 0), (0, 1), (3, 4), (7, 7), (19, 2)]:
        expected = colorsys.rgb_to_hsv(*rgb[0, :, row, column].tolist())
        assert hsv[0, :, row, column].tolist() == pytest.approx(expected, abs=1e-5)
    assert torch.allclose(hsv_to_rgb(hsv), rgb, atol=1e-6)


def test_half_precision_around_a_view_moves_no_pixel() -> None:
    images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def view() -> torch.Tensor:
        return strong_view(images, torch.Generator().manual_seed(1))

    with torch.autocast("cpu", torch.bfloat16):
        halved = view()
    assert torch.equal(halved, view())
