"""Two-stage rival: a simple recurrent net over the features of the most suspicious cells [1].

[1] Cheng et al.: Robust whole slide image analysis for cervical cancer screening using deep
learning, Nature Communications 2021, 12:5639. Detected cells are scored anew at a finer pixel size;
the features of the best 10, 20 and 30 run through a recurrent layer of 512, two weights for each
length; six scores are joined by a rule: their mean, or, where they agree, their minimum below .15
and their maximum above.
Departures: cells in place of tiles, and no dropping of neighbours (a bag holds no places); features
are standardised; the rule's spread is the standard deviation (the published program computes it
with a minimum in place of the mean), and the limit under which scores agree, which the paper does
not state, is .05; a fixed number of steps with a falling rate in place of 300 epochs and a plateau;
a bag shorter than a list is read round and round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from koilo.errors import TrainingError
from koilo.mil.scored import ScoredBag


@dataclass(frozen=True)
class ChengSettings:
    """How the six networks are made and trained."""

    lengths: tuple[int, ...] = (10, 20, 30)
    """cells in a list, best first"""
    weights: int = 2
    """networks for each length"""
    width: int = 512
    """of the recurrent layer"""
    steps: int = 300
    """updates of each network"""
    batch: int = 32
    """slides a batch, half of them positive"""
    lr: float = 1e-3
    """Adam's rate, falling linearly"""
    agreement: float = 0.05
    """standard deviation of the six scores under which they agree"""
    low: float = 0.15
    """agreeing scores of a lower mean give their minimum, others their maximum"""


class ChengRival(nn.Module):
    """Six recurrent networks and the rule that joins them."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, d_in: int, settings: ChengSettings = ChengSettings()) -> None:
        """``d_in`` features a cell."""
        super().__init__()
        self.settings = settings
        n_networks = len(settings.lengths) * settings.weights
        self.recurrent = nn.ModuleList(
            nn.RNN(d_in, settings.width, batch_first=True) for _ in range(n_networks)
        )
        self.score = nn.ModuleList(nn.Linear(settings.width, 1) for _ in range(n_networks))
        self.register_buffer("mean", torch.zeros(d_in))
        self.register_buffer("deviation", torch.ones(d_in))

    def fit(self, bags: Sequence[ScoredBag], labels: Sequence[int], seed: int) -> None:
        """Train all networks on slides; label 0 is NILM, any other is positive.

        Raises:
            TrainingError: negatives or positives are missing.
        """
        positive = np.asarray(labels) > 0
        if positive.all() or not positive.any():
            raise TrainingError(
                f"{int(positive.sum())} of {len(positive)} training slides are positive. Both "
                "kinds are needed. Check the labels and splits."
            )
        lists = [_ranked(bag, max(self.settings.lengths)) for bag in bags]
        cells = torch.cat(lists)
        self.mean.copy_(cells.mean(dim=0))
        deviation = cells.std(dim=0)
        # What does not vary in training tells nothing, and divided it would drown all else.
        self.deviation.copy_(torch.where(deviation > 1e-6, deviation, torch.inf))
        for number in range(len(self.recurrent)):
            self._fit_one(number, lists, positive, seed)

    @torch.no_grad()
    def predict(self, bags: Sequence[ScoredBag]) -> NDArray[np.float64]:
        """Probabilities (S, 2) of NILM and of a lesion, by the rule over all networks."""
        rows = []
        for bag in bags:
            ranked = _ranked(bag, max(self.settings.lengths))
            scores = [
                float(torch.sigmoid(self._logits(number, self._list(number, ranked)[None]))[0])
                for number in range(len(self.recurrent))
            ]
            rows.append(join_scores(scores, self.settings.agreement, self.settings.low))
        p = np.array(rows)  # (S,)
        return np.stack([1 - p, p], axis=1)

    def _fit_one(
        self, number: int, lists: Sequence[Tensor], positive: NDArray[np.bool_], seed: int
    ) -> None:
        """Train one network from its own random weights."""
        settings, rng = self.settings, np.random.default_rng([seed, number])
        torch.manual_seed(int(rng.integers(2**31)))
        for part in (self.recurrent[number], self.score[number]):
            part.reset_parameters()  # type: ignore[operator]
        own = [*self.recurrent[number].parameters(), *self.score[number].parameters()]
        optimizer = torch.optim.Adam(own, lr=settings.lr)
        pools = [np.flatnonzero(positive), np.flatnonzero(~positive)]
        for step in range(settings.steps):
            optimizer.param_groups[0]["lr"] = settings.lr * (1 - step / settings.steps)
            chosen = np.concatenate(
                [rng.choice(pool, max(settings.batch // 2, 1)) for pool in pools]
            )
            varied = [shuffle_list(self._list(number, lists[i]), rng) for i in chosen]
            target = torch.from_numpy(positive[chosen]).float()
            logits = self._logits(number, torch.stack(varied))
            loss = functional.binary_cross_entropy_with_logits(logits, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def _list(self, number: int, ranked: Tensor) -> Tensor:
        """The list that a network reads (L, D), from cells in order of suspicion."""
        length = self.settings.lengths[number // self.settings.weights]
        return ranked[torch.arange(length) % len(ranked)]

    def _logits(self, number: int, lists: Tensor) -> Tensor:
        """Logits (B,) of lesion from lists (B, L, D)."""
        _, last = self.recurrent[number]((lists - self.mean) / self.deviation)  # (1, B, width)
        logits: Tensor = self.score[number](last[0])[:, 0]
        return logits


def shuffle_list(cells: Tensor, rng: np.random.Generator) -> Tensor:
    """A list (L, D) permuted, or drawn anew from its own cells, each half of the time."""
    n = len(cells)
    order = rng.permutation(n) if rng.random() < 0.5 else np.sort(rng.integers(n, size=n))
    return cells[torch.from_numpy(order)]


def join_scores(scores: Sequence[float], agreement: float, low: float) -> float:
    """One score of several: the mean, or the extreme on its own side where they agree.

    >>> join_scores([0.2, 0.8], agreement=0.05, low=0.15)
    0.5
    >>> join_scores([0.1, 0.12], agreement=0.05, low=0.15)
    0.1
    """
    values = np.asarray(scores, dtype=np.float64)
    mean = float(values.mean())
    if float(values.std()) >= agreement:
        return mean
    return float(values.min() if mean < low else values.max())


def _ranked(bag: ScoredBag, most: int) -> Tensor:
    """Features (n, D) of the cells that the classifier finds most suspicious, worst first."""
    order = np.argsort(-bag.p_lesion, kind="stable")[:most]
    return torch.from_numpy(np.ascontiguousarray(bag.features[order]))
