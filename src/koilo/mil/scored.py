"""Scored bags: all that detector and cell classifier say of a slide's cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from koilo.datasets.crop_store import CropStore
from koilo.errors import ManifestError
from koilo.mil.bags import BagSet


@dataclass(frozen=True)
class ScoredBag:
    """The cells of one slide, best detection first; class 0 is NILM."""

    features: NDArray[np.float32]
    """(N, D), of the cell trunk"""
    probabilities: NDArray[np.float32]
    """(N, C), of the cell classes"""
    detector_scores: NDArray[np.float32]
    """(N,)"""

    def __post_init__(self) -> None:
        """Refuse an empty bag and arrays of different length.

        Raises:
            ValueError: saying which.
        """
        lengths = len(self.features), len(self.probabilities), len(self.detector_scores)
        if len(set(lengths)) > 1 or not lengths[0]:
            raise ValueError(
                f"a bag of {lengths[0]} features, {lengths[1]} probabilities and {lengths[2]} "
                "detector scores; all three must be as many, one at least"
            )

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.features)

    @property
    def p_lesion(self) -> NDArray[np.float32]:
        """(N,) probability of any class but NILM.

        Raises:
            ManifestError: no cell classifier was asked, as in the bags of `koilo features`.
        """
        if not self.probabilities.shape[1]:
            raise ManifestError(
                "The bag holds no probabilities of cell classes. Ranking cells by suspicion needs "
                "them. Take bags that a cell classifier read, or another selector."
            )
        return 1 - self.probabilities[:, 0]

    def at(self, rows: NDArray[np.int64]) -> ScoredBag:
        """The bag of these cells alone, in this order."""
        return ScoredBag(self.features[rows], self.probabilities[rows], self.detector_scores[rows])


def with_detector_scores(bags: BagSet, store: CropStore) -> list[ScoredBag]:
    """The bags of a bag file that was made from a store, with the store's detector scores.

    Raises:
        ManifestError: a bag is empty or larger than its slide's in the store.
    """
    found = []
    for bag_id, rows in zip(bags.bag_ids, bags.rows, strict=True):
        stored = store.bag(bag_id, len(rows))
        if len(stored) != len(rows) or not len(rows):
            raise ManifestError(
                f"Bag {bag_id} has {len(rows)} cells, its slide in {store.folder} {len(stored)}. "
                "A bag holds the best cells of its slide, one at least. Make the bags from this "
                "store."
            )
        features, p = bags.features[rows], bags.probabilities[rows]
        found.append(
            ScoredBag(
                np.asarray(features, np.float32),
                np.asarray(p, np.float32),
                store.cells.detector_score[stored],
            )
        )
    return found
