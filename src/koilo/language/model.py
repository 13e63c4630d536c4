"""Texts in the space of cell features: the aligned text encoder, and the plain head beside it.

[1] STRIDE (arXiv 2407.19512), Algorithm 2 and eq. 5-6: the image encoder is frozen, the text
encoder learns, and a text holds for a cell where the cosine of both exceeds a threshold. Two
departures: the text's vector is projected to the width of the cell features, whose training mean is
taken off first (what all cells share would fill the cosine). [1] encodes texts "in inference mode";
nothing would be learnt so, and gradients do flow.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from koilo.language.encoders import TextEncoder


class AlignedTexts(nn.Module):
    """A text encoder whose vectors lie among the features of a frozen cell model.

    Args:
        encoder: texts to vectors of ``encoder.width``.
        feature_mean: (D,) mean of the training cells' features.
        temperature: learn a scale and an offset of the cosines; off in [1].
    """

    feature_mean: Tensor

    def __init__(
        self, encoder: TextEncoder, feature_mean: Tensor, *, temperature: bool = False
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.project = nn.Linear(encoder.width, len(feature_mean))
        self.register_buffer("feature_mean", feature_mean.float().clone())
        self.sharpness = nn.Parameter(torch.tensor([2.0, 0.0])) if temperature else None

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Texts as (N, D) of length 1, where cells lie."""
        return functional.normalize(self.project(self.encoder(texts)), dim=1)

    def cosines(self, features: Tensor, texts: Tensor) -> Tensor:
        """Cosines (B, N) of cell features (B, D) with embedded texts (N, D)."""
        return functional.normalize(features - self.feature_mean, dim=1) @ texts.T

    def logits(self, cosines: Tensor) -> Tensor:
        """What the loss takes the sigmoid of: the cosines, or scaled and moved where learnt."""
        if self.sharpness is None:
            return cosines
        return cosines * self.sharpness[0].exp() + self.sharpness[1]

    def text_space(self, features: Tensor) -> Tensor:
        """Cells (B, D) as (B, width + 1): all that a cosine with any text depends on, and no more.

        The cosine with text t is this times (encoder(t), 1), over the length of t's projection.
        """
        cells = functional.normalize(features - self.feature_mean, dim=1)
        return torch.cat([cells @ self.project.weight, cells @ self.project.bias[:, None]], dim=1)

    def text_direction(self, texts: Sequence[str]) -> Tensor:
        """Texts as (N, width + 1), whose product with `text_space` is the cosine."""
        vectors = self.encoder(texts)
        length = self.project(vectors).norm(dim=1, keepdim=True)
        return torch.cat([vectors, torch.ones_like(length)], dim=1) / length


class DescriptionHead(nn.Module):
    """The paper's other variant: one linear layer from cell features to a logit a description."""

    feature_mean: Tensor

    def __init__(self, feature_mean: Tensor, n_texts: int) -> None:
        """``feature_mean`` (D,) of the training cells; ``n_texts`` options."""
        super().__init__()
        self.register_buffer("feature_mean", feature_mean.float().clone())
        self.layer = nn.Linear(len(feature_mean), n_texts)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, D) to logits (B, N)."""
        logits: Tensor = self.layer(features - self.feature_mean)
        return logits
