"""Expected-cost decoding: by hand, against a literal loop, and the tables it reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koilo.errors import ConfigError
from koilo.evaluate.decoding import cost_matrix, decode, expected_costs, mean_cost
from koilo.taxonomy import load_table

TISSUENET = ("benign", "LSIL", "HSIL", "invasive")


def test_tissuenet_is_the_published_table() -> None:
    table = cost_matrix("tissuenet", TISSUENET)
    expected = {(0, 1): 0.1, (1, 2): 0.3, (2, 3): 0.3, (0, 2): 0.7, (1, 3): 0.7, (0, 3): 1.0}
    for (i, j), cost in expected.items():
        assert table[i, j] == table[j, i] == cost
    assert (np.diag(table) == 0).all()


def test_our_table_is_sound() -> None:
    table = load_table("costs")["cytology"]
    costs = np.array(table["costs"])
    assert costs.shape == (len(table["classes"]),) * 2
    assert (np.diag(costs) == 0).all()
    assert costs.max() == 1.0
    assert (costs[1:, 0] > costs[0, 1:]).all()  # a miss costs more than its false alarm
    assert "not a guideline" in table["source"]


@given(st.integers(0, 10_000), st.integers(2, 6))
def test_decoding_equals_a_loop_over_what_might_be_true(seed: int, n_classes: int) -> None:
    rng = np.random.default_rng(seed)
    p, costs = rng.dirichlet(np.ones(n_classes), 4), rng.random((n_classes, n_classes))
    for row, called in zip(p, decode(p, costs), strict=True):
        paid = [
            sum(row[true] * costs[true][call] for true in range(n_classes))
            for call in range(n_classes)
        ]
        assert paid[called] == pytest.approx(min(paid))
    np.testing.assert_allclose(expected_costs(p, costs), p @ costs)


def test_equal_costs_call_the_likeliest_class() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(4), 30)
    assert (decode(p, 1 - np.eye(4)) == p.argmax(axis=1)).all()


def test_a_dear_miss_is_called_before_it_is_likely() -> None:
    costs = cost_matrix("cytology", ("NILM", "HSIL+SCC"))
    assert decode([[0.7, 0.3], [0.9, 0.1]], costs).tolist() == [1, 0]


def test_the_mean_cost_is_what_was_paid() -> None:
    costs = cost_matrix("tissuenet", TISSUENET)
    assert mean_cost([0, 1, 3, 2], [0, 2, 0, 2], costs) == pytest.approx((0.3 + 1.0) / 4)


def test_an_unknown_table_or_class_is_refused() -> None:
    with pytest.raises(ConfigError, match="tissuenet, cytology"):
        cost_matrix("histology", TISSUENET)
    with pytest.raises(ConfigError, match="no class CIN2"):
        cost_matrix("tissuenet", ("benign", "CIN2"))


def test_a_csv_of_ones_own_is_read_by_its_classes(tmp_path: Path) -> None:
    path = tmp_path / "costs.csv"
    path.write_text("truth, NILM,HSIL\nNILM,0,0.2\nHSIL,3,0\n")
    assert cost_matrix(str(path), ("HSIL", "NILM")).tolist() == [[0, 3], [0.2, 0]]
    with pytest.raises(ConfigError, match="no class LSIL"):
        cost_matrix(str(path), ("NILM", "LSIL"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("truth,NILM,HSIL\nNILM,0,1\n", "rows are not the classes"),
        ("truth,NILM,HSIL\nHSIL,0,1\nNILM,1,0\n", "rows are not the classes"),
        ("truth,NILM,HSIL\nNILM,0,1,2\nHSIL,1,0,2\n", "not square"),
        ("truth,NILM,HSIL\nNILM,0,1,2\nHSIL,1,0\n", "costs.csv cannot be read"),
        ("truth,NILM,HSIL\nNILM,0,-1\nHSIL,1,0\n", "negative or no number"),
        ("truth,NILM,HSIL\nNILM,0,nan\nHSIL,1,0\n", "negative or no number"),
        ("truth,NILM,HSIL\nNILM,0,1\nHSIL,1,1\n", "a right call costs"),
        ("truth,NILM,HSIL\nNILM,0,dear\nHSIL,1,0\n", "dear"),
        ("truth,NILM,NILM\nNILM,0,1\nNILM,1,0\n", "header"),
        ("NILM,HSIL\n0,1\n1,0\n", "header"),
        ("", "costs.csv cannot be read"),
    ],
)
def test_a_bad_csv_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "costs.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        cost_matrix(str(path), ("NILM", "HSIL"))
    assert "\n" not in str(caught.value)


def test_a_csv_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.csv cannot be read"):
        cost_matrix(str(tmp_path / "nowhere.csv"), ("NILM", "HSIL"))


def test_a_slide_without_a_result_is_not_called_normal() -> None:
    with pytest.raises(ValueError, match="not finite"):
        decode([[np.nan, np.nan]], [[0, 1], [10, 0]])
