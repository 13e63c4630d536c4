"""Two methods on the same slides: differences as their parts give them, and pairs that fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from koilo.errors import ManifestError
from koilo.evaluate.against import measure_against, pair_scores
from koilo.evaluate.delong import compare_aucs
from koilo.evaluate.scores import auc
from koilo.evaluate.slide_scores import SlideScore

RANDOM = np.random.default_rng(7)
TRUTH = np.arange(60) % 3 == 0
GOOD, BAD = (np.clip(RANDOM.normal(0.35 + gap * TRUTH, 0.12), 0, 1) for gap in (0.4, 0.1))
SOURCE = Path("other.csv")


def slides(
    p: np.ndarray, *, threshold: float | None = 0.5, labels: bool = True
) -> list[SlideScore]:
    return [
        SlideScore(f"s{i}", ("HSIL" if true else "NILM") if labels else None, float(x), threshold)
        for i, (true, x) in enumerate(zip(TRUTH, p, strict=True))
    ]


def rows_of(values: dict) -> dict[str, dict]:
    return {row["measure"]: row for row in values["rows"]}


def test_differences_are_first_less_second_with_their_tests() -> None:
    pair = pair_scores(slides(GOOD), slides(BAD, labels=False)[::-1], SOURCE)
    values = measure_against(*pair, draws=40)
    assert (values["n"], values["n_positive"]) == (60, 20)
    rows = rows_of(values)
    expected = compare_aucs(TRUTH, GOOD, BAD)
    assert rows["AUC"]["first"] == pytest.approx(auc(TRUTH, GOOD), abs=1e-6)
    assert rows["AUC"]["difference"]["estimate"] == pytest.approx(
        auc(TRUTH, GOOD) - auc(TRUTH, BAD), abs=1e-5
    )
    assert rows["AUC"]["p"] == pytest.approx(expected.p, rel=1e-4)
    caught = [int(((p >= 0.5) & TRUTH).sum()) for p in (GOOD, BAD)]
    found = rows["sensitivity, locked"]
    assert found["difference"]["estimate"] == pytest.approx((caught[0] - caught[1]) / 20, abs=1e-6)
    assert 0 < found["difference"]["low"] < found["difference"]["high"]
    assert found["p"] < 0.05


def test_a_method_against_itself_differs_in_nothing() -> None:
    values = measure_against(*pair_scores(slides(GOOD), slides(GOOD), SOURCE), draws=20)
    assert len(values["rows"]) == 4
    for row in values["rows"]:
        assert row["difference"]["estimate"] == 0
        assert row["p"] in (1, None)


def test_each_method_is_called_at_its_own_threshold_or_not_at_all() -> None:
    shifted = slides(GOOD / 2, threshold=0.25)
    same = rows_of(measure_against(*pair_scores(slides(GOOD), shifted, SOURCE), draws=20))
    assert same["specificity, locked"]["difference"]["estimate"] == 0
    without = pair_scores(slides(GOOD), slides(BAD, threshold=None), SOURCE)
    assert len(measure_against(*without, draws=20)["rows"]) == 2


def test_only_slides_that_both_scored_are_compared() -> None:
    others = [*slides(BAD)[:30], replace(slides(BAD)[31], p_positive=None)]
    first, second = pair_scores(slides(GOOD), others, SOURCE)
    assert [s.slide_id for s in first.slides] == [s.slide_id for s in second.slides]
    assert first.truth.size == 30


def test_one_class_alone_has_rates_and_no_ranking() -> None:
    positives = [slide for slide in slides(GOOD) if slide.label == "HSIL"]
    rows = rows_of(measure_against(*pair_scores(positives, slides(BAD), SOURCE), draws=20))
    assert set(rows) == {"sensitivity, locked", "specificity, locked"}
    assert rows["specificity, locked"]["p"] is None


def test_other_slides_or_another_truth_are_refused() -> None:
    with pytest.raises(ManifestError, match=r"other\.csv scores none of the 60"):
        pair_scores(slides(GOOD), [SlideScore("x", "NILM", 0.2)], SOURCE)
    with pytest.raises(ManifestError, match="1 slides another label, such as s0"):
        pair_scores(slides(GOOD), [replace(slides(BAD)[0], label="NILM"), *slides(BAD)[1:]], SOURCE)
