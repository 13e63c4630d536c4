"""Scores and truth are read whole: what has no result or no label is kept apart and named."""

from __future__ import annotations

from pathlib import Path

import pytest

from koilo.errors import ManifestError
from koilo.evaluate.grades import place_in, shared_classes
from koilo.evaluate.slide_scores import add_truth, label_set, read_slide_scores
from koilo.manifest import read_manifest
from tests.evaluate.results_folder import failed, result, write_results, write_truth

SCORES = """slide_id,split,centre,label,p_positive,p_NILM,p_LSIL,p_HSIL+SCC,threshold
a,test,X,NILM,0.2,0.8,0.15,0.05,0.4
b,test,Y,HSIL,0.9,0.1,0.3,0.6,0.4
c,validation,X,LSIL,0.4,0.6,0.3,0.1,0.4
"""


def scores_csv(folder: Path, text: str = SCORES) -> Path:
    path = folder / "scores.csv"
    path.write_text(text)
    return path


def test_a_scores_csv_gives_truth_calls_and_classes(tmp_path: Path) -> None:
    a, b, c = read_slide_scores(scores_csv(tmp_path))
    assert [s.truly_positive for s in (a, b, c)] == [False, True, True]
    assert [s.called_positive for s in (a, b, c)] == [False, True, True]  # c is at the threshold
    assert [s.called for s in (a, b, c)] == ["NILM", "HSIL+SCC", "LSIL"]
    assert (b.centre, b.split, c.split) == ("Y", "test", "validation")


def test_a_results_folder_is_read_with_all_digits_and_all_reasons(tmp_path: Path) -> None:
    p = 0.123456789012345
    made = [result("a", p, centre="X"), result("b", None), failed("c")]
    a, b, c = read_slide_scores(write_results(tmp_path, made))
    assert (a.p_positive, a.centre, a.label, a.called) == (p, "X", None, "NILM")
    assert (b.p_positive, b.reason) == (None, "rescan: no cells found")
    assert (c.p_positive, c.reason) == (None, "It is no slide.")


def test_the_programs_own_label_in_slides_csv_is_never_taken_for_the_truth(tmp_path: Path) -> None:
    write_results(tmp_path, [result("a", 0.9), failed("b")])
    a, b = read_slide_scores(tmp_path / "slides.csv")
    assert (a.label, a.called, a.p_positive) == (None, "LSIL", 0.9)
    assert b.reason == "It is no slide."
    with pytest.raises(ManifestError, match="none of the 2 slides a label"):
        label_set([a, b], tmp_path)


def test_slides_without_result_or_label_are_kept_apart(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "r", [result("a", 0.9), result("b", None), failed("c"),
                                            result("d", 0.1)])  # fmt: skip
    truth = write_truth(tmp_path / "m.csv", {"a": "HSIL", "b": "LSIL", "c": "NILM", "e": "ASC-H"})
    found = label_set(add_truth(read_slide_scores(folder), read_manifest(truth)), truth)
    assert [s.slide_id for s in found.judged] == ["a"]
    assert {s.slide_id: s.reason for s in found.without_result} == {
        "b": "rescan: no cells found",
        "c": "It is no slide.",
        "e": "not among the results",
    }
    assert [s.slide_id for s in found.unlabelled] == ["d"]


@pytest.mark.parametrize(
    ("label", "said"), [("CIN2", "'CIN2' is not a class"), ("NILM+ASC-US", "at once")]
)
def test_a_label_outside_the_taxonomy_is_refused_in_one_line(
    tmp_path: Path, label: str, said: str
) -> None:
    path = scores_csv(tmp_path, SCORES.replace("HSIL,0.9", f"{label},0.9"))
    with pytest.raises(ManifestError, match=f"slide b.*{said}") as caught:
        label_set(read_slide_scores(path), path, "all")
    assert "\n" not in str(caught.value)


def test_splits_are_not_mixed_unasked(tmp_path: Path) -> None:
    path = scores_csv(tmp_path)
    scores = read_slide_scores(path)
    with pytest.raises(ManifestError, match=r"test \(2\), validation \(1\).*--split"):
        label_set(scores, path)
    assert len(label_set(scores, path, "test").judged) == 2
    assert len(label_set(scores, path, "all").judged) == 3
    with pytest.raises(ManifestError, match="no split 'unseen'"):
        label_set(scores, path, "unseen")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("p_positive", "score", "no column p_positive"),
        ("0.9,0.1", "1.9,0.1", "row 3: p_positive is 1.9"),
        ("0.9,0.1", "much,0.1", "row 3: p_positive is 'much'"),
        ("0.9,0.1", "nan,0.1", "not a finite number"),
        ("b,test", "a,test", "'a' stands 2 times"),
        ("b,test", ",test", "slide_id is empty"),
        ("p_LSIL", "p_CIN2", r"'CIN2' is not a class.* joined by \+; row 3"),
        ("0.05,0.4", "0.05,7", "row 2: threshold is 7, not a probability"),
    ],
)
def test_a_broken_scores_csv_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(ManifestError, match=said):
        read_slide_scores(scores_csv(tmp_path, SCORES.replace(old, new)))


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="Name a results folder"):
        read_slide_scores(tmp_path)


def test_classes_of_truth_and_model_are_folded_until_they_fit() -> None:
    classes = shared_classes(["NILM", "ASC-H+HSIL+SCC", "ASC-H", "HSIL+SCC", "LSIL", "AGC"])
    assert classes == ("NILM", "LSIL", "AGC", "ASC-H+HSIL+SCC")
    assert place_in("SCC", classes) == "ASC-H+HSIL+SCC"
    # Folds that overlap in a chain end in one class.
    assert shared_classes(["ASC-US+LSIL", "LSIL+ASC-H", "ASC-H+HSIL"]) == (
        "NILM", "ASC-US+LSIL+ASC-H+HSIL",
    )  # fmt: skip
    with pytest.raises(ValueError, match="no place"):
        place_in("SCC", ["NILM", "HSIL"])
