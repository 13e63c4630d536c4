"""Bag files: written and read alike, and refused where they cannot be used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from koilo.errors import ManifestError
from koilo.mil import BagSet, collate, read_bags, write_bags

CLASSES = ("NILM", "LSIL")


def bag_set() -> BagSet:
    rng = np.random.default_rng(0)
    return BagSet(
        features=rng.normal(size=(6, 3)).astype(np.float16),
        probabilities=rng.dirichlet(np.ones(2), 6).astype(np.float32),
        rows=(np.array([4, 0]), np.array([1, 2, 3]), np.array([0])),
        bag_ids=("a", "b", "ç"),
        labels=("LSIL", "NILM", "LSIL"),
        splits=("train", "train", "validation"),
        groups=("1", "2", "3"),
    )


def test_a_bag_file_gives_back_what_was_written(tmp_path: Path) -> None:
    write_bags(tmp_path / "bags.npz", bag_set())
    read, written = read_bags(tmp_path / "bags.npz"), bag_set()
    np.testing.assert_array_equal(read.features, written.features)
    np.testing.assert_array_equal(read.probabilities, written.probabilities)
    assert [rows.tolist() for rows in read.rows] == [[4, 0], [1, 2, 3], [0]]
    assert (read.bag_ids, read.labels, read.splits, read.groups) == (
        written.bag_ids, written.labels, written.splits, written.groups,
    )  # fmt: skip


def test_a_bag_keeps_its_cells_in_order_and_reads_what_is_asked() -> None:
    first, second = bag_set().bags("features", CLASSES, "train")
    np.testing.assert_array_equal(first.x, bag_set().features[[4, 0]].astype(np.float32))
    assert (first.bag_id, first.label, second.label) == ("a", 1, 0)
    [only] = bag_set().bags("both", CLASSES, "validation")
    assert only.x.shape == (1, 5)
    np.testing.assert_allclose(np.exp(only.x[0, 3:]), bag_set().probabilities[0], rtol=1e-5)


def test_labels_count_as_the_class_that_contains_them_and_bags_without_one_stay_out() -> None:
    labels = ("HSIL", "", "ASC-US+SCC")
    bags = replace(bag_set(), labels=labels, splits=("train",) * 3)
    read = bags.bags("log_p", ("NILM", "ASC-US", "HSIL+SCC"), "train")
    assert [(bag.bag_id, bag.label) for bag in read] == [("a", 2), ("ç", 2)]


def test_labels_outside_the_classes_and_empty_bags_are_refused() -> None:
    with pytest.raises(ManifestError, match="LSIL"):
        bag_set().bags("log_p", ("NILM", "HSIL"), "train")
    empty = replace(bag_set(), rows=(np.array([4]), np.array([], dtype=np.int64), np.array([0])))
    with pytest.raises(ManifestError, match="without a cell: b"):
        empty.bags("log_p", CLASSES, "train")


def test_collate_refuses_what_no_head_can_read() -> None:
    with pytest.raises(ValueError, match="needs a cell"):
        collate([])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"some text"])
def test_a_file_that_is_none_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bags.npz").write_bytes(content)
    with pytest.raises(ManifestError, match="is no bag file") as caught:
        read_bags(tmp_path / "bags.npz")
    assert "\n" not in str(caught.value)


def test_rows_outside_the_table_are_refused(tmp_path: Path) -> None:
    write_bags(tmp_path / "b.npz", replace(bag_set(), probabilities=np.ones((6, 2)) / 2))
    write_bags(tmp_path / "bags.npz", replace(bag_set(), rows=(np.array([6]),) * 3))
    assert read_bags(tmp_path / "b.npz")
    with pytest.raises(ManifestError, match="fit"):
        read_bags(tmp_path / "bags.npz")


def test_a_number_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    features = bag_set().features.astype(np.float32).copy()
    features[0, 0] = np.nan
    write_bags(tmp_path / "bags.npz", replace(bag_set(), features=features))
    with pytest.raises(ManifestError, match="not finite"):
        read_bags(tmp_path / "bags.npz")
