"""DINO [1]: the student's answers to all views agree with the teacher's to the large ones.

Centring keeps one output from winning, sharpening (a low teacher temperature) keeps all from being
equal; either alone collapses. Departures of the recipe: small views are cut, not resized (a
nucleus's size is diagnostic); colour as in `koilo.train.losses.simclr`; weight decay is constant;
patch tokens are averaged where the paper takes the class token; prototypes have unit norm, as in
the authors' code, and are held for the first steps of the run rather than for its first epoch.

[1] Caron et al., "Emerging properties in self-supervised vision transformers", ICCV 2021
    (arXiv 2104.14294).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from koilo.train.processes import joint_mean


class DinoLoss(nn.Module):
    """Cross-entropy between views, with the centre of the teacher's answers as a buffer.

    Args:
        n_outputs: outputs of the head.
        student_temperature: divides the student's outputs.
        centre_keep: share of the centre kept at each update.
    """

    def __init__(
        self, n_outputs: int, student_temperature: float = 0.1, centre_keep: float = 0.9
    ) -> None:
        super().__init__()
        self.student_temperature, self.centre_keep = student_temperature, centre_keep
        self.register_buffer("centre", torch.zeros(n_outputs))

    def forward(
        self, student: Sequence[Tensor], teacher: Sequence[Tensor], teacher_temperature: float
    ) -> Tensor:
        """Mean over all pairs of a teacher's view and another view of the student.

        Args:
            student: outputs (B, O) of each view, the large ones first, as the teacher saw them.
            teacher: outputs (B, O) of the large views; no gradient flows there.
            teacher_temperature: divides the teacher's centred outputs.
        """
        centre = cast(Tensor, self.centre)
        targets = [
            ((view.detach().float() - centre) / teacher_temperature).softmax(1) for view in teacher
        ]
        answers = [(view.float() / self.student_temperature).log_softmax(1) for view in student]
        pairs = [
            -(target * answer).sum(1).mean()
            for i, target in enumerate(targets)
            for j, answer in enumerate(answers)
            if i != j
        ]
        return torch.stack(pairs).mean()

    def move_centre(self, teacher: Sequence[Tensor]) -> None:
        """Move the centre towards the mean of all processes' outputs, ``(B, O)`` a view."""
        mean = joint_mean(torch.cat(list(teacher)).float().mean(0))
        cast(Tensor, self.centre).lerp_(mean, 1 - self.centre_keep)


def teacher_temperature(share: float, first: float, last: float, warm: float) -> float:
    """Rises evenly from ``first`` to ``last`` over the first ``warm`` share of the run.

    >>> [round(teacher_temperature(share, 0.04, 0.07, 0.3), 3) for share in (0.0, 0.15, 0.9)]
    [0.04, 0.055, 0.07]
    """
    return last if share >= warm else first + (last - first) * share / warm
