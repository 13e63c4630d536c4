"""Colour changes of whole bags: ColorAdv's shift of three numbers a slide, and its controls [1].

All act on float RGB in [0, 1], ``(B, K, 3, P, P)``, before mean and deviation, with one draw a
slide: a laboratory's stain moves all cells of its slides together. The paper's .1 is 25 grey
levels; on 0-255 it would be invisible (spec swift.md, 13).

[1] STRIDE (arXiv 2407.19512), Methods, "ColorAdv", eq. 7-8.
"""

from __future__ import annotations

import torch
from torch import Tensor

from koilo.runtime import full_precision
from koilo.train.views import hsv_to_rgb, rgb_to_hsv

_LEAST = 1e-12
_DARKEST = 1.0 / 255
# Haematoxylin, eosin and the residual as optical densities of R, G, B [Ruifrok 2001].
_HED = ((0.650, 0.704, 0.286), (0.072, 0.990, 0.105), (0.268, 0.570, 0.776))
_PLANE = 0.15
"""Density under which a pixel is glass for Macenko's fit."""
_TAIL = 0.01
"""Share of the angles cut off at either end by Macenko's fit."""


def shift_colours(bags: Tensor, shift: Tensor, in_hsv: Tensor) -> Tensor:
    """Add three numbers a slide to its colour channels; differentiable in ``shift``.

    Args:
        bags: (B, K, 3, P, P) in [0, 1].
        shift: (B, 3): red, green, blue; or hue in turns (it wraps), saturation, value.
        in_hsv: (B,) bool, which of the two; the conversion to HSV carries no gradient.

    Returns:
        (B, K, 3, P, P) in [0, 1]; equal to ``bags`` within 1e-6 where the shift is zero.
    """
    parts = []
    for bag, r, hsv in zip(bags, shift, in_hsv.tolist(), strict=True):
        if not hsv:
            parts.append((bag + r.view(3, 1, 1)).clamp(0, 1))
            continue
        with torch.no_grad():
            h, s, v = rgb_to_hsv(bag).unbind(1)  # (K, P, P)
        hue = h + r[0]
        moved = [hue - hue.floor().detach(), (s + r[1]).clamp(0, 1), (v + r[2]).clamp(0, 1)]
        parts.append(hsv_to_rgb(torch.stack(moved, 1)))
    return torch.stack(parts)


def steepest_shift(gradient: Tensor, radius: float) -> Tensor:
    """The shift (B, 3) of length ``radius`` along each slide's gradient; 0 where that vanishes."""
    length = gradient.float().norm(dim=1, keepdim=True)  # (B, 1)
    unit = gradient.float() / (length + _LEAST)
    return torch.where(length < _LEAST, torch.zeros_like(unit), radius * unit).detach()


def random_shift(n: int, radius: float, generator: torch.Generator) -> Tensor:
    """``n`` shifts (n, 3) of length ``radius`` in any direction."""
    return steepest_shift(torch.randn(n, 3, generator=generator), radius)


def jitter_stain(bags: Tensor, valid: Tensor, size: float, generator: torch.Generator) -> Tensor:
    """Change each slide's stain as another laboratory might: HED jitter or Macenko [2, 3].

    Concentrations of the stains are scaled by 1 ± ``size`` and shifted by ± ``size`` / 4, once a
    slide. HED jitter takes Ruifrok's fixed vectors, Macenko's way fits two to the slide's crops;
    which of them is drawn for each slide.

    Args:
        bags: (B, K, 3, P, P) in [0, 1].
        valid: (B, K), True = real cell; blank padding is black, which is no stain to fit.
        size: how far.
        generator: on the CPU.

    [2] Tellez et al., Medical Image Analysis 58:101544, 2019. [3] Macenko et al., ISBI 2009.
    """
    with full_precision(bags.device):  # halved densities would step by several grey levels
        parts = [
            _stained_anew(bag, real, size, generator) for bag, real in zip(bags, valid, strict=True)
        ]
    return torch.stack(parts)


def _stained_anew(bag: Tensor, real: Tensor, size: float, generator: torch.Generator) -> Tensor:
    """One slide's crops (K, 3, P, P) in a stain of their own."""
    own = bool(torch.rand((), generator=generator) < 0.5)
    density = -bag.clamp_min(_DARKEST).log10().movedim(1, -1)  # (K, P, P, 3)
    stains = _fitted_stains(density[real]) if own else None
    vectors = torch.tensor(_HED).to(bag) if stains is None else stains
    vectors = vectors / vectors.norm(dim=1, keepdim=True)  # (S, 3)
    amounts = density @ torch.linalg.pinv(vectors)  # (K, P, P, S)
    rest = density - amounts @ vectors
    scale, shift = (
        size * (2 * torch.rand(len(vectors), generator=generator) - 1) for _ in range(2)
    )
    stained = amounts * (1 + scale.to(bag)) + shift.to(bag) / 4 * (amounts > _PLANE)
    return (10 ** -(stained @ vectors + rest)).clamp(0, 1).movedim(-1, 1)


def _fitted_stains(density: Tensor) -> Tensor | None:
    """Macenko's two stain vectors (2, 3): the extreme angles in the plane that holds the densities.

    None where too little is stained to span a plane.
    """
    stained = density.reshape(-1, 3)
    stained = stained[(stained > _PLANE).all(1)]
    if len(stained) < 100:
        return None
    stained = stained[:: max(1, len(stained) // 20_000)].double()
    _, basis = torch.linalg.eigh(torch.cov(stained.T))
    plane = basis[:, 1:].flip(1)  # (3, 2), main direction first
    plane = plane * torch.where(plane.sum(0) < 0, -1.0, 1.0)
    angle = torch.atan2(*(stained @ plane).unbind(1)[::-1])
    low, high = torch.quantile(angle, angle.new_tensor([_TAIL, 1 - _TAIL]))
    if high - low < 1e-3:
        return None
    turned = torch.stack([torch.stack([a.cos(), a.sin()]) for a in (low, high)])  # (2, 2)
    return (turned @ plane.T).clamp_min(1e-3).to(density)
