"""CReST and CReST+ [1]: self-training that takes in more pseudo-labels of the rarer classes.

After each generation the surest cells of every called class join the labelled ones: all of the
rarest class, few of the commonest. CReST+ also pulls the answers to weak views towards the class
shares of the labelled cells, flattened more with each generation (a temperature from 1 to
``t_min``). Paper: rates to the power of 1/3, ``t_min`` 0.5, 6 generations. Departures of the
recipe: labelled batches are drawn evenly over the classes in every row of koilo's tables, so that
the rates govern which cells are seen, not how often a class is; few generations, because all share
one run's steps.

[1] Wei et al., "CReST", CVPR 2021 (arXiv 2102.09559), section 3.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from koilo.train.processes import of_all


def sampling_rates(counts: NDArray[np.int64], power: float) -> NDArray[np.float64]:
    """Share of each class's pseudo-labels that is taken, ``(C,)``.

    With the classes ranked from common to rare, the l-th takes (N_(L+1-l) / N_1)^power: its mirror
    image's count against the commonest one's.

    >>> sampling_rates(np.array([1000, 10, 100]), 1.0).tolist()
    [0.01, 1.0, 0.1]
    """
    order = np.argsort(-counts, kind="stable")
    rates = np.empty(len(counts))
    rates[order] = (counts[order][::-1] / counts.max()) ** power
    return rates


def choose_pseudo_labels(
    p: NDArray[np.float32], rates: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The surest cells of each called class, by its rate (rounded to whole cells).

    Args:
        p: (U, C) probabilities of the unlabelled cells.
        rates: (C,) share of each class's calls that is taken.

    Returns:
        Places among the U cells, rising, and the class of each.
    """
    called, sure_of = p.argmax(1), p.max(1)
    chosen = []
    for name, rate in enumerate(rates):
        members = np.flatnonzero(called == name)
        surest = members[np.argsort(-sure_of[members], kind="stable")]
        chosen.append(surest[: round(rate * len(members))])
    places = np.sort(np.concatenate(chosen))
    return places, called[places]


def temperature(generation: int, generations: int, t_min: float) -> float:
    """Temperature of the class shares: 1 in the first generation (from 0), ``t_min`` in the last.

    >>> [temperature(g, 3, 0.5) for g in range(3)]
    [1.0, 0.75, 0.5]
    """
    done = generation / max(generations - 1, 1)
    return (1 - done) + done * t_min


class AlignedAnswers(nn.Module):
    """Distribution alignment: answers times target over what was answered of late, normalised.

    Args:
        shares: (C,) class shares of the labelled cells.
        temperature: power that they are raised to before they are normalised again.
        memory: batches whose mean answer is "of late" (ReMixMatch's 128).
    """

    def __init__(self, shares: Tensor, temperature: float, memory: int = 128) -> None:
        super().__init__()
        target = shares**temperature
        self.register_buffer("target", target / target.sum())
        self.register_buffer("recent", torch.zeros(memory, len(shares)))
        self.register_buffer("n_seen", torch.zeros((), dtype=torch.long))

    def forward(self, p: Tensor) -> Tensor:
        """Aligned probabilities ``(B, C)``; as they are before the first batch was noted."""
        n_seen = int(cast(Tensor, self.n_seen))
        if not n_seen:
            return p
        recent = cast(Tensor, self.recent)[:n_seen].mean(0)  # slicing beyond the end gives all
        aligned = p * cast(Tensor, self.target) / recent.clamp_min(1e-6)
        # All of an answer may lie on a class without labels: it stays 0, and so is never sure.
        return aligned / aligned.sum(1, keepdim=True).clamp_min(1e-12)

    def note(self, p: Tensor) -> None:
        """Take in a batch of every process, answers before alignment ``(B, C)``; the oldest go."""
        n_seen = cast(Tensor, self.n_seen)
        recent = cast(Tensor, self.recent)
        for mean in of_all(p.mean(0)):
            recent[int(n_seen) % len(recent)] = mean
            n_seen += 1
