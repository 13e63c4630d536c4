"""Descriptions of cells against the truth: thresholds, precision, recall and F1 of each text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating]
Truth = NDArray[np.bool_]

_STEPS = 200


@dataclass(frozen=True)
class TextScore:
    """How one text was called: ``n`` cells of which it is true; F1 is 0 where it is never right."""

    text: str
    precision: float
    recall: float
    f1: float
    n: int


def score_texts(called: Truth, said: Truth, texts: Sequence[str]) -> list[TextScore]:
    """Each text's figures over cells.

    Args:
        called: (N, T) bool.
        said: (N, T) bool, the truth.
        texts: T names.

    >>> both = np.array([[True, False], [False, True]])
    >>> [score.f1 for score in score_texts(both, both, ["a", "b"])]
    [1.0, 1.0]
    """
    rows = []
    for column, text in enumerate(texts):
        hit = int((called[:, column] & said[:, column]).sum())
        n_called, n_said = int(called[:, column].sum()), int(said[:, column].sum())
        rows.append(
            TextScore(
                text,
                hit / n_called if n_called else 0.0,
                hit / n_said if n_said else 0.0,
                2 * hit / (n_called + n_said) if n_called + n_said else 0.0,
                n_said,
            )
        )
    return rows


def text_macro_f1(called: Truth, said: Truth) -> float:
    """Mean F1 over the texts that are true of any cell; 0 without any.

    >>> text_macro_f1(np.array([[True, True]]), np.array([[True, False]]))
    1.0
    """
    scores = score_texts(called, said, [""] * said.shape[1])
    return float(np.mean([score.f1 for score in scores if score.n] or [0.0]))


def choose_one_threshold(scores: Scores, said: Truth) -> float:
    """One threshold for all texts (the paper's lambda): the best macro-F1 on these cells.

    Args:
        scores: (N, T), higher where the text fits better.
        said: (N, T) bool.
    """
    levels = np.quantile(scores, np.linspace(0, 1, _STEPS + 1)[1:-1])
    figures = [text_macro_f1(scores > level, said) for level in levels]
    return float(levels[int(np.argmax(figures))])


def choose_thresholds(scores: Scores, said: Truth) -> NDArray[np.float64]:
    """A threshold for each text (T,): the best F1 of that text on these cells.

    A text that is true of no cell here takes the highest score, so that it is never called.
    """
    chosen = []
    for column in range(said.shape[1]):
        own = scores[:, column : column + 1]
        truth = said[:, column : column + 1]
        one = choose_one_threshold(own, truth) if truth.any() else float(own.max())
        chosen.append(one)
    return np.array(chosen)
