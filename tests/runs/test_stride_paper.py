"""Tables of slides from scores alone, on made-up scores of which the right answers are known."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koilo.datasets.crop_store import CropStore
from koilo.errors import ManifestError
from koilo.evaluate.slide_scores import SlideScore
from koilo.train.stages import Scores, write_scores
from tests.conftest import ROOT
from tests.train.toy_store import make_toy_store

sys.path.insert(0, str(ROOT / "runs"))

import stride_centres
import stride_grades
import stride_paper
import stride_paper_tables
from stride_scores import Table

CLASSES = ("NILM", "ASC-US", "LSIL", "ASC-H", "HSIL+SCC", "AGC")
SPLITS = ("train", "validation", "test", "unseen", "unseen_twin")
BLIND = {"two_stage": ("LSIL", "AGC"), "swift": ()}
"""Classes that a made-up method calls NILM; all else it calls rightly."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CropStore:
    made = make_toy_store(tmp_path_factory.mktemp("cohort"), n_slides=100, splits=SPLITS)
    truth = made.folder / "truth"
    truth.mkdir()
    told = [{"name": name, "distance": place / 10} for place, name in enumerate(("C0", "C1"))]
    (truth / "centres.json").write_text(json.dumps(told))
    return made


@pytest.fixture(scope="module")
def out(store: CropStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods, swift with two seeds; threshold .5."""
    folder = tmp_path_factory.mktemp("out")
    for method, seed in (("two_stage", 1), ("swift", 1), ("swift", 2)):
        write_scores(folder / "scores" / f"{method}_{seed}.csv", made_up(store, BLIND[method]))
    return folder


@pytest.fixture(scope="module")
def table(out: Path) -> Table:
    return Table([out])


def made_up(store: CropStore, blind: tuple[str, ...]) -> Scores:
    slides = store.of_split(*SPLITS)
    p = np.full((len(slides), len(CLASSES)), 0.02, np.float32)
    for row, slide in enumerate(slides):
        p[row, 0 if slide.label in blind else CLASSES.index(slide.label)] = 0.9
    return Scores(slides, p, CLASSES, 0.5, False)


@given(
    st.lists(st.floats(0.01, 1), min_size=4, max_size=4),
    st.one_of(st.none(), st.floats(0.05, 0.95)),
)
def test_a_class_is_called_as_a_results_folder_calls_it(
    weights: list[float], threshold: float | None
) -> None:
    p = np.array([weights]) / sum(weights)
    names = ("NILM", "ASC-US", "LSIL", "AGC")
    reached = None if threshold is None else 1 - p[:, 0] >= threshold
    called = names[stride_grades.called_classes(p, reached)[0]]
    if threshold is None:
        assert p[0, names.index(called)] == p.max()
        return
    told = SlideScore(
        "s", p_positive=float(1 - p[0, 0]), threshold=threshold,
        probabilities=dict(zip(names, p[0].tolist(), strict=True)),
    )  # fmt: skip
    assert called == told.called


def test_a_slide_at_the_threshold_is_called_though_rounding_parts_it_from_its_p_nilm() -> None:
    p_nilm, p_positive, threshold = 0.013017, 0.986983, 0.986983
    assert 1 - p_nilm < threshold
    p = np.array([[p_nilm, 0.9, 0.086983]])
    assert stride_grades.called_classes(p, np.array([p_positive >= threshold])).tolist() == [1]


def test_a_confusion_is_brought_to_the_prevalence_with_the_mix_within_kept() -> None:
    counts = np.array([[50.0, 10, 0], [5, 25, 0], [2, 4, 4]])
    moved = stride_grades.at_prevalence(counts)
    assert moved[1:].sum() / moved.sum() == pytest.approx(stride_grades.PREVALENCE)
    assert moved[1].sum() / moved[2].sum() == pytest.approx(3)
    assert moved[0, 1] / moved[0, 0] == pytest.approx(0.2)


def test_f1_is_perfect_where_all_is_right_and_nothing_where_a_class_is_never_called(
    table: Table,
) -> None:
    found = stride_grades.f1_table(table, "test", 5)
    rows = {row[0]: dict(zip(found["columns"], row, strict=True)) for row in found["rows"]}
    assert rows["swift"]["macro-F1"] == {"estimate": 1.0, "low": 1.0, "high": 1.0}
    assert rows["two_stage"]["LSIL"]["estimate"] == 0
    assert rows["two_stage"]["ASC-US"]["estimate"] == 1
    assert rows["stain_aug"]["NILM"] == "not run"
    assert rows["control: always NILM"]["NILM"] == pytest.approx(2 * 0.79 / 1.79, abs=1e-4)


def test_two_methods_are_compared_on_the_seeds_that_both_ran_with(
    store: CropStore, tmp_path: Path
) -> None:
    for method, seed, blind in (("two_stage", 1, ()), ("swift", 1, ()), ("swift", 2, CLASSES[1:])):
        write_scores(tmp_path / "scores" / f"{method}_{seed}.csv", made_up(store, blind))
    table = Table([tmp_path])
    assert table.common_seeds("two_stage", "swift") == [1]
    assert table.common_seeds("two_stage", "ceiling") == []
    found = stride_paper_tables.ablation_table(table, "test", 5)
    rows = {row[0]: dict(zip(found["columns"], row, strict=True)) for row in found["rows"]}
    # Seed 2 of swift calls nothing; against the mean of both, two_stage would be better.
    assert rows["two_stage"]["AUC less swift's"] == {"estimate": 0.0, "low": 0.0, "high": 0.0}
    assert rows["swift"]["AUC"]["estimate"] < 1


def test_missed_slides_are_counted_by_class_and_above_the_mildest(table: Table) -> None:
    found = stride_centres.missed_table(table, "unseen")
    rows = {row[0]: dict(zip(found["columns"], row, strict=True)) for row in found["rows"]}
    assert rows["two_stage"]["LSIL (of 2)"] == "2"
    assert rows["two_stage"]["ASC-H (of 2)"] == "0"
    assert rows["two_stage"]["above ASC-US alone"] == "4"
    assert rows["color_adv"]["ASC-US (of 2)"] == "not run"
    calls = stride_centres.calls_table(table, "unseen")["rows"]
    assert calls[0] == ["two_stage", "6", "4", "0", "10"]


def test_counts_are_averaged_over_seeds() -> None:
    called = np.array([[True, False, False], [True, True, False]])
    labels = ["LSIL", "LSIL", "NILM"]
    assert stride_centres.missed_by_class(labels, called) == {"LSIL": 0.5}
    assert [stride_centres.mean_count(v) for v in (3.0, 0.5, 10.0)] == ["3", "0.5", "10"]


def test_a_centres_row_holds_its_own_slides_and_the_last_row_all(table: Table) -> None:
    rows = stride_centres.centre_rows(table, "two_stage", "unseen", 5)
    assert [(row.centre, row.n) for row in rows] == [("C0", 10), ("C1", 10), ("all", 20)]
    assert rows[0].n_positive == 0  # the toy store's positive slides are all of C1
    assert np.isnan(rows[0].sensitivity.estimate)
    assert rows[1].sensitivity.estimate == pytest.approx(0.6)
    assert rows[-1].specificity.estimate == 1


def test_sensitivity_at_equal_specificity_takes_the_lowest_threshold_that_reaches_it() -> None:
    truth = np.array([False] * 20 + [True] * 4)
    score = np.array([*np.linspace(0, 0.95, 20), 0.1, 0.6, 0.65, 0.9])
    assert stride_paper_tables.sensitivity_at_equal(truth, score) == 0.5


def test_scores_of_another_cohort_are_refused(store: CropStore, out: Path, tmp_path: Path) -> None:
    other = made_up(store, ())
    fewer = Scores(other.slides[:-1], other.p[:-1], CLASSES, 0.5, False)
    write_scores(tmp_path / "scores" / "swift_3.csv", fewer)
    with pytest.raises(ManifestError, match="another cohort"):
        Table([out, tmp_path])


def test_the_page_is_whole_where_most_methods_are_missing(
    store: CropStore, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "stride_paper.json"
    monkeypatch.setattr(stride_paper, "SMOKE_DRAWS", 3)
    arguments = [str(out), "--cohort", str(store.folder), "--smoke", "--page", str(page)]
    monkeypatch.setattr(sys, "argv", ["stride_paper.py", *arguments])
    stride_paper.main()
    told = json.loads(page.read_text())
    assert "Not run: two_stage_nilm, ceiling, slide_ft" in told["notes"][-1]
    for name in told["pictures"]:
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    ablations = told["tables"]["Ablations, test (S-31)"]
    assert [row[0] for row in ablations["rows"]] == list(stride_paper_tables.METHODS)
    two_stage = dict(zip(ablations["columns"], ablations["rows"][0], strict=True))
    assert two_stage["AUC less swift's"]["estimate"] == pytest.approx(0.8 - 1)
    for table in told["tables"].values():
        widths = {len(row) for row in table.get("rows", [])}
        assert widths <= {len(table.get("columns", []))}


def test_workload_is_that_of_the_calls_at_the_papers_prevalence(table: Table) -> None:
    made = stride_paper_tables.workload_table(table, "test", 20)
    rows = {row[0]: dict(zip(made["columns"], row, strict=True)) for row in made["rows"]}
    found = {name: cell["estimate"] for name, cell in rows["two_stage"].items() if name != "method"}
    assert found["sensitivity"] == pytest.approx(0.6)  # two of five positive classes are missed
    assert found["all slides ruled out"] == pytest.approx(0.79 + 0.4 * 0.21, abs=1e-4)
    assert found["NPV"] == pytest.approx(0.79 / (0.79 + 0.4 * 0.21), abs=1e-4)
    assert found["positive among the ruled out"] == pytest.approx(1 - found["NPV"], abs=2e-4)
    assert found["missed of 1,000"] == pytest.approx(84)
    assert rows["ceiling"]["sensitivity"] == "not run"
