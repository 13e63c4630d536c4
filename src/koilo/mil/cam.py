"""Which cells carry a slide's logit: class activation maps over a bag [1].

Two readings of the paper. ``eq4`` is its equation: the mean over features of the gradient of the
slide's logit. ``gradcam`` is what its text names, Grad-CAM: the gradient averaged over the cells
weighs the features. On trained heads the sign of eq. 4 was arbitrary (AUC for lesion cells from .02
to .98 over twenty heads). A third, ``hirescam`` [2], weighs each cell's features by that cell's own
gradient: with a head of attention the average over cells says little of any one of them, and
Grad-CAM then marks most cells of some slides (docs/log.md, 2026-11-25).

[1] STRIDE (arXiv 2407.19512), Methods, eq. 4; Selvaraju et al., Grad-CAM, ICCV 2017, eq. 1-2.
[2] Draelos, Carin: Use HiResCAM instead of Grad-CAM (arXiv 2011.08891).
"""

from __future__ import annotations

import torch
from torch import Tensor

from koilo.config import nearest
from koilo.errors import ConfigError
from koilo.runtime import full_precision

CAMS = ("gradcam", "hirescam", "eq4")
_LEAST = 1e-12


def cell_maps(logits: Tensor, z: Tensor, mask: Tensor, classes: Tensor, kind: str) -> Tensor:
    """Raw activation of each cell for its slide's class; the graph of ``logits`` is kept.

    Args:
        logits: (B, C) of the slides, computed from ``z``.
        z: (B, N, D) cell features that the head read.
        mask: (B, N), True = real cell.
        classes: (B,) the class whose logit is explained, the slide's label in training.
        kind: ``gradcam``, ``hirescam`` or ``eq4``.

    Returns:
        (B, N) float32 without gradient, 0 where there is no cell.

    Raises:
        ConfigError: the kind is unknown.
    """
    if kind not in CAMS:
        raise ConfigError(f"There is no activation map {kind!r}. {nearest(kind, list(CAMS))}")
    with full_precision(z.device):  # a gradient asked for under autocast is computed in halves
        chosen = logits.float().gather(1, classes.unsqueeze(1)).sum()
        (gradient,) = torch.autograd.grad(chosen, z, retain_graph=True)  # (B, N, D)
        gradient, cells = gradient.float().detach(), z.float().detach()
        if kind == "eq4":
            raw = gradient.mean(2)  # (B, N)
        elif kind == "hirescam":
            raw = (gradient * cells).sum(2)
        else:
            real = mask.unsqueeze(2).to(gradient.dtype)  # (B, N, 1)
            weight = (gradient * real).sum(1) / real.sum(1).clamp_min(1)  # (B, D)
            raw = torch.einsum("bd,bnd->bn", weight, cells)
    return raw.masked_fill(~mask, 0.0)


def relative_maps(raw: Tensor) -> Tensor:
    """Each slide's map over its largest value, in [0, 1]; all 0 where nothing speaks for the class.

    The raw scale is about an attention weight over D, so that no fixed threshold would ever fire.
    """
    positive = raw.clamp_min(0)  # (B, N)
    largest = positive.amax(1, keepdim=True)
    return torch.where(largest > _LEAST, positive / largest.clamp_min(_LEAST), 0.0)
