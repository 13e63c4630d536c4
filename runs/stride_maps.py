"""Features in the plane by t-SNE, and how often a point's neighbours are of its class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import TSNE

NEIGHBOURS = 10


def spread_points(x: NDArray[np.floating], seed: int) -> NDArray[np.float64]:
    """Points (N, 2) of features (N, D), each feature brought to a deviation of 1.

    t-SNE keeps neighbours together; distances between groups and their sizes mean nothing.
    """
    perplexity = min(30.0, (len(x) - 1) / 3)
    made = TSNE(init="pca", perplexity=perplexity, random_state=seed, n_jobs=1)
    return np.asarray(made.fit_transform(standardised(x)), np.float64)


def standardised(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """Features (N, D) less their mean, over their deviation; what never varies becomes 0."""
    values = np.asarray(x, np.float64)
    deviation = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1)


def neighbour_agreement(x: NDArray[np.floating], labels: Sequence[str]) -> float:
    """Share of a point's ten nearest in features (N, D) that have its class, mean over classes."""
    values, names = standardised(x), np.asarray(labels)
    squares = np.square(values).sum(axis=1)
    distance = squares[:, None] + squares[None] - 2 * values @ values.T
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1)[:, : min(NEIGHBOURS, len(values) - 1)]
    share = (names[nearest] == names[:, None]).mean(axis=1)
    return float(np.mean([share[names == name].mean() for name in np.unique(names)]))


def chance_agreement(labels: Sequence[str]) -> float:
    """What `neighbour_agreement` is among points that know nothing of their class."""
    counts = np.array(list(Counter(labels).values()))
    return float(np.mean((counts - 1) / (counts.sum() - 1)))


def draw_evenly(labels: Sequence[str], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """At most ``n`` rows, equally many of each class as far as there are."""
    names = np.asarray(labels)
    kinds = np.unique(names)
    rows = [rng.permutation(np.flatnonzero(names == kind))[: n // len(kinds)] for kind in kinds]
    return np.sort(np.concatenate(rows))
