from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from koilo.pipeline import judge_slide


def test_a_tie_with_the_threshold_is_positive():
    assert judge_slide({"NILM": 0.5, "LSIL": 0.5}, 0.5).positive


def test_the_label_of_a_positive_slide_is_never_nilm_even_where_nilm_is_most_probable():
    call = judge_slide({"NILM": 0.7, "ASC-US": 0.1, "HSIL+SCC": 0.2}, 0.3 - 1e-9)
    assert (call.label, call.positive) == ("HSIL+SCC", True)


@given(
    st.lists(st.floats(0.001, 1), min_size=2, max_size=6),
    st.floats(0, 1),
)
def test_label_and_positive_never_contradict_each_other(weights, threshold):
    names = ["NILM", "ASC-US", "LSIL", "ASC-H", "HSIL", "SCC"][: len(weights)]
    probabilities = {n: w / sum(weights) for n, w in zip(names, weights, strict=True)}
    call = judge_slide(probabilities, threshold)
    assert call.positive == (1 - probabilities["NILM"] >= threshold)
    assert (call.label == "NILM") != call.positive
    if call.positive:
        others = {n: p for n, p in probabilities.items() if n != "NILM"}
        assert others[call.label] == max(others.values())
