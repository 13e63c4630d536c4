"""The collapse alarm: how many directions embeddings use, and how far apart they lie.

Self-supervised training that has collapsed has a fine loss and useless features. Rank is the
exponential of the entropy of the singular values of the embeddings about their mean [1, 2]: 1
where they differ along one line only. Spread is the mean deviation of a dimension over unit
embeddings, times sqrt(D) [3]: 1 where they lie evenly on the sphere, 0 where they are one point.
One without the other misses a collapse: a point with some noise has rank, a line has spread.
Departure: RankMe does not take the mean off, and then a common offset hides all else.

[1] Roy and Vetterli, "The effective rank", EUSIPCO 2007. [2] Garrido et al., "RankMe", ICML 2023.
[3] Chen and He, "Exploring simple Siamese representation learning", CVPR 2021, section 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from koilo.errors import TrainingError


@dataclass(frozen=True)
class CollapseAlarm:
    """Bounds below which training stops; 0 switches one off."""

    least_rank: float = 2.0
    """smallest effective rank; 1 is one line"""
    least_spread: float = 0.02
    """smallest spread; 0 is one point, 1 evenly on the sphere"""

    def check(self, embeddings: Tensor) -> dict[str, float]:
        """Rank and spread of embeddings ``(N, D)``.

        Raises:
            TrainingError: one of them is below its bound.
        """
        values = {"rank": effective_rank(embeddings), "spread": spread(embeddings)}
        bounds = {"rank": self.least_rank, "spread": self.least_spread}
        low = [
            f"{name} {values[name]:.3f} (allowed: {bound:g} or more)"
            for name, bound in bounds.items()
            if not values[name] >= bound
        ]
        if low:
            raise TrainingError(
                f"The embeddings have collapsed: {', '.join(low)}. Features of a collapsed "
                "encoder are useless. In a new --out, lower the learning rate, raise the batch, or "
                "(DINO) lower the teacher's temperature."
            )
        return values


def effective_rank(embeddings: Tensor) -> float:
    """Exponential of the entropy of the singular values of ``(N, D)`` about its mean.

    Equal embeddings have rank 1, one that is not finite makes it NaN.
    """
    if not torch.isfinite(embeddings).all():
        return float("nan")
    centred = embeddings.double() - embeddings.double().mean(0)
    values = torch.linalg.svdvals(centred)
    p = values / values.sum().clamp_min(1e-300)
    return float(torch.special.entr(p).sum().exp())


def spread(embeddings: Tensor) -> float:
    """Mean standard deviation of a dimension over unit embeddings ``(N, D)``, times sqrt(D)."""
    unit = functional.normalize(embeddings.double(), dim=1)
    return float(unit.std(0, correction=0).mean() * embeddings.shape[1] ** 0.5)
