"""Expected-cost decoding: by hand, against a literal loop, and the tables it reads."""

from __future__ import annotations

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
