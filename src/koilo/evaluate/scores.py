"""How good scores and labels are against the truth: AUC, specificity, F1, confusion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def auc(truth: ArrayLike, score: ArrayLike) -> float:
    """Area under the ROC curve, ties counted half; NaN where one class is absent.

    Args:
        truth: (N,) booleans, True = positive.
        score: (N,) numbers, higher = more positive.
    """
    from scipy.stats import rankdata

    positive = np.asarray(truth, dtype=bool)
    n_positive = int(positive.sum())
    n_negative = positive.size - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    ranks = rankdata(np.asarray(score, dtype=float))
    wins = ranks[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(wins / (n_positive * n_negative))


def sensitivity_specificity(
    truth: ArrayLike, score: ArrayLike, threshold: float
) -> tuple[float, float]:
    """Sensitivity and specificity where ``score >= threshold`` is called positive.

    Either is NaN where its class is absent.

    Raises:
        ValueError: a score is no number: it would count as called negative.
    """
    positive, scores = np.asarray(truth, dtype=bool), np.asarray(score, dtype=float)
    if np.isnan(scores).any():
        raise ValueError("a score is no number; leave slides without a result out")
    called = scores >= threshold
    return _share(called[positive]), _share(~called[~positive])


def roc_points(truth: ArrayLike, score: ArrayLike) -> tuple[Floats, Floats]:
    """The ROC curve: ``(false positive rate, true positive rate)``, (T,) each, from 0 to 1.

    One point a distinct score, highest first; NaN rates where a class is absent.
    """
    positive, scores = np.asarray(truth, dtype=bool), np.asarray(score, dtype=float)
    order = np.argsort(-scores, kind="stable")
    last_of_ties = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    hits, alarms = np.cumsum(positive[order]), np.cumsum(~positive[order])

    def rate(counts: NDArray[np.int64]) -> Floats:
        total = counts[-1] if counts.size and counts[-1] else np.nan
        return np.concatenate([[0.0], counts[last_of_ties] / total])

    return rate(alarms), rate(hits)


def confusion(
    truth: Sequence[str], called: Sequence[str], classes: Sequence[str]
) -> NDArray[np.int64]:
    """Counts (C, C): rows are the truth, columns what was called, in the order of ``classes``."""
    place = {name: index for index, name in enumerate(classes)}
    table = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for true, call in zip(truth, called, strict=True):
        table[place[true], place[call]] += 1
    return table


def f1_by_class(table: ArrayLike) -> Floats:
    """F1 of each class (C,) from a confusion table (C, C), which may hold weights.

    A class that is neither there nor called is NaN.
    """
    counts = np.asarray(table, dtype=float)
    hits = np.diag(counts)
    total = counts.sum(axis=0) + counts.sum(axis=1)
    return np.divide(2 * hits, total, out=np.full(hits.shape, np.nan), where=total > 0)


def macro_f1(table: ArrayLike) -> float:
    """Mean of the F1 of the classes that occur in a confusion table (C, C)."""
    return float(np.nanmean(f1_by_class(table)))


def reweighted(table: ArrayLike, class_counts: ArrayLike) -> Floats:
    """A confusion table whose rows are scaled to other class counts (C,); empty rows stay empty."""
    counts = np.asarray(table, dtype=float)
    rows = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, rows, out=np.zeros_like(counts), where=rows > 0)
    return share * np.asarray(class_counts, dtype=float)[:, None]


def _share(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if values.size else float("nan")
