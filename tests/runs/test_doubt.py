"""Giving a bundle its doubt: bounds that move with the threshold, a folder written anew."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from koilo.bundle import load_bundle
from koilo.evaluate.conformal import DoubtBounds, possible_calls, read_bounds
from koilo.mil.likeness import crop_colours, fit_likeness, load_likeness
from tests.evaluate.results_folder import toy_bundle

RANDOM = np.random.default_rng(4)
TRUTH = np.tile([True, True, False], 40)
SCORE = np.clip(RANDOM.normal(np.where(TRUTH, 0.65, 0.4), 0.12), 0.01, 0.99)
BOUNDS = DoubtBounds(0.35, 0.6, 0.95, 0.9, 80, 40, "fields")


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "runs"))
    import doubt
    import doubt_bags
    import doubt_report

    return {m.__name__: sys.modules[m.__name__] for m in (doubt, doubt_bags, doubt_report)}


def log_odds(p: float) -> float:
    return float(np.log(p / (1 - p)))


def test_bounds_of_the_bundles_own_training_stay_as_they_are(
    scripts: dict[str, ModuleType],
) -> None:
    assert scripts["doubt"].moved_bounds(BOUNDS, 0.36, 0.36) == BOUNDS


def test_bounds_of_another_training_keep_their_distance_from_the_threshold_and_say_so(
    scripts: dict[str, ModuleType],
) -> None:
    moved = scripts["doubt"].moved_bounds(BOUNDS, 0.36, 0.5)
    for before, after in ((BOUNDS.low, moved.low), (BOUNDS.high, moved.high)):
        assert log_odds(after) - log_odds(0.5) == pytest.approx(log_odds(before) - log_odds(0.36))
    assert moved.low <= 0.5
    assert "second training" in moved.set


def test_the_bundle_is_written_anew_with_bounds_and_reference_and_the_same_weights(
    scripts: dict[str, ModuleType], tmp_path: Path
) -> None:
    doubt = scripts["doubt"]
    old = toy_bundle(tmp_path / "toy")
    weights = {part: old.tensors(part) for part in old.parts}
    fold, groups = np.arange(120) % 3, tuple(f"block {i % 5}" for i in range(120))
    scored = {part: doubt.Scored(TRUTH, SCORE, fold, groups) for part in ("fields", "composed")}
    own = {name: {"threshold": 0.4, "set": "made"} for name in doubt.POINTS}
    (tmp_path / "operating_points.json").write_text(json.dumps(own))
    features = [RANDOM.normal(size=(20, 6)) for _ in range(9)]
    colours = np.stack(
        [crop_colours(RANDOM.integers(60, 200, (20, 8, 8, 3), np.uint8)) for _ in range(9)]
    )
    likeness = fit_likeness(features, colours, [f"c{i % 3}" for i in range(9)], 2)
    for _ in range(2):  # twice: the second writes over the first
        made = doubt.lock(load_bundle(tmp_path / "toy"), scored, tmp_path, likeness)
    assert made.sha256 != old.sha256
    assert load_likeness(made) is not None
    for name in doubt.POINTS:
        bounds = read_bounds(made.operating_point(name))
        assert bounds is not None
        assert (bounds.n_positive, bounds.n_negative) == (80, 40)
    assert made.operating_point("sens95")["threshold"] == 0.4
    for part, tensors in weights.items():
        for name, value in tensors.items():
            np.testing.assert_array_equal(made.tensors(part)[name], value)
    assert made.card.count(doubt.TITLE) == 1
    assert made.card.startswith("# Card")


def test_each_fold_is_judged_by_bounds_of_the_two_others(scripts: dict[str, ModuleType]) -> None:
    report = scripts["doubt_report"]
    fold = np.random.default_rng(1).permutation(120) % 3
    scored = scripts["doubt"].Scored(TRUTH, SCORE, fold, ("block",) * 120)
    seen: list[int] = []

    def lock(truth: np.ndarray, score: np.ndarray) -> DoubtBounds:
        seen.append(len(truth))
        assert set(score) <= set(SCORE)
        return DoubtBounds(float(score.min()), float(score.max()), 0.95, 0.9, 1, 1, "")

    sets = report.crossed_sets(scored, lock)
    assert seen == [80, 80, 80]
    for row, calls in enumerate(sets):
        others = SCORE[fold != fold[row]]
        ends = DoubtBounds(float(others.min()), float(others.max()), 0.95, 0.9, 1, 1, "")
        assert calls == possible_calls(float(SCORE[row]), ends)


@pytest.mark.parametrize("coverage", [0.9, 0.95])
def test_one_bound_for_both_classes_covers_that_share_of_its_own_set(
    scripts: dict[str, ModuleType], coverage: float
) -> None:
    report = scripts["doubt_report"]
    bounds = report.whole(coverage)(TRUTH, SCORE)
    sets = [possible_calls(float(p), bounds) for p in SCORE]
    held = [("positive" if t else "negative") in own for t, own in zip(TRUTH, sets, strict=True)]
    assert np.mean(held) == pytest.approx(coverage, abs=0.02)


def test_shifted_crops_keep_their_shape_and_look_otherwise(
    scripts: dict[str, ModuleType],
) -> None:
    bags = scripts["doubt_bags"]
    crops = RANDOM.integers(40, 240, (5, 24, 24, 3), np.uint8)
    plain = crop_colours(crops)
    stained, blurred = bags.shift_stain(crops), bags.shift_focus(crops)
    assert stained.shape == blurred.shape == crops.shape
    assert stained.dtype == blurred.dtype == np.uint8
    assert crop_colours(stained)[0] < plain[0]
    assert crop_colours(blurred)[6] < plain[6] - 0.3
