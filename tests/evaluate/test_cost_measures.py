"""Costs of calls: by hand on four slides, folded classes, and what cannot be measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from koilo.errors import ConfigError, ManifestError
from koilo.evaluate.cost_measures import measure_costs
from koilo.evaluate.measures import Judged
from koilo.evaluate.slide_scores import SlideScore

CLASSES = ("NILM", "LSIL", "HSIL+SCC")


def slide(label: str, *p: float, threshold: float | None = 0.5) -> SlideScore:
    probabilities = dict(zip(CLASSES, p, strict=True))
    return SlideScore(f"{label}{p}", label, 1 - p[0], threshold, probabilities)


FOUR = (
    slide("NILM", 0.9, 0.1, 0.0),
    slide("NILM", 0.4, 0.6, 0.0),
    slide("HSIL", 0.7, 0.0, 0.3),  # likeliest NILM (.95), cheapest HSIL+SCC (0)
    slide("LSIL", 0.1, 0.9, 0.0),
)


def costs_of(values: dict) -> dict[str, float]:
    return {row["call"]: row["mean_cost"].estimate for row in values["calls"]}


def test_a_dear_miss_is_paid_by_the_likeliest_class_and_not_by_the_cheapest() -> None:
    values = measure_costs(Judged.of(FOUR), "cytology", draws=20)
    assert values["classes"] == CLASSES
    # The second NILM is called LSIL by all (.15); the miss is also the threshold's.
    assert costs_of(values) == pytest.approx(
        {
            "likeliest": (0.15 + 0.95) / 4,
            "cheapest": 0.15 / 4,
            "locked threshold": (0.15 + 0.95) / 4,
        }
    )
    assert values["likeliest_less_cheapest"].estimate == pytest.approx(0.95 / 4)
    tables = {row["call"]: row["table"].tolist() for row in values["calls"]}
    assert tables["likeliest"] == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert tables["cheapest"] == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]


def test_a_class_the_model_does_not_know_is_never_called() -> None:
    free = [slide("AGC", 0.5, 0.5, 0.0, threshold=None), *FOUR]
    values = measure_costs(Judged.of(free), "cytology", draws=20)
    assert values["classes"] == ("NILM", "LSIL", "AGC", "HSIL+SCC")
    assert [row["call"] for row in values["calls"]] == ["likeliest", "cheapest"]
    for row in values["calls"]:
        assert row["table"][:, 2].sum() == 0
        assert row["table"][2].sum() == 1


def test_costs_of_ones_own_change_the_cheapest_call(tmp_path: Path) -> None:
    path = tmp_path / "even.csv"
    rows = 1 - np.eye(3, dtype=int)
    path.write_text(
        "\n".join(
            [",".join(["truth", *CLASSES])]
            + [",".join([n, *map(str, row)]) for n, row in zip(CLASSES, rows, strict=True)]
        )
    )
    found = costs_of(measure_costs(Judged.of(FOUR), str(path), draws=20))
    assert found["cheapest"] == found["likeliest"] == 0.5


def test_without_probabilities_of_classes_there_is_no_cost() -> None:
    bare = SlideScore("bare", "HSIL", 0.8, 0.5)
    with pytest.raises(ManifestError, match=r"1 slides have no probabilities.*such as bare"):
        measure_costs(Judged.of([*FOUR, bare]), "cytology")


def test_a_table_of_other_classes_is_refused() -> None:
    with pytest.raises(ConfigError, match="no class NILM"):
        measure_costs(Judged.of(FOUR), "tissuenet")
