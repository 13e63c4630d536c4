"""Weak and strong views of cell crops, drawn per crop, on the device.

What every method that compares two views of a cell learns from: SWIFT, the semi-supervised and the
self-supervised baselines. Images are float RGB in [0, 1], ``(N, 3, P, P)``; a network's own mean
and deviation come after. The paper names rotation, flips, random crop and HSV jitter [1]; which of
them are weak, and how far they go, it does not say: weak are flips and quarter turns, the sizes
are ours (spec swift.md, 3).

[1] STRIDE (arXiv 2407.19512), Methods, "Data augmentation".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from koilo.errors import ConfigError
from koilo.runtime import full_precision


@dataclass(frozen=True)
class StrongView:
    """How far a strong view may go; 0 (or crops of 1 to 1) switches a change off.

    The sides lie about 1, not below it: cutting alone magnifies what a network learns from, and at
    its true size every nucleus then looks small to a slide head (docs/cohort.md, "Views").
    """

    angle: float = 180.0
    """largest turn either way, in degrees; what turns in from outside is reflected"""
    crop: float = 0.92
    """smallest side that is cut out and resized, as a share of the crop's"""
    crop_to: float = 1.08
    """largest such side; over 1 the crop shrinks and what lies outside is reflected"""
    hue: float = 0.02
    """largest shift of hue either way, in turns"""
    saturation: float = 0.15
    """largest relative change of saturation"""
    value: float = 0.10
    """largest relative change of brightness"""

    def __post_init__(self) -> None:
        """Refuse what is no view."""
        least = min(self.angle, self.hue, self.saturation, self.value)
        if not 0 < self.crop <= 1 <= self.crop_to < 2 or least < 0:
            raise ConfigError(
                f"The strong view {self} is none. Allowed: crop above 0 up to 1, crop_to from 1 to "
                "below 2, all others 0 or more. Correct the view's settings."
            )


def weak_view(images: Tensor, generator: torch.Generator) -> Tensor:
    """Flip and turn each crop of ``(N, 3, P, P)`` by chance, by quarter turns: exact pixels."""
    turns = torch.randint(4, (len(images),), generator=generator)
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    result = torch.empty_like(images)
    for turn in range(4):
        for mirror in (False, True):
            rows = torch.nonzero((turns == turn) & (mirrored == mirror)).flatten()
            rows = rows.to(images.device)
            part = images[rows].flip(3) if mirror else images[rows]
            result[rows] = torch.rot90(part, turn, (2, 3))
    return result


def strong_view(
    images: Tensor, generator: torch.Generator, settings: StrongView | None = None
) -> Tensor:
    """A weak view, turned by any angle, cut, resized and changed in colour, ``(N, 3, P, P)``."""
    settings = settings or StrongView()
    with full_precision(images.device):  # halved coordinates would move pixels by a tenth
        moved = _turned_and_cut(weak_view(images, generator), generator, settings)
        return _jitter_hsv(moved, generator, settings)


def _turned_and_cut(images: Tensor, generator: torch.Generator, settings: StrongView) -> Tensor:
    n = len(images)
    angle = _between(n, generator, math.radians(settings.angle))
    side = settings.crop + (settings.crop_to - settings.crop) * torch.rand(n, generator=generator)
    room = (1 - side).clamp_min(0)  # a side over the crop's own stays in its middle
    x, y = (room * (2 * torch.rand(n, generator=generator) - 1) for _ in range(2))
    cos, sin = torch.cos(angle) * side, torch.sin(angle) * side
    matrix = torch.stack([torch.stack([cos, -sin, x], 1), torch.stack([sin, cos, y], 1)], 1)
    grid = functional.affine_grid(matrix.to(images), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _jitter_hsv(images: Tensor, generator: torch.Generator, settings: StrongView) -> Tensor:
    n = len(images)
    hue = _between(n, generator, settings.hue)
    saturation = 1 + _between(n, generator, settings.saturation)
    value = 1 + _between(n, generator, settings.value)
    h, s, v = rgb_to_hsv(images).unbind(1)  # (N, P, P) each
    changed = [
        _wrapped(h + _as_pixels(hue, h)),
        (s * _as_pixels(saturation, s)).clamp(0, 1),
        (v * _as_pixels(value, v)).clamp(0, 1),
    ]
    return hsv_to_rgb(torch.stack(changed, 1))


def rgb_to_hsv(rgb: Tensor) -> Tensor:
    """RGB in [0, 1] to hue in turns, saturation and value, ``(N, 3, H, W)``.

    Hue is in turns (kornia's is in radians), so that one unit of all three is the whole range.
    """
    high, low = rgb.amax(1), rgb.amin(1)
    spread = high - low
    safe = spread.clamp_min(1e-8)
    r, g, b = ((high - channel) / safe for channel in rgb.unbind(1))
    red, green = rgb[:, 0] == high, rgb[:, 1] == high
    sixths = torch.where(red, b - g, torch.where(green, 2 + r - b, 4 + g - r))
    hue = torch.where(spread > 0, _wrapped(sixths / 6), torch.zeros_like(high))
    return torch.stack([hue, spread / high.clamp_min(1e-8), high], 1)


def hsv_to_rgb(hsv: Tensor) -> Tensor:
    """Hue in turns, saturation and value to RGB in [0, 1], ``(N, 3, H, W)``; differentiable."""
    h, s, v = hsv.unbind(1)
    chroma = s * v
    channels = []
    for offset in (5.0, 3.0, 1.0):
        k = 6 * _wrapped(offset / 6 + h)
        channels.append(v - chroma * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels, 1)


def _wrapped(turns: Tensor) -> Tensor:
    """Turns in [0, 1); the remainder operator takes ten times as long on a CPU."""
    return turns - turns.floor()


def _between(n: int, generator: torch.Generator, size: float) -> Tensor:
    return (2 * torch.rand(n, generator=generator) - 1) * size


def _as_pixels(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like).view(-1, 1, 1)
