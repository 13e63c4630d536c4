"""The driver of the comparison and its report, on a toy cohort in a few steps."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from koilo.datasets.crop_store import CropStore
from koilo.errors import ConfigError, ManifestError
from koilo.evaluate.scores import auc
from koilo.train.stages import build_model, score_store, write_scores
from tests.conftest import ROOT
from tests.runs.toy_plan import PLAN
from tests.train.toy_store import make_toy_store

sys.path.insert(0, str(ROOT / "runs"))

import stride
import stride_page
import stride_report
import stride_scores


@pytest.fixture(scope="module")
def out(store: CropStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every method, trained for two steps with one seed."""
    folder = tmp_path_factory.mktemp("out")
    study = stride.Study(store, PLAN, folder, 1, {})
    for method in stride.METHODS:
        write_scores(folder / "scores" / f"{method}_1.csv", study.scores(method))
    return folder


def test_every_method_leaves_scores_of_every_slide(out: Path) -> None:
    for method in stride.METHODS:
        with open(out / "scores" / f"{method}_1.csv", newline="") as handle:
            rows = list(csv.DictReader(handle))
        assert len(rows) == 50
        assert {row["split"] for row in rows} == set(stride.SPLITS)
        assert len({row["threshold"] for row in rows}) == 1


def test_what_is_on_disk_is_not_trained_again(store: CropStore, out: Path) -> None:
    weights = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*.safetensors")}
    assert len(weights) == 3 * 2 + 1 + 3 + 5  # two stages thrice, start, joint methods, colours
    again = stride.Study(store, PLAN, out, 1, {}).scores("color_adv")
    with open(out / "scores" / "color_adv_1.csv", newline="") as handle:
        told = [float(row["p_positive"]) for row in csv.DictReader(handle)]
    assert np.allclose(again.p_positive, told, atol=1e-5)
    assert weights == {path: path.stat().st_mtime_ns for path in weights}


def test_tuning_tries_each_rate_once_and_later_runs_take_the_better(
    store: CropStore, tmp_path: Path
) -> None:
    stride.tune(store, PLAN, tmp_path, 1, ["two_stage", "swift"])
    folders = {path.name for path in (tmp_path / "runs" / "1").iterdir()}
    chosen = json.loads((tmp_path / "tuned.json").read_text())["rates"]["two_stage"]
    begun = f"two_stage-{chosen}"
    assert folders == {
        "two_stage-base",
        "two_stage-slow",
        f"{begun}+swift-base",
        f"{begun}+swift-slow",
    }


def test_the_report_is_made_from_scores_alone(
    store: CropStore, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stride_report, "DRAWS", 20)
    table = stride_scores.Table([out])
    table.write(tmp_path / "scores.parquet")
    stored = pq.read_table(tmp_path / "scores.parquet")
    assert stored.num_rows == 50 * len(stride.METHODS)
    options = Namespace(cohort=store.folder, outs=[out], out=tmp_path / "stride.json", smoke=False)
    provisional = {f"{v} on 1 of 3 seeds: provisional" for v in ("holds", "does not hold")}
    for converged, verdicts in ((True, provisional), (False, {"not judged"})):
        page = stride_report.page(table, dict.fromkeys(table.methods, converged), options)
        rows = page["tables"]["Verdicts"]["rows"]
        assert len(rows) == len(stride_report.CLAIMS)
        assert {row[-1] for row in rows} <= verdicts
    shares = page["tables"]["Share of the gap to the colour twins that is recovered"]["rows"]
    assert [row[0] for row in shares] == list(stride.COLOUR)
    positive = [label != "NILM" for label in table.labels("unseen")]
    won = [auc(positive, table.scores(name, "unseen")[0]) for name in ("random_shift", "swift")]
    assert shares[1][2]["estimate"] == pytest.approx(won[0] - won[1], abs=1e-4)
    assert shares[1][2]["low"] <= shares[1][2]["estimate"] <= shares[1][2]["high"]
    assert len(page["tables"]["Methods, split unseen"]["rows"]) == len(stride.METHODS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda row: row | {"label": "LSIL" if row["label"] == "NILM" else "NILM"},
            "another cohort",
        ),
        (lambda row: row | {"p_positive": "nan"}, "not between 0 and 1"),
        (lambda row: row | {"p_LSIL": "1.5"}, "not between 0 and 1"),
        (lambda row: row | {"threshold": "0." + row["slide_id"][-1]}, "not the same in all rows"),
        (lambda row: {k: v for k, v in row.items() if k != "centre"}, "no whole file of scores"),
        (lambda row: row, "another folder has scores of swift, seed 1"),
    ],
)
def test_scores_that_do_not_belong_together_are_refused(
    out: Path, tmp_path: Path, change, said: str
) -> None:
    with open(out / "scores" / "swift_1.csv", newline="") as handle:
        rows = [change(row) for row in csv.DictReader(handle)]
    (tmp_path / "scores").mkdir()
    with open(tmp_path / "scores" / "swift_1.csv", "w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(ManifestError, match=said):
        stride_scores.Table([out, tmp_path])


@pytest.mark.parametrize("cut", [0.0, 0.6, -4])
def test_a_file_of_scores_that_was_cut_short_is_refused_by_name(
    store: CropStore, out: Path, tmp_path: Path, cut: float
) -> None:
    whole = (out / "scores" / "swift_1.csv").read_text()
    lines = whole.splitlines(keepends=True)
    path = tmp_path / "scores" / "swift_1.csv"
    path.parent.mkdir()
    path.write_text(whole[: int(cut * len(whole)) if cut >= 0 else int(cut)])
    with pytest.raises(ManifestError, match=r"swift_1\.csv is no whole file of scores"):
        stride_scores.Table([tmp_path])
    path.write_text("".join(lines[:-1]))
    with pytest.raises(ManifestError, match=r"swift_1\.csv has 9 slides.*, not the 10"):
        stride_scores.Table([tmp_path]).refuse_other_slides(store)
    path.write_text(whole)
    stride_scores.Table([tmp_path]).refuse_other_slides(store)
    path.rename(path.with_name("swift_old.csv"))
    with pytest.raises(ManifestError, match="is named <method>_<seed>"):
        stride_scores.Table([tmp_path])


def test_scores_without_logs_make_a_report_in_which_nothing_is_judged(
    store: CropStore, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stride_report, "DRAWS", 5)
    copied = tmp_path / "out"
    shutil.copytree(out / "scores", copied / "scores")
    arguments = [str(copied), "--cohort", str(store.folder), "--smoke"]
    monkeypatch.setattr(sys, "argv", ["stride_report.py", *arguments])
    assert stride_page.run_script(stride_report.main) == 0
    told = json.loads((copied / "stride.json").read_text())
    assert told["notes"][0] == stride_page.SMOKE
    assert {row[-1] for row in told["tables"]["Verdicts"]["rows"]} == {"not judged"}
    assert pq.read_table(copied / "stride_scores.parquet").num_rows == 50 * len(stride.METHODS)


def test_a_cohort_without_unseen_centres_is_scored_and_reported_for_what_it_has(
    store: CropStore, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stride_report, "DRAWS", 20)
    seen = ("train", "validation", "test")
    small = make_toy_store(tmp_path / "small", n_slides=12, splits=seen)
    model = build_model(PLAN.net, 1)
    classes, top_k = PLAN.net.classes, PLAN.settings.top_k
    scores = score_store(model, small, classes, top_k, stride.SPLITS)
    assert {slide.split for slide in scores.slides} == set(seen)
    table = stride_scores.Table([out])
    table.runs = {key: run for key, run in table.runs.items() if key[2] in seen}
    options = Namespace(
        cohort=store.folder, outs=[out], out=tmp_path / "composed.json", smoke=False
    )
    page = stride_report.page(table, dict.fromkeys(table.methods, True), options)
    assert page["name"] == "composed"
    assert "Methods, split unseen" not in page["tables"]
    verdicts = {row[0]: row[2] for row in page["tables"]["Verdicts"]["rows"]}
    told = {claim.text: claim.split for claim in stride_report.CLAIMS}
    assert {told[text] for text, shown in verdicts.items() if shown != "not run"} == {"test"}


def test_weights_to_begin_from_can_be_named_and_wrong_ones_are_refused(
    store: CropStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    start = tmp_path / "none.safetensors"
    arguments = [str(store.folder), str(tmp_path / "out"), "--smoke", "--start", str(start)]
    monkeypatch.setattr(sys, "argv", ["stride.py", *arguments, "--threads", "1"])
    assert stride.main() == 2
    assert f"The weights {start} do not fit" in capsys.readouterr().err


def test_an_out_of_another_cohort_or_plan_is_refused_not_taken_as_trained(
    store: CropStore, tmp_path: Path
) -> None:
    stride.refuse_other_study(tmp_path, store, PLAN)
    stride.refuse_other_study(tmp_path, store, PLAN)
    other = make_toy_store(tmp_path / "other", n_slides=50, seed=1)
    longer = replace(PLAN, joint=replace(PLAN.joint, steps=9))
    for cohort, plan in ((other, PLAN), (store, longer)):
        with pytest.raises(ConfigError, match="another cohort, start or plan"):
            stride.refuse_other_study(tmp_path, cohort, plan)


def test_convergence_is_read_from_the_methods_own_run(out: Path) -> None:
    own = out / "runs" / "1" / "two_stage-base+swift-base" / "log.jsonl"
    told = own.read_text()
    lines = [
        json.dumps({"step": n, "evaluate": {"student_auc": auc}})
        for n, auc in ((1, 0.7), (2, 0.702))
    ]
    try:
        own.write_text("\n".join(lines))
        assert stride_report._converged(out, "swift", 1)
        own.write_text("\n".join(lines).replace("0.702", "0.71"))
        assert not stride_report._converged(out, "swift", 1)
        # Killed between its last measurement and its metrics, a run measures the last step twice.
        own.write_text("\n".join([*lines, lines[-1]]).replace("0.702", "0.71"))
        assert not stride_report._converged(out, "swift", 1)
    finally:
        own.write_text(told)


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(Exception, match="no method 'swfit'"):
        stride._known(["swfit"])
    assert stride._known(["swift", "two_stage"]) == ["two_stage", "swift"]


@pytest.mark.parametrize("words", ["a", "1,,2", "", "-1", "1.5"])
def test_what_is_no_seed_is_refused_in_one_line(
    words: str, store: CropStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    arguments = [str(store.folder), str(tmp_path / "out"), f"--seeds={words}"]
    monkeypatch.setattr(sys, "argv", ["stride.py", *arguments])
    assert stride.main() == 2
    told = capsys.readouterr().err.strip()
    assert told.count("\n") == 0
    assert "is no seed. Allowed: whole numbers" in told


def test_a_damaged_choice_of_rates_is_named(tmp_path: Path) -> None:
    (tmp_path / "tuned.json").write_text('{"rates": {"swift": "fast"}, "validation_auc": {}}')
    with pytest.raises(ConfigError, match=r"tuned\.json is not what --tune leaves"):
        stride.tuned_rates(tmp_path)
