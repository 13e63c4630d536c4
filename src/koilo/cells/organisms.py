"""A second head on the cell classifier's features: which organisms a crop shows, if any.

Candida, Trichomonas, clue cells, herpes and Actinomyces are findings beside the Bethesda class, and
several may be in one crop: so each has an output of its own. The trunk stays as the classes made it
(UniCAS shares one for both tasks); a head that is added later changes no class. In a bundle it is
the stage ``organisms``: names, a threshold each, and the head's sizes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from koilo.bundle import Bundle
from koilo.errors import BundleError

STAGE = "organisms"
"""The head's place in a bundle."""


class OrganismHead(nn.Module):
    """Features of cells to one logit an organism."""

    def __init__(
        self, d_in: int, n_organisms: int, hidden: int = 128, dropout: float = 0.2
    ) -> None:
        """``d_in`` features a cell; ``hidden`` is the width of the one layer between."""
        super().__init__()
        self.norm = nn.BatchNorm1d(d_in, affine=False)
        self.layers = nn.Sequential(
            nn.Linear(d_in, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, n_organisms)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map ``features`` (B, D) to logits (B, O)."""
        logits: Tensor = self.layers(self.norm(features))
        return logits


@torch.no_grad()
def predict_organisms(head: nn.Module, features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Probabilities (N, O) that a cell's crop shows each organism; sets eval mode."""
    head.eval()
    device = next(head.parameters()).device
    x = torch.from_numpy(np.ascontiguousarray(features, np.float32)).to(device)  # (N, D)
    p = torch.sigmoid(head(x)).cpu().numpy()
    return np.asarray(p, np.float32)


class OrganismReader:
    """A bundle's head for organisms with the thresholds locked for it.

    Args:
        head: the head.
        names: of its outputs.
        thresholds: probability at which each is said to be shown, 0 to 1.

    Raises:
        ValueError: there are more or fewer thresholds than names, or one is no probability.
    """

    def __init__(
        self, head: OrganismHead, names: Sequence[str], thresholds: Sequence[float]
    ) -> None:
        self._head, self.names = head, tuple(names)
        self.thresholds = tuple(float(value) for value in thresholds)
        if len(self.names) != len(self.thresholds):
            raise ValueError(f"{len(self.names)} organisms have {len(self.thresholds)} thresholds")
        if not all(0 <= value <= 1 for value in self.thresholds):
            raise ValueError(f"thresholds of organisms are {self.thresholds}, not all in 0 to 1")

    def predict(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Probabilities (N, O) of cells by their features (N, D)."""
        return predict_organisms(self._head, features)


def load_organisms(bundle: Bundle) -> OrganismReader:
    """The head for organisms of a bundle, on the CPU: it is one small layer.

    Raises:
        BundleError: the bundle has none, or names, thresholds and weights do not fit together.
    """
    stage = bundle.stage(STAGE)
    try:
        names = [str(name) for name in stage["names"]]
        head = OrganismHead(int(stage["d_in"]), len(names), hidden=int(stage["hidden"]))
        head.load_state_dict({k: torch.from_numpy(v) for k, v in bundle.tensors(STAGE).items()})
        return OrganismReader(head, names, stage["thresholds"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BundleError(
            f"The head for organisms of bundle {bundle.name} does not fit together "
            f"({' '.join(str(error).split())[:200]}). Names, thresholds and weights must be those "
            "of one training. Take the bundle again from where it came."
        ) from error
