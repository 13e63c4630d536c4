from __future__ import annotations

import pytest

from koilo.taxonomy import CYTOLOGY, collapse, load_table, may_be_said, read_vocabulary
from koilo.taxonomy.descriptions import outside_queries


def test_agc_collapsed_leaves_14_options():
    texts = [option.text for option in read_vocabulary()]
    assert len(texts) == len(set(texts)) == 14
    assert [o.text for o in read_vocabulary() if "AGC" in o.classes] == ["atypical glandular cells"]
    assert {name for option in read_vocabulary() for name in option.classes} == set(CYTOLOGY)


def test_counts_are_the_papers_where_its_text_kept_them():
    rows = [
        (name, n) for row in load_table("descriptions")["descriptions"]
        for name, n in row["counts"].items()
    ]  # fmt: skip
    assert len(rows) == 25
    assert sorted(n for _, n in rows if n is not None) == [
        40, 129, 195, 413, 1998, 5903, 6692, 9070, 9762, 52373
    ]  # fmt: skip


@pytest.mark.parametrize("option", read_vocabulary(), ids=lambda option: option.text)
def test_wordings_to_learn_and_to_measure_with_are_never_the_same(option):
    assert (len(option.learnt), len(option.held_out)) == (10, 5)
    every = [text.lower() for text in (option.text, *option.learnt, *option.held_out)]
    assert len(set(every)) == 16


def test_no_wording_belongs_to_two_descriptions_or_lies_outside():
    every = [t.lower() for o in read_vocabulary() for t in (o.text, *o.learnt, *o.held_out)]
    outside = outside_queries()
    every += [text.lower() for text in (*outside.set_with, *outside.held_out)]
    assert len(every) == len(set(every))


def test_a_text_may_be_said_of_its_classes_and_of_folds_with_them():
    high_nc = next(option for option in read_vocabulary() if option.text == "high N/C ratio")
    assert may_be_said(high_nc, "HSIL")
    assert may_be_said(high_nc, "HSIL+SCC")
    assert not may_be_said(high_nc, "LSIL")


def test_only_agc_is_collapsed():
    assert collapse("AGC", ()) == ("atypical glandular cells",)
    assert collapse("LSIL", ("hyperchromasia",)) == ("hyperchromasia",)
