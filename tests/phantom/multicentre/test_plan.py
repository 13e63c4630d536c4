"""Slides of the cohort: splits, centres, classes, and labels that are swapped in training only."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from koilo.errors import ConfigError
from koilo.phantom.multicentre.config import CohortConfig, SplitSize, checked, scaled, smoke
from koilo.phantom.multicentre.plan import plan_slides, positive_counts

FULL = plan_slides(CohortConfig(seed=3))


def test_the_full_cohort_has_the_slides_and_classes_of_its_specification() -> None:
    assert Counter(s.split for s in FULL) == {
        "train": 1900, "validation": 600, "test": 1200, "unseen": 1200,
    }  # fmt: skip
    for split, positive in (("train", 400), ("validation", 200), ("test", 400), ("unseen", 400)):
        mine = [s.truth for s in FULL if s.split == split and s.truth != "NILM"]
        assert len(mine) == positive
        assert Counter(mine)["ASC-US"] / positive == pytest.approx(0.52, abs=0.01)
        assert Counter(mine)["AGC"] / positive == pytest.approx(0.04, abs=0.01)


def test_every_centre_holds_nearly_the_same_share_of_positives() -> None:
    for split in ("train", "validation", "test", "unseen"):
        slides = [s for s in FULL if s.split == split]
        shares = [
            sum(s.truth != "NILM" for s in slides if s.centre == c)
            / sum(s.centre == c for s in slides)
            for c in {s.centre for s in slides}
        ]
        assert max(shares) - min(shares) < 0.01
        assert {s.centre for s in slides} == set(range(8, 13) if split == "unseen" else range(8))


def test_labels_are_swapped_between_asc_us_and_nilm_in_training_only() -> None:
    swapped = [s for s in FULL if s.truth != s.label]
    assert {s.split for s in swapped} == {"train"}
    assert Counter((s.truth, s.label) for s in swapped) == {
        ("ASC-US", "NILM"): 10, ("NILM", "ASC-US"): 75,
    }  # fmt: skip


def test_lesion_cells_lie_in_their_range_and_only_on_positive_slides() -> None:
    assert all((s.n_lesions > 0) == (s.truth != "NILM") for s in FULL)
    assert all(2 <= s.n_lesions <= 30 for s in FULL if s.truth == "ASC-US")
    assert all(3000 <= s.n_cells <= 20000 for s in FULL)


def test_the_smoke_cohort_is_a_twentieth_with_two_positive_slides_of_each_class() -> None:
    slides = plan_slides(smoke(CohortConfig(seed=1)))
    assert Counter(s.split for s in slides) == {
        "train": 95, "validation": 30, "test": 60, "unseen": 60,
    }  # fmt: skip
    for split in ("train", "validation", "test", "unseen"):
        counts = Counter(s.truth for s in slides if s.split == split)
        assert min(counts[name] for name in counts) >= 2
        assert len(counts) == 6
    assert positive_counts(20) == {"ASC-US": 9, "LSIL": 5, "ASC-H": 2, "HSIL+SCC": 2, "AGC": 2}


def test_another_seed_makes_another_plan_and_the_same_seed_the_same() -> None:
    assert plan_slides(CohortConfig(seed=3)) == FULL
    assert plan_slides(CohortConfig(seed=4)) != FULL


def test_a_seed_under_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match="seed is -1; allowed are whole numbers from 0"):
        checked(CohortConfig(seed=-1))


def test_a_divisor_under_one_is_refused() -> None:
    for divisor in (0, -5):
        with pytest.raises(ConfigError, match=f"divisor is {divisor}; allowed are whole numbers"):
            scaled(CohortConfig(), divisor)


@pytest.mark.parametrize("size", [SplitSize(40, 9), SplitSize(12, 12), SplitSize(6, 10)])
def test_a_split_without_two_slides_a_class_or_without_nilm_is_refused(size: SplitSize) -> None:
    config = CohortConfig()
    with pytest.raises(ConfigError, match=f"Split test has {size.slides} slides"):
        checked(replace(config, splits=config.splits | {"test": size}))
