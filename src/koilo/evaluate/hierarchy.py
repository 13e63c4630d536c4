"""How well classes of a tree are called: accuracy a level, and how far off mistakes lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koilo.taxonomy.hierarchy import Hierarchy


@dataclass(frozen=True)
class HierarchyScores:
    """Measures of leaves called by their probabilities."""

    level_accuracy: tuple[float, ...]
    """share of samples whose class of level 1, 2 … is right, each level called by its own sums"""
    mean_accuracy: float
    """mean over levels"""
    mean_distance: float
    """mean height of the lowest class that the leaf called and the true one share; 0 = all right"""
    mistake_distance: float
    """the same over mistakes alone; NaN where there is none"""


def level_probabilities(
    probabilities: ArrayLike, hierarchy: Hierarchy, level: int
) -> NDArray[np.float64]:
    """Probabilities (S, K) of a level's classes: sums over the leaves (S, L) below each."""
    p = np.asarray(probabilities, np.float64)
    sums = np.zeros((len(p), len(hierarchy.level(level))))
    np.add.at(sums.T, hierarchy.fold(level), p.T)
    return sums


def score_hierarchy(
    truth: ArrayLike, probabilities: ArrayLike, hierarchy: Hierarchy
) -> HierarchyScores:
    """Measures of leaf ``probabilities`` (S, L) against true leaves (S,) by index.

    Raises:
        ValueError: there is no sample.
    """
    true, p = np.asarray(truth, np.int64), np.asarray(probabilities, np.float64)
    if not len(true):
        raise ValueError("no sample to score; at least one is needed")
    accuracy = []
    for level in range(1, hierarchy.depth + 1):
        called = level_probabilities(p, hierarchy, level).argmax(axis=1)
        accuracy.append(float((called == hierarchy.fold(level)[true]).mean()))
    apart = hierarchy.distances()[true, p.argmax(axis=1)].astype(np.float64)  # (S,)
    wrong = apart[apart > 0]
    return HierarchyScores(
        tuple(accuracy),
        float(np.mean(accuracy)),
        float(apart.mean()),
        float(wrong.mean()) if len(wrong) else float("nan"),
    )
