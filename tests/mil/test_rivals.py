"""The two-stage rivals: what they read, that they learn, and what they refuse."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from koilo.errors import BundleError, DependencyError, TrainingError
from koilo.mil.cheng import ChengRival, ChengSettings, join_scores, shuffle_list
from koilo.mil.scored import ScoredBag
from koilo.mil.zhu import LEVELS, ZhuRival, counts_of
from tests.mil.scored import C, D, toy_bags

SMALL = ChengSettings(lengths=(3, 6), width=16, steps=20, batch=16, lr=1e-2)


def test_the_rule_is_the_mean_and_an_extreme_where_scores_agree() -> None:
    apart, low, high = [0.1, 0.2, 0.9], [0.10, 0.11, 0.13], [0.8, 0.82, 0.85]
    assert join_scores(apart, 0.05, 0.15) == pytest.approx(0.4)
    assert join_scores(low, 0.05, 0.15) == 0.10
    assert join_scores(high, 0.05, 0.15) == 0.85


def test_the_spread_is_the_standard_deviation_around_the_mean() -> None:
    """Around the minimum, as the published program has it, these six would count as apart."""
    scores = [0.80, 0.88, 0.88, 0.88, 0.88, 0.88]
    around_minimum = np.sqrt(np.mean((np.array(scores) - min(scores)) ** 2))
    assert around_minimum > 0.05 > np.std(scores)
    assert join_scores(scores, 0.05, 0.15) == 0.88


def test_a_list_is_permuted_or_drawn_anew_from_its_own_cells() -> None:
    cells, rng = torch.arange(8.0)[:, None], np.random.default_rng(0)
    drawn = [shuffle_list(cells, rng)[:, 0].tolist() for _ in range(60)]
    permuted = [row for row in drawn if sorted(row) == cells[:, 0].tolist()]
    assert 15 < len(permuted) < 45
    assert all(set(row) <= set(range(8)) and len(row) == 8 for row in drawn)


def test_cheng_learns_from_the_most_suspicious_cells_and_gives_the_same_again() -> None:
    bags, labels = toy_bags(45)
    rival = ChengRival(D, SMALL)
    rival.fit(bags, labels, seed=1)
    unseen, truth = toy_bags(30, seed=9)
    p = rival.predict(unseen)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    positive = np.array(truth) > 0
    assert p[positive, 1].mean() > p[~positive, 1].mean() + 0.2
    twin = ChengRival(D, SMALL)
    twin.load_state_dict(rival.state_dict())
    np.testing.assert_allclose(twin.predict(unseen), p)
    again = ChengRival(D, SMALL)
    again.fit(bags, labels, seed=1)
    np.testing.assert_allclose(again.predict(unseen), p)


def test_cheng_reads_no_cell_beyond_its_longest_list_and_a_short_bag_round() -> None:
    rival = ChengRival(D, SMALL)
    [bag], _ = toy_bags(1)
    worst = np.argsort(-bag.p_lesion)[:6]
    np.testing.assert_allclose(rival.predict([bag]), rival.predict([bag.at(worst)]), rtol=1e-5)
    one = bag.at(worst[:1])
    six = bag.at(np.repeat(worst[:1], 6))
    np.testing.assert_allclose(rival.predict([one]), rival.predict([six]), rtol=1e-5)


def test_counts_are_those_counted_by_hand() -> None:
    p = np.array([[0.95, 0.05], [0.4, 0.6], [0.1, 0.9]], np.float32)
    bag = ScoredBag(np.zeros((3, 1), np.float32), p, np.array([0.95, 0.6, 0.1], np.float32))
    [row] = counts_of([bag])
    assert LEVELS == (0.3, 0.5, 0.7, 0.9)
    assert row[:5].tolist() == [3, 2, 2, 1, 1]
    assert row[5:13].tolist() == [2, 1, 1, 1, 2, 2, 1, 1]
    np.testing.assert_allclose(row[13:], [0.95, 0.9, p[:, 0].mean(), p[:, 1].mean()], rtol=1e-6)


def test_zhu_learns_from_counts_and_is_fitted_again_from_its_file(tmp_path: Path) -> None:
    bags, labels = toy_bags(90)
    rival = ZhuRival(4)
    rival.fit(bags, labels, seed=3)
    unseen, truth = toy_bags(60, seed=9)
    p = rival.predict(unseen)
    assert p.shape == (60, 4)
    assert (p[:, 3] == 0).all()  # no training slide had this class
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert (p.argmax(axis=1) == truth).mean() > 0.8
    rival.write(tmp_path / "trees.npz")
    np.testing.assert_array_equal(ZhuRival.read(tmp_path / "trees.npz").predict(unseen), p)


def test_trees_that_judge_otherwise_than_stored_are_refused(tmp_path: Path) -> None:
    bags, labels = toy_bags(30)
    rival = ZhuRival(C)
    rival.fit(bags, labels, seed=3)
    rival.write(tmp_path / "trees.npz")
    with np.load(tmp_path / "trees.npz") as arrays:
        changed = {**arrays, "probabilities": arrays["probabilities"][:, ::-1]}
    np.savez(tmp_path / "trees.npz", **changed)
    with pytest.raises(BundleError, match="another version"):
        ZhuRival.read(tmp_path / "trees.npz")
    (tmp_path / "none.npz").write_bytes(b"text")
    with pytest.raises(BundleError, match="no counts"):
        ZhuRival.read(tmp_path / "none.npz")


def test_without_scikit_learn_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    bags, labels = toy_bags(6)
    with pytest.raises(DependencyError, match=r"pip install 'koilo\[train\]'"):
        ZhuRival(C).fit(bags, labels, seed=0)


@pytest.mark.parametrize("rival", [ZhuRival(C), ChengRival(D, SMALL)])
def test_slides_of_one_class_are_refused(rival: ZhuRival | ChengRival) -> None:
    bags, _ = toy_bags(4)
    with pytest.raises(TrainingError, match=r"one class|Both kinds"):
        rival.fit(bags, [1, 1, 1, 1], seed=0)


def test_a_feature_that_is_dead_in_training_moves_no_score_where_it_wakes() -> None:
    def with_last(bag: ScoredBag, value: float) -> ScoredBag:
        last = np.full((len(bag), 1), value, np.float32)
        features = np.concatenate([bag.features[:, :-1], last], axis=1)
        return ScoredBag(features, bag.probabilities, bag.detector_scores)

    bags, labels = toy_bags(12)
    rival = ChengRival(D, ChengSettings(lengths=(3,), width=8, steps=2))
    rival.fit([with_last(bag, 0.0) for bag in bags], labels, seed=1)
    dead, awake = (rival.predict([with_last(bag, v) for bag in bags]) for v in (0.0, 0.01))
    np.testing.assert_allclose(awake, dead)
