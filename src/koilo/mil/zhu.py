"""Two-stage rival: gradient-boosted trees over counts of detected and classified cells [1].

[1] Zhu et al.: Hybrid AI-assistive diagnostic model permits rapid TBS classification of cervical
liquid-based thin-layer cell smears, Nature Communications 2021, 12:3541. A detector finds cells, a
classifier names them, boosted trees judge the slide by what was counted.
Departures: scikit-learn's histogram trees in place of XGBoost; the paper's list of counts is not
public, ours is `counts_of`; classes weigh the same in training, rare ones as much as NILM.

What is kept on disk is the table of counts, labels and the seed, not the trees: these are fitted
again in a second or less, and pickled ones could run foreign code and would tie a file to the
inner layout of one version of scikit-learn. The probabilities of the training slides are stored
with the table, and a refit that does not give them again is refused.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koilo.errors import BundleError, DependencyError, TrainingError
from koilo.files import write_bytes
from koilo.mil.scored import ScoredBag

LEVELS = (0.3, 0.5, 0.7, 0.9)
"""Probabilities and detector scores from which a cell is counted."""

SAME = 1e-6
"""How far a refit's probabilities may lie from those stored."""


class ZhuRival:
    """Counts of cells to probabilities of the slide's classes."""

    def __init__(self, n_classes: int) -> None:
        """``n_classes`` slide classes, NILM first."""
        self.n_classes = n_classes
        self._trees: Any = None

    def fit(self, bags: Sequence[ScoredBag], labels: Sequence[int], seed: int) -> None:
        """Fit the trees on the counts of slides with ``labels`` (S,).

        Raises:
            DependencyError: scikit-learn is not installed.
            TrainingError: all slides are of one class.
        """
        self._fit(counts_of(bags), np.asarray(labels, np.int64), seed)

    def predict(self, bags: Sequence[ScoredBag]) -> NDArray[np.float64]:
        """Probabilities (S, C); 0 for a class that no training slide had."""
        return self._predict(counts_of(bags))

    def write(self, path: Path) -> None:
        """Write what the trees were fitted on (``.npz``).

        Raises:
            OutputError: the disk is full or the folder cannot be written.
        """
        buffer = io.BytesIO()
        np.savez(
            buffer,
            counts=self._counts,
            labels=self._labels,
            seed=np.int64(self._seed),
            n_classes=np.int64(self.n_classes),
            probabilities=self._predict(self._counts),
        )
        write_bytes(path, buffer.getvalue())

    @classmethod
    def read(cls, path: Path) -> ZhuRival:
        """Fit again what `write` left.

        Raises:
            BundleError: the file is none, or the trees of this scikit-learn judge otherwise.
            DependencyError: scikit-learn is not installed.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                stored = arrays["probabilities"]
                rival = cls(int(arrays["n_classes"]))
                rival._fit(arrays["counts"], arrays["labels"], int(arrays["seed"]))
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise BundleError(
                f"{path} holds no counts to fit trees on ({error}). Allowed: a file that "
                "ZhuRival.write left. Check the path."
            ) from error
        if not np.allclose(rival._predict(rival._counts), stored, atol=SAME):
            raise BundleError(
                f"{path} was fitted with another version of scikit-learn, whose trees judge the "
                "same counts otherwise. Install that version, or fit the rival again."
            )
        return rival

    def _fit(self, counts: NDArray[np.float64], labels: NDArray[np.int64], seed: int) -> None:
        if len(set(labels.tolist())) < 2:
            raise TrainingError(
                f"The {len(labels)} training slides are all of one class. Trees need two at "
                "least. Check the labels and splits."
            )
        self._counts, self._labels, self._seed = counts, labels, seed
        self._trees = _classifier()(
            random_state=seed,
            class_weight="balanced",
            min_samples_leaf=max(2, min(20, len(labels) // 20)),
            early_stopping=False,
        ).fit(counts, labels)

    def _predict(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        p = np.zeros((len(counts), self.n_classes))
        p[:, self._trees.classes_] = self._trees.predict_proba(counts)
        return p


def counts_of(bags: Sequence[ScoredBag]) -> NDArray[np.float64]:
    """What the trees read of each bag, (S, F).

    Cells in all; cells whose detector score reaches each level; for each class cells whose
    probability reaches each level, the highest probability and the mean.
    """
    rows = []
    for bag in bags:
        levels = np.array(LEVELS, np.float32)
        detected = (bag.detector_scores[:, None] >= levels).sum(axis=0)  # (L,)
        called = (bag.probabilities[:, :, None] >= levels).sum(axis=0)  # (C, L)
        highest, mean = bag.probabilities.max(axis=0), bag.probabilities.mean(axis=0)  # (C,), (C,)
        rows.append(np.concatenate([[len(bag)], detected, called.ravel(), highest, mean]))
    return np.stack(rows).astype(np.float64)


def _classifier() -> Any:
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
    except ImportError as error:
        raise DependencyError(
            "Boosted trees need scikit-learn, which is not installed. It comes with the extra "
            "`train`. Run: pip install 'koilo[train]'"
        ) from error
    return HistGradientBoostingClassifier
