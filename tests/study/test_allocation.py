"""Arms and orders: balanced for any cohort, the same for the same seed."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koilo.study.allocation import PERIODS, allocate

cohorts = st.lists(st.sampled_from(["NILM", "LSIL", "HSIL"]), min_size=1, max_size=40)


@settings(deadline=None, max_examples=40)
@given(
    classes=cohorts, n_readers=st.integers(1, 5), fewer=st.integers(0, 3), seed=st.integers(0, 9)
)
def test_every_reader_has_both_arms_of_every_class_and_orders_are_whole(
    classes, n_readers, fewer, seed
):
    slides = [(f"s{i}", name) for i, name in enumerate(classes)]
    readers = [f"r{i}" for i in range(n_readers)]
    per_slide = max(1, n_readers - fewer)
    found = allocate(slides, readers, readers_a_slide=per_slide, seed=seed)
    label = dict(slides)
    assert set(Counter(each.slide_id for each in found).values()) == {per_slide}
    for reader in readers:
        mine = [each for each in found if each.reader == reader]
        for name in {*classes, None}:
            arms = Counter(e.group for e in mine if name is None or label[e.slide_id] == name)
            assert abs(arms["A"] - arms["B"]) <= 1
        for period in PERIODS:
            assert sorted(each.place(period) for each in mine) == list(range(1, len(mine) + 1))
    loads = Counter(each.reader for each in found)
    assert max(loads.values()) - min(loads.get(reader, 0) for reader in readers) <= 1
    if per_slide == n_readers:
        for slide_id in label:
            arms = Counter(each.group for each in found if each.slide_id == slide_id)
            assert abs(arms["A"] - arms["B"]) <= 1


def test_each_slide_is_read_once_with_and_once_without_ai():
    for each in allocate([("a", "x"), ("b", "x")], ["r"]):
        assert each.with_ai(1) != each.with_ai(2)
        assert each.with_ai(2) == (each.group == "A")


def test_the_seed_fixes_the_plan_and_another_one_changes_it():
    slides = [(f"s{i}", "x") for i in range(30)]
    one, two, other = (allocate(slides, ["a", "b"], seed=seed) for seed in (1, 1, 2))
    assert one == two
    assert one != other


def test_no_slides_or_too_few_readers_are_refused():
    with pytest.raises(ValueError, match="0 slides"):
        allocate([], ["a"])
    with pytest.raises(ValueError, match="3 of 2 readers"):
        allocate([("s", "x")], ["a", "b"], readers_a_slide=3)
