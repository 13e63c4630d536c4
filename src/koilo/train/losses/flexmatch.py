"""FlexMatch [1]: FixMatch whose threshold is lower for classes that are learnt slower.

A class's status is how many unlabelled cells were last surely called so, by the fixed threshold.
It is divided by the largest status, or by the number of cells never sure where that is larger
(the paper's warm-up), and mapped by x / (2 - x). Departures: as in the authors' code, a cell keeps
its last sure call when it becomes unsure again, where the paper's eq. 5 counts it out. Until a
first cell is sure by the fixed threshold all thresholds are 0 and every answer is a label, as in
the paper: a run too short to become sure learns its own mistakes.

[1] Zhang et al., "FlexMatch", NeurIPS 2021 (arXiv 2110.08263), eq. 5, 6, 7, 11.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from koilo.train.processes import of_all

_NEVER_SURE = -1


class FlexThresholds(nn.Module):
    """Thresholds by class, out of the last sure call of every unlabelled cell."""

    def __init__(self, n_cells: int, n_classes: int, threshold: float) -> None:
        super().__init__()
        self.n_classes, self.threshold = n_classes, threshold
        self.register_buffer("last_call", torch.full((n_cells,), _NEVER_SURE))

    def forward(self) -> Tensor:
        """The thresholds, ``(C,)``."""
        calls = cast(Tensor, self.last_call)
        counts = torch.bincount(calls + 1, minlength=self.n_classes + 1)  # never sure comes first
        status = counts[1:].float() / counts.max().clamp_min(1)  # (C,)
        return self.threshold * status / (2 - status)

    def note(self, cells: Tensor, p_weak: Tensor) -> None:
        """Take in every process's answers ``(B, C)`` to weak views of cells ``(B,)`` from 0 on.

        A cell that several processes have seen keeps the last one's sure call.
        """
        sure_of, call = p_weak.max(1)
        call = torch.where(sure_of >= self.threshold, call, _NEVER_SURE)
        for numbers, calls in zip(of_all(cells), of_all(call), strict=True):
            sure = calls != _NEVER_SURE
            cast(Tensor, self.last_call)[numbers[sure]] = calls[sure]
