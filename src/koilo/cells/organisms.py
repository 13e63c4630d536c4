"""A second head on the cell classifier's features: which organisms a crop shows, if any.

Candida, Trichomonas, clue cells, herpes and Actinomyces are findings beside the Bethesda class, and
several may be in one crop: so each has an output of its own. The trunk stays as the classes made it
(UniCAS shares one for both tasks); a head that is added later changes no class.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


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
