"""Scored bags: cut out of a crop store, refused where they cannot be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from koilo.datasets.crop_store import CropStore, CropStoreWriter, StoredCells, StoredSlide
from koilo.errors import ManifestError
from koilo.mil import BagSet
from koilo.mil.scored import ScoredBag, with_detector_scores


@pytest.fixture
def store(tmp_path: Path) -> CropStore:
    writer = CropStoreWriter(tmp_path / "store", n_crops=5, crop_px=4, mpp=0.5)
    cells = StoredCells(
        slide_id=np.array(["a", "a", "b", "b", "b"]),
        rank=np.array([0, 1, 0, 1, -1]),
        detector_score=np.array([0.9, 0.8, 0.7, 0.6, 0.1], np.float32),
        given=np.array([""] * 5),
        truth=np.array([""] * 5),
    )
    slides = [StoredSlide(name, "C01", "train", "NILM") for name in "abc"]
    return writer.finish(slides, cells, {})


def test_a_bag_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="one at least"):
        ScoredBag(
            np.zeros((0, 2), np.float32), np.zeros((0, 3), np.float32), np.zeros(0, np.float32)
        )


def test_a_bag_files_cells_get_the_stores_detector_scores(store: CropStore) -> None:
    rows = (np.array([2, 0]), np.array([1]))
    bags = BagSet(
        np.arange(6.0).reshape(3, 2), np.full((3, 3), 1 / 3), rows,
        ("a", "b"), ("NILM", "NILM"), ("train", "train"), ("a", "b"),
    )  # fmt: skip
    a, b = with_detector_scores(bags, store)
    assert a.features.tolist() == [[4, 5], [0, 1]]
    np.testing.assert_allclose(
        np.concatenate([a.detector_scores, b.detector_scores]), [0.9, 0.8, 0.7]
    )
    with pytest.raises(ManifestError, match="Bag c has 1 cells"):
        with_detector_scores(replace(bags, bag_ids=("a", "c")), store)


def test_suspicion_without_a_cell_classifier_is_refused_in_one_line() -> None:
    """As in the bags of a user's own encoder, which name no cell."""
    bag = ScoredBag(
        np.zeros((2, 3), np.float32), np.zeros((2, 0), np.float32), np.ones(2, np.float32)
    )
    with pytest.raises(ManifestError, match="no probabilities of cell classes"):
        _ = bag.p_lesion
