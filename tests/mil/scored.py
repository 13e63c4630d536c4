"""Scored bags made for tests: lesion cells stand out in one feature and in their probability."""

from __future__ import annotations

import numpy as np

from koilo.mil.scored import ScoredBag

D, C = 6, 3


def toy_bag(
    rng: np.random.Generator, label: int, n_cells: int = 40, n_lesions: int = 4
) -> ScoredBag:
    """A slide of class ``label``; lesion cells, where it has any, come first."""
    features = rng.normal(size=(n_cells, D)).astype(np.float32)
    odds = np.tile([8.0, 0.5, 0.5], (n_cells, 1))
    if label:
        features[:n_lesions, label] += 8
        odds[:n_lesions] = np.where(np.arange(C) == label, 6.0, 1.0)
    p = np.stack([rng.dirichlet(row) for row in odds]).astype(np.float32)
    return ScoredBag(features, p, rng.random(n_cells).astype(np.float32))


def toy_bags(n: int, seed: int = 0, **sizes: int) -> tuple[list[ScoredBag], list[int]]:
    """``n`` slides, a third of each class."""
    rng = np.random.default_rng(seed)
    labels = [i % C for i in range(n)]
    return [toy_bag(rng, label, **sizes) for label in labels], labels
