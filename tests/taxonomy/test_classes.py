import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koilo.taxonomy import (
    CYTOLOGY,
    check_classes,
    fold_matrix,
    fold_members,
    fold_name,
    meaning,
    most_severe,
)


def test_the_order_of_the_classes_is_the_contracts():
    assert CYTOLOGY == ("NILM", "ASC-US", "LSIL", "ASC-H", "HSIL", "SCC", "AGC")


@given(st.sets(st.sampled_from(CYTOLOGY), min_size=1))
def test_a_folds_name_gives_back_its_members(members):
    assert set(fold_members(fold_name(members))) == members


@given(st.permutations(CYTOLOGY[1:]), st.integers(1, 6))
def test_folding_keeps_the_probability(order, cut):
    folds = ["NILM", fold_name(order[:cut]), *order[cut:]]
    p = np.full(len(CYTOLOGY), 1 / len(CYTOLOGY))
    assert (p @ fold_matrix(CYTOLOGY, folds)).sum() == pytest.approx(1)


def test_a_class_without_a_place_in_the_folds_is_named():
    with pytest.raises(ValueError, match="AGC has no place"):
        fold_matrix(CYTOLOGY, ["NILM", "ASC-US", "LSIL", "ASC-H+HSIL+SCC"])


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["NILM", "CIN1"], "'CIN1' is not a class"),
        (["NILM", "HSIL", "HSIL+SCC"], "HSIL stands twice"),
        (["LSIL", "NILM"], "begins with NILM"),
        ([], "begins with NILM"),
    ],
)
def test_a_class_list_that_cannot_be_is_refused(names, said):
    with pytest.raises(ValueError, match=said.replace("'", ".")):
        check_classes(names)


def test_the_most_severe_class_names_the_slide():
    assert most_severe(["LSIL", "HSIL+SCC", "NILM"]) == "HSIL+SCC"
    assert most_severe([]) == "NILM"


def test_every_class_has_a_meaning_in_words():
    assert all(len(meaning(name)) > 10 for name in CYTOLOGY)
    assert " or " in meaning("HSIL+SCC")
