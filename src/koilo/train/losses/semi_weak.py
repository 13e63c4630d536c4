"""SWIFT's semi-weak loss: cells of a bag learn from what their slide's label and a teacher say [1].

A cell that carries the slide's logit takes the slide's class (rule one, CAM); else one of which the
teacher is sure takes the teacher's class (rule two); any other is masked. The loss divides by all
real cells, as FixMatch does, so that it stays small while few are labelled (spec swift.md, 7-8).

[1] STRIDE (arXiv 2407.19512), Algorithm 1.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class PseudoLabels(NamedTuple):
    """Labels (B, K) and which rule gave each: masks (B, K), never both, never on padding."""

    labels: Tensor
    by_cam: Tensor
    by_teacher: Tensor

    @property
    def mask(self) -> Tensor:
        """(B, K), True where a rule gave a label."""
        return self.by_cam | self.by_teacher


def pseudo_labels(
    maps: Tensor,
    p_teacher: Tensor,
    cell_class: Tensor,
    valid: Tensor,
    *,
    tau_cam: float,
    tau_teacher: float,
) -> PseudoLabels:
    """Label the cells of each bag by Algorithm 1's rules, in its order.

    Args:
        maps: (B, K) relative activation of each cell for its slide's class, in [0, 1].
        p_teacher: (B, K, C) the teacher's probabilities.
        cell_class: (B,) the cell class of each slide's label.
        valid: (B, K), True = real cell.
        tau_cam: a cell above it takes the slide's class.
        tau_teacher: a cell whose highest probability is above it takes that class.
    """
    surest, best = p_teacher.max(2)  # (B, K)
    by_cam = (maps > tau_cam) & valid
    by_teacher = (surest > tau_teacher) & valid & ~by_cam
    labels = torch.where(by_cam, cell_class.unsqueeze(1), best)
    return PseudoLabels(labels, by_cam, by_teacher)


def masked_cross_entropy(logits: Tensor, labels: Tensor, mask: Tensor, count: Tensor) -> Tensor:
    """Cross-entropy summed over the cells in ``mask`` and divided by ``count``.

    Args:
        logits: (N, C).
        labels: (N,).
        mask: (N,) bool.
        count: all real cells, labelled or not; averaged over processes where there are several.
    """
    each = functional.cross_entropy(logits.float(), labels, reduction="none")  # (N,)
    return (each * mask).sum() / count.clamp_min(1)
