"""Disagreement of slide and cells, and when a call should not stand without a reader."""

from __future__ import annotations

import pytest

from koilo.evaluate.conformal import DoubtBounds
from koilo.pipeline.disagreement import HIGH_P, find_disagreement
from koilo.pipeline.doubt import OOD_LIMIT, judge_doubt
from koilo.pipeline.verdict import Call
from koilo.types import Cell, Disagreement, ImageQuality

CLASSES = ("NILM", "ASC-US", "LSIL", "ASC-H", "HSIL", "SCC", "AGC")
FOLDS = {"HSIL": "HSIL+SCC", "SCC": "HSIL+SCC"}
BOUNDS = DoubtBounds(0.3, 0.6, 0.95, 0.9, 40, 40, "made")
OK = ImageQuality("ok")


def cell(label: str, p: float = 0.8) -> Cell:
    rest = (1 - p) / (len(CLASSES) - 1)
    return Cell(0, 0, 9, 9, 0.5, {n: p if n == label else rest for n in CLASSES}, label)


def cells(**counts: int) -> list[Cell]:
    return [cell(label.replace("_", "-")) for label, n in counts.items() for _ in range(n)]


def judge(call: Call | None, **changes):
    plain = {"ood_score": 0.5, "disagreement": None, "quality": OK}
    return judge_doubt(call, BOUNDS, **{**plain, **changes})


def test_a_slide_whose_cells_say_the_same_does_not_disagree() -> None:
    mixed = cells(HSIL=5, SCC=4, LSIL=6, NILM=200)
    assert find_disagreement("HSIL+SCC", True, mixed, FOLDS) is None
    assert find_disagreement("LSIL", True, cells(LSIL=3, NILM=9), FOLDS) is None


@pytest.mark.parametrize(
    ("label", "made", "kind", "leading"),
    [
        ("AGC", cells(ASC_US=6, NILM=40), "milder cells", "ASC-US"),
        ("ASC-US", cells(HSIL=4, SCC=3, ASC_US=5), "graver cells", "HSIL+SCC"),
        ("HSIL+SCC", cells(ASC_US=9, HSIL=2), "milder cells", "ASC-US"),
    ],
)
def test_another_class_that_leads_among_the_most_suspicious_cells_is_named(
    label: str, made: list[Cell], kind: str, leading: str
) -> None:
    found = find_disagreement(label, True, made, FOLDS)
    assert found is not None
    assert (found.kind, found.slide_label, found.cell_label) == (kind, label, leading)
    assert found.n_cells == sum(FOLDS.get(c.label, c.label) == leading for c in made)
    assert found.p == pytest.approx(0.8)


def test_only_the_32_most_suspicious_cells_vote() -> None:
    sure = [cell("LSIL", 0.9)] * 32
    unsure = [cell("HSIL", 0.5)] * 100
    assert find_disagreement("LSIL", True, [*unsure, *sure], FOLDS) is None


def test_of_two_classes_with_as_many_votes_the_graver_leads() -> None:
    found = find_disagreement("LSIL", True, cells(LSIL=3, HSIL=3), FOLDS)
    assert found is not None
    assert found.cell_label == "HSIL+SCC"


def test_a_positive_slide_without_a_cell_like_a_lesion_is_told() -> None:
    found = find_disagreement("ASC-US", True, cells(NILM=50), FOLDS)
    assert found == Disagreement("no lesion cell", "ASC-US")


def test_below_the_threshold_only_high_grade_cells_with_high_p_count() -> None:
    low = [cell("HSIL", HIGH_P - 0.01), cell("LSIL", 0.99), *cells(NILM=9)]
    assert find_disagreement("NILM", False, low, FOLDS) is None
    found = find_disagreement("NILM", False, [*low, cell("HSIL", 0.93), cell("ASC-H", 0.95)], FOLDS)
    assert found == Disagreement("graver cells", "NILM", "ASC-H", 2, pytest.approx(0.95))


def test_classes_that_are_folded_among_cells_fit_the_finer_slide_class() -> None:
    fold = "ASC-H+HSIL+SCC"
    p = {"NILM": 0.1, "LSIL": 0.1, fold: 0.8}
    assert find_disagreement("HSIL+SCC", True, [Cell(0, 0, 9, 9, 0.5, p, fold)], {}) is None


def test_a_certain_call_on_a_slide_like_the_others_needs_nobody() -> None:
    for call, calls in (
        (Call("LSIL", 0.7, True), ("positive",)),
        (Call("NILM", 0.2, False), ("negative",)),
    ):
        doubt = judge(call)
        assert (doubt.needs_human, doubt.why, doubt.possible_calls) == (False, (), calls)


@pytest.mark.parametrize(
    ("call", "changes", "said"),
    [
        (Call("LSIL", 0.5, True), {}, "neither negative nor positive can be ruled out"),
        (Call("NILM", 0.7, False), {}, "like positive slides only, against the call"),
        (Call("LSIL", 0.2, True), {}, "like negative slides only, against the call"),
        (Call("LSIL", 0.7, True), {"ood_score": OOD_LIMIT}, "not like the training data"),
        (
            Call("NILM", 0.2, False),
            {"disagreement": Disagreement("graver cells", "NILM", "HSIL", 1, 0.95)},
            "most like HSIL",
        ),
        (
            Call("LSIL", 0.7, True),
            {"disagreement": Disagreement("no lesion cell", "LSIL")},
            "no cell is most like a lesion",
        ),
        (Call("NILM", 0.2, False), {"quality": ImageQuality("rescan: blurred")}, "rescan: blurred"),
        (None, {}, "no cell was there to judge"),
    ],
)
def test_each_reason_asks_for_a_human_and_is_named(call, changes, said) -> None:
    doubt = judge(call, **changes)
    assert doubt.needs_human
    assert len(doubt.why) == 1
    assert said in doubt.why[0]


def test_milder_cells_alone_ask_for_nobody() -> None:
    milder = Disagreement("milder cells", "HSIL+SCC", "ASC-US", 9, 0.8)
    assert judge(Call("HSIL+SCC", 0.7, True), disagreement=milder).needs_human is False


def test_bounds_that_crossed_leave_a_score_like_neither() -> None:
    crossed = DoubtBounds(0.6, 0.3, 0.95, 0.9, 40, 40, "apart")
    doubt = judge_doubt(
        Call("LSIL", 0.5, True), crossed, ood_score=None, disagreement=None, quality=OK
    )
    assert doubt.possible_calls == ()
    assert "like neither" in doubt.why[0]


def test_a_bundle_without_bounds_says_nothing_at_all() -> None:
    doubt = judge_doubt(None, None, ood_score=None, disagreement=None, quality=OK)
    assert (doubt.needs_human, doubt.why, doubt.possible_calls) == (None, (), ())
