"""Squamous cellularity: the estimator's promises and the verdict's words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from koilo.slides.adequacy import (
    Total,
    estimate_adequacy,
    estimate_total,
    limits_by_preparation,
    sample_tiles,
)


def clustered_slide(rng: np.random.Generator, n_tiles: int, mean: float) -> NDArray[np.int64]:
    """True counts of each tile: Poisson cells, a gamma rate from tile to tile, a third blank."""
    rate = rng.gamma(1.2, mean / 1.2, n_tiles) * (rng.random(n_tiles) > 1 / 3)
    return rng.poisson(rate)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([3.0, 12.0, 40.0]), st.sampled_from([150, 700]))
def test_the_estimate_is_unbiased_on_clustered_cells(seed: int, mean: float, n_tiles: int) -> None:
    rng = np.random.default_rng(seed)
    truth = clustered_slide(rng, n_tiles, mean)
    estimates = [
        estimate_total(truth[sample_tiles(n_tiles, most=60, seed=s)], n_tiles).n for s in range(200)
    ]
    standard_error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - truth.sum()) < 4.5 * standard_error + 1e-9


@pytest.mark.parametrize("error", [0.0, 0.15])
def test_the_interval_covers_the_truth_nineteen_times_in_twenty(error: float) -> None:
    rng = np.random.default_rng(5)
    covered = []
    for trial in range(600):
        truth = clustered_slide(rng, 400, 10.0)
        wrong = np.exp(rng.normal(0, error))
        counts = truth[sample_tiles(400, most=80, seed=trial)] * wrong
        total = estimate_total(counts, 400, counting_error=error)
        covered.append(total.low <= truth.sum() <= total.high)
    assert 0.92 <= np.mean(covered) <= 0.985


def test_counting_every_tile_leaves_only_the_counting_error() -> None:
    exact = estimate_total([3, 0, 7], 3, counting_error=0.0)
    assert exact == Total(10.0, 10.0, 10.0)
    total = estimate_total([3, 0, 7], 3, counting_error=0.15)
    assert total.n == 10
    assert total.high / total.n == pytest.approx(np.exp(1.96 * 0.15), rel=1e-3)


def test_nothing_counted_in_a_sample_still_leaves_an_upper_end() -> None:
    total = estimate_total([0] * 100, 1000, counting_error=0.0)
    assert (total.n, total.low) == (0, 0)
    assert total.high == pytest.approx(30)
    assert estimate_total([0, 0], 2).high == 0


def test_overlapping_tiles_are_counted_by_their_own_share() -> None:
    assert estimate_total([8, 8], 10, tile_share=0.25).n == pytest.approx(20)


def test_a_sample_larger_than_the_slide_or_empty_is_refused() -> None:
    for counts in ([], [1, 2, 3]):
        with pytest.raises(ValueError, match="counts must be of 1 to n_tiles = 2"):
            estimate_total(counts, 2)


def test_a_sample_of_tiles_is_seeded_distinct_and_complete_where_tiles_are_few() -> None:
    assert sample_tiles(7) == list(range(7))
    chosen = sample_tiles(1000, seed=3)
    assert chosen == sample_tiles(1000, seed=3)
    assert chosen != sample_tiles(1000, seed=4)
    assert len(set(chosen)) == 100
    assert max(chosen) < 1000


@pytest.mark.parametrize(
    ("n", "preparation", "suspicious", "verdict"),
    [
        (6000, "thinprep", False, "adequate"),
        (6000, "surepath", True, "adequate"),
        (6000, "conventional", False, "scant"),
        (800, "thinprep", True, "scant, abnormal cells suspected"),
        (800, None, True, "not assessable: preparation not given"),
        (800, "", False, "not assessable: preparation not given"),
        (800, "other", False, "not assessable: no limit for preparation other"),
    ],
)
def test_the_verdict_compares_with_the_limit_of_the_preparation(
    n: float, preparation: str | None, suspicious: bool, verdict: str
) -> None:
    total = Total(n, n * 0.8, n * 1.25)
    found = estimate_adequacy(total, preparation=preparation, suspicious=suspicious)
    assert found.verdict == verdict
    assert (found.n_squamous, found.low, found.high) == (n, n * 0.8, n * 1.25)


def test_a_laboratorys_own_limit_replaces_the_table() -> None:
    own = {"thinprep": 500, "other": 2000}
    total = Total(800, 700, 900)
    assert estimate_adequacy(total, preparation="thinprep", limits=own).verdict == "adequate"
    assert estimate_adequacy(total, preparation="other", limits=own).verdict == "scant"
    assert limits_by_preparation(own)["conventional"] == 8000
    with pytest.raises(ValueError, match="1 cell or more"):
        limits_by_preparation({"thinprep": 0})


def test_fields_and_uncounted_slides_are_not_assessable() -> None:
    total = Total(10, 8, 12)
    field = estimate_adequacy(total, preparation="thinprep", kind="field")
    assert field.verdict == "not assessable: field"
    assert field.n_squamous is None
    nothing = estimate_adequacy(None, preparation="thinprep", reason="no foreground")
    assert nothing.verdict == "not assessable: no foreground"
