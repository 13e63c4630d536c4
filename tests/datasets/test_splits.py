"""Splits keep together what belongs together, and a leak is refused by name."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koilo.datasets.splits import SPLITS, assign_splits, refuse_leaks
from koilo.errors import ManifestError
from koilo.manifest import SlideEntry


def slides(cases: list[int]) -> list[SlideEntry]:
    return [
        SlideEntry(f"s{i}", Path(f"/nowhere/{i}.svs"), case_id=f"case {c}", centre=f"c{c % 4}")
        for i, c in enumerate(cases)
    ]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=40, max_size=90), st.integers(0, 5))
def test_every_case_lies_in_one_split_and_every_split_has_some(cases: list[int], seed: int) -> None:
    cases = [*cases, 100, 101, 102]
    parted = assign_splits(slides(cases), by="case", seed=seed)
    where = {(e.case_id, e.split) for e in parted}
    assert len(where) == len({e.case_id for e in parted})
    assert {e.split for e in parted} == set(SPLITS)
    assert [e.slide_id for e in parted] == [f"s{i}" for i in range(len(cases))]


def test_shares_are_met_with_many_small_cases() -> None:
    parted = assign_splits(slides(list(range(200))), by="case", shares=(0.5, 0.3, 0.2))
    assert Counter(e.split for e in parted) == {"train": 100, "validation": 60, "test": 40}


def test_the_same_seed_parts_alike_and_another_otherwise() -> None:
    entries = slides(list(range(60)))
    first, same, other = (assign_splits(entries, by="case", seed=s) for s in (1, 1, 2))
    assert first == same != other


def test_blocks_of_neighbours_stay_together() -> None:
    parted = assign_splits(slides([0] * 40), by="block", block_size=5)
    for start in range(0, 40, 5):
        assert len({e.split for e in parted[start : start + 5]}) == 1


def test_a_share_of_zero_gets_nothing() -> None:
    parted = assign_splits(slides(list(range(20))), by="case", shares=(0.8, 0.2, 0))
    assert {e.split for e in parted} == {"train", "validation"}


@pytest.mark.parametrize(
    ("by", "shares", "said"),
    [
        ("patient", (1, 1, 1), "case, block, centre"),
        ("case", (0, 0, 0), "part nothing"),
        ("case", (1, -1, 1), "part nothing"),
        ("case", (0.7, 0.3), "three numbers"),
    ],
)
def test_what_cannot_be_split_is_refused(by: str, shares: tuple[float, ...], said: str) -> None:
    with pytest.raises(ManifestError, match=said):
        assign_splits(slides([0, 1, 2, 3]), by=by, shares=shares)


def test_fewer_cases_than_splits_are_refused() -> None:
    with pytest.raises(ManifestError, match="2 cases for 3 splits"):
        assign_splits(slides([0, 1, 0]), by="case")


def test_a_slide_without_a_case_is_named() -> None:
    entries = slides([0, 1, 2])
    entries[1] = replace(entries[1], case_id=None)
    with pytest.raises(ManifestError, match=r"no case_id: s1\."):
        assign_splits(entries, by="case")


def with_splits(*splits: str | None, cases: list[int] | None = None) -> list[SlideEntry]:
    entries = slides(cases or list(range(len(splits))))
    return [replace(e, split=s) for e, s in zip(entries, splits, strict=True)]


def test_a_case_in_two_splits_is_refused_by_name() -> None:
    with pytest.raises(ManifestError, match="case 5 in test and train"):
        refuse_leaks(with_splits("train", "test", "test", cases=[5, 5, 6]), by="case")


def test_slides_without_a_split_leak_nothing() -> None:
    refuse_leaks(with_splits("train", None, "test", cases=[5, 5, 6]), by="case")


def test_the_same_picture_under_two_names_is_a_leak(tmp_path: Path) -> None:
    for name, content in (("a", b"same"), ("b", b"same"), ("c", b"else")):
        (tmp_path / f"{name}.svs").write_bytes(content)
    entries = [
        replace(e, path=tmp_path / f"{name}.svs")
        for e, name in zip(with_splits("train", "test", "test"), "abc", strict=True)
    ]
    with pytest.raises(ManifestError, match=r"picture .*a\.svs in test and train"):
        refuse_leaks(entries, by="case")
    refuse_leaks([replace(entries[0], path=entries[2].path, split="test"), *entries[2:]], by="case")


def test_twins_in_two_splits_are_a_leak() -> None:
    entries = with_splits("train", "test")
    entries[1] = replace(entries[1], twin_of="s0")
    with pytest.raises(ManifestError, match=r"s1 \(test\) and s0 \(train\)"):
        refuse_leaks(entries, by="case")
