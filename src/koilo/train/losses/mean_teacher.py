"""Mean-Teacher [1]: the student answers as the average of its past weights does.

Departures: the paper gives both networks equal noise, here the teacher sees the weak view and the
student the strong one, as everywhere in koilo, and answers in eval mode, BatchNorm by its
averages; the paper's consistency weight of 100 is a field.

[1] Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017 (arXiv 1703.01780).
"""

from __future__ import annotations

import math

from torch import Tensor


def consistency(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Mean squared difference of probabilities ``(B, C)``; no gradient to the teacher."""
    p, target = student_logits.softmax(1), teacher_logits.detach().softmax(1)
    return (p - target).square().mean()


def ramp_up(share: float, length: float) -> float:
    """Weight of the consistency at ``share`` of the run: exp(-5 (1 - x)^2), 1 from ``length`` on.

    >>> [round(ramp_up(share, 0.5), 3) for share in (0.0, 0.25, 0.5, 1.0)]
    [0.007, 0.287, 1.0, 1.0]
    """
    if share >= length:
        return 1.0
    return math.exp(-5.0 * (1.0 - share / length) ** 2)
