"""What is like the training data, and what is not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from koilo.bundle import Bundle, load_bundle, write_bundle
from koilo.errors import BundleError
from koilo.mil.likeness import (
    BEST,
    PART,
    Likeness,
    crop_colours,
    fit_likeness,
    load_likeness,
)

D = 8


def crops(n: int, seed: int, tint: tuple[float, float, float] = (1, 1, 1)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    grey = rng.uniform(90, 200, (n, 12, 12, 1)) + rng.uniform(-8, 8)
    return np.uint8(np.clip(grey * np.array(tint), 0, 255))


def features(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed + 1000)
    return (rng.normal(size=(n, D)) + 0.2 * rng.normal(size=D) + shift).astype(np.float32)


def reference(n: int = 60) -> Likeness:
    colours = np.stack([crop_colours(crops(40, seed)) for seed in range(n)])
    groups = [f"block {seed % 6}" for seed in range(n)]
    return fit_likeness([features(40, seed) for seed in range(n)], colours, groups)


@pytest.fixture(scope="module")
def known() -> Likeness:
    return reference()


def test_pictures_drawn_as_the_reference_have_scores_spread_evenly(known: Likeness) -> None:
    scores = [known.ood_score(features(40, s), crops(40, s)) for s in range(500, 600)]
    assert 0.35 < np.mean(scores) < 0.65
    assert 0.01 <= np.mean(np.array(scores) >= 0.95) <= 0.15


@pytest.mark.parametrize(
    ("shift", "tint"),
    [(1.5, (1, 1, 1)), (0.0, (1, 0.7, 1))],
    ids=["other features", "another stain"],
)
def test_what_was_shifted_is_further_than_every_picture_of_the_reference(
    known: Likeness, shift: float, tint: tuple[float, float, float]
) -> None:
    for seed in range(500, 510):
        assert known.ood_score(features(40, seed, shift), crops(40, seed, tint)) == 1.0


def test_only_the_best_cells_count(known: Likeness) -> None:
    own, seen = features(BEST + 30, 7), crops(BEST + 30, 7)
    changed = own.copy()
    changed[BEST:] += 50
    assert known.ood_score(changed, seen) == known.ood_score(own, seen)


def test_blur_lowers_sharpness_and_darkness_raises_density() -> None:
    sharp = crops(10, 0)
    smooth = np.uint8(sharp.mean((1, 2), keepdims=True) + 0.2 * (sharp - sharp.mean()))
    blurred = np.repeat(np.repeat(sharp[:, ::4, ::4], 4, axis=1), 4, axis=2)
    assert crop_colours(blurred)[6] < crop_colours(sharp)[6]
    assert (crop_colours(sharp // 2)[:3] > crop_colours(sharp)[:3]).all()
    assert np.isfinite(crop_colours(np.full_like(smooth, 255))).all()


def test_one_cell_alone_has_a_score(known: Likeness) -> None:
    assert 0 <= known.ood_score(features(1, 3), crops(1, 3)) <= 1


def test_each_picture_is_compared_with_other_groups_only() -> None:
    """A group apart from all others is far from them, however alike its own pictures are."""
    n = 30
    groups = [f"block {seed % 3}" for seed in range(n)]
    apart = [features(40, seed, 3.0 * (seed % 3 == 2)) for seed in range(n)]
    colours = np.stack([crop_colours(crops(40, seed)) for seed in range(n)])
    found = fit_likeness(apart, colours, groups)
    assert np.mean(found.distances > 3 * np.median(found.distances)) == pytest.approx(
        1 / 3, abs=0.1
    )


def test_a_reference_of_two_groups_is_refused() -> None:
    colours = np.stack([crop_colours(crops(5, seed)) for seed in range(4)])
    with pytest.raises(ValueError, match="three groups"):
        fit_likeness([features(5, s) for s in range(4)], colours, ["a", "a", "b", "b"])


def bundle_with(folder: Path, known: Likeness | None) -> Bundle:
    spec = {
        "name": "toy",
        "stages": {"detector": {}, "cells": {"classes": ["NILM", "LSIL"]},
                   "head": {"classes": ["NILM", "LSIL"]}},
        "operating_points": {}, "not_assessed": [], "trained_on": [],
    }  # fmt: skip
    tensors = {stage: {"w": np.ones(1)} for stage in ("detector", "cells", "head")}
    return write_bundle(folder, spec, tensors | ({PART: known.tensors()} if known else {}), "toy")


def test_a_bundle_carries_it_and_gives_the_same_scores(tmp_path: Path, known: Likeness) -> None:
    back = load_likeness(bundle_with(tmp_path, known))
    assert back is not None
    scores = [
        (one.ood_score(features(40, s), crops(40, s)) for s in range(500, 520))
        for one in (known, back)
    ]
    np.testing.assert_allclose(list(scores[0]), list(scores[1]), atol=0.04)  # half precision


def test_a_bundle_without_it_says_nothing(tmp_path: Path) -> None:
    assert load_likeness(bundle_with(tmp_path, None)) is None


def test_a_file_whose_parts_do_not_fit_is_refused_in_one_line(
    tmp_path: Path, known: Likeness
) -> None:
    tensors = known.tensors()
    odd = Likeness(**{**tensors, "mean": tensors["mean"][:-1]})
    bundle = bundle_with(tmp_path, odd)
    with pytest.raises(BundleError, match=r"likeness.safetensors does not fit") as caught:
        load_likeness(bundle)
    assert "\n" not in str(caught.value)
    spec = json.loads((tmp_path / "bundle.json").read_text())
    assert f"{PART}.safetensors" in spec["sha256"]
    assert load_bundle(tmp_path).parts == ("detector", "cells", "head", PART)
