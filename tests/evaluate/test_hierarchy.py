"""Measures on a tree: each level called by its own sums, distances of mistakes."""

from __future__ import annotations

import numpy as np
import pytest

from koilo.evaluate.hierarchy import level_probabilities, score_hierarchy
from koilo.taxonomy.hierarchy import Hierarchy, load_hierarchy

TREE = Hierarchy("toy", (("a",), ("b", "c"), ("b", "d")), ("NILM", "LSIL", "HSIL"))


def test_a_levels_probabilities_are_sums_of_its_leaves() -> None:
    p = level_probabilities([[0.4, 0.35, 0.25]], TREE, 1)
    np.testing.assert_allclose(p, [[0.4, 0.6]])
    tree = load_hierarchy()
    leaves = np.random.default_rng(0).dirichlet(np.ones(23), 5)
    for level in (1, 2, 3):
        np.testing.assert_allclose(level_probabilities(leaves, tree, level).sum(axis=1), 1)


def test_a_level_may_be_right_where_the_leaf_is_wrong() -> None:
    scores = score_hierarchy([1, 0], [[0.4, 0.35, 0.25], [0.9, 0.05, 0.05]], TREE)
    assert scores.level_accuracy == (1.0, 0.5)
    assert scores.mean_accuracy == 0.75
    assert scores.mean_distance == pytest.approx((2 + 0) / 2)
    assert scores.mistake_distance == 2


def test_all_right_has_no_distance() -> None:
    scores = score_hierarchy(np.arange(23), np.eye(23), load_hierarchy())
    assert (scores.mean_accuracy, scores.mean_distance) == (1.0, 0.0)
    assert np.isnan(scores.mistake_distance)
    with pytest.raises(ValueError, match="at least one"):
        score_hierarchy([], np.zeros((0, 23)), load_hierarchy())
