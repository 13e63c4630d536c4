"""koilo evaluate: from results and truth to measures, tables, a page and figures."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from koilo.cli import main
from koilo.errors import ConfigError, DependencyError, ManifestError
from koilo.evaluate import figures
from koilo.evaluate.delong import auc_interval
from koilo.evaluate.verb import EvaluateConfig, evaluate
from tests.evaluate.results_folder import failed, result, write_results, write_truth

RANDOM = np.random.default_rng(2)
LABELS = ["NILM"] * 30 + ["ASC-US"] * 8 + ["HSIL"] * 6 + ["AGC"] * 2
P = np.clip(RANDOM.normal(np.where(np.array(LABELS) == "NILM", 0.3, 0.65), 0.15), 0.01, 0.99)


@pytest.fixture
def study(tmp_path: Path) -> tuple[Path, Path]:
    """A results folder of 46 slides with one that failed and two without cells; its truth."""
    made = [result(f"s{i:02}", float(p), centre="AB"[i % 2]) for i, p in enumerate(P)]
    made += [failed("broken"), result("empty", None), result("bare", None), result("stray", 0.5)]
    labels = {f"s{i:02}": label for i, label in enumerate(LABELS)}
    labels |= {"broken": "LSIL", "empty": "NILM", "bare": "HSIL"}
    return (
        write_results(tmp_path / "results", made),
        write_truth(tmp_path / "truth" / "manifest.csv", labels),
    )


def test_a_results_folder_is_measured_whole(study: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["evaluate", str(study[0]), "--truth", str(study[1]), "--out", str(out)]
    assert main([*command, "--draws", "40", "--prevalence", "0.21"]) == 0
    values = json.loads((out / "measures.json").read_text())
    slides = values["slides"]
    assert (slides["n"], slides["n_judged"], slides["n_positive"]) == (50, 46, 16)
    assert {row["slide_id"] for row in slides["without_result"]} == {"broken", "empty", "bare"}
    assert slides["unlabelled"] == ["stray"]

    truth = np.array(LABELS) != "NILM"
    expected = auc_interval(truth, P)
    assert values["ranking"]["auc"]["estimate"] == pytest.approx(expected.estimate, abs=1e-6)
    called = P >= 0.4
    locked = values["locked"]
    assert locked["sensitivity"]["estimate"] == pytest.approx(called[truth].mean(), abs=1e-6)
    assert locked["specificity"]["estimate"] == pytest.approx((~called[~truth]).mean(), abs=1e-6)
    # Positives without a result: 2 of 18; neither called nor taken for negatives.
    unread = locked["unread_slides"]
    assert unread["sensitivity_if_missed"]["estimate"] == pytest.approx(
        called[truth].sum() / 18, abs=1e-6
    )
    assert unread["specificity_if_a_reader_sees_them"]["estimate"] == pytest.approx(
        (~called[~truth]).sum() / 31, abs=1e-6
    )
    assert {row["name"]: row["n"] for row in locked["groups"]} == {"ASC-H+": 6, "HSIL+": 6}
    assert values["grading"]["classes"] == ["NILM", "ASC-US", "LSIL", "AGC", "HSIL+SCC"]
    assert values["grading"]["never_called"] == ["ASC-US", "AGC"]
    assert np.sum(values["grading"]["table"]) == 46
    assert [row["centre"] for row in values["centres"]] == ["A", "B", "all"]
    assert values["locked"]["workload_at_prevalence"]["prevalence"] == 0.21
    row = next(row for row in locked["predictive"] if row["prevalence"] == 0.21)
    rates = [(locked["sensitivity"][b], locked["specificity"][b]) for b in ("estimate", "low")]
    expected_ppv = [0.21 * a / (0.21 * a + 0.79 * (1 - b)) for a, b in rates]
    assert [row["ppv"]["estimate"], row["ppv"]["low"]] == pytest.approx(expected_ppv, abs=1e-5)
    kappa, control = values["grading"]["kappa"], values["grading"]["always_negative"]["macro_f1"]
    assert kappa["low"] < kappa["estimate"] < kappa["high"]
    assert control == pytest.approx(2 * 30 / (30 + 46) / 4, abs=1e-6)  # NILM alone of four classes
    assert values["grading"]["f1"][0]["low"] is not None

    page = (out / "evaluation.md").read_text()
    for said in (
        "46 are judged",
        "Only 16 positives",
        "broken",
        "HSIL+",
        "never calls ASC-US, AGC",
    ):
        assert said in page
    with open(out / "centres.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["centre"], row["n"]) for row in rows] == [("A", "23"), ("B", "23"), ("all", "46")]
    with open(out / "not_judged.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 4
    for name in ("roc", "reliability", "decision_curve", "confusion", "centres"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_seed_gives_the_same_file_and_a_plain_binary_csv_will_do(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    lines = [f"s{i},{label},{p:.4f}" for i, (label, p) in enumerate(zip(LABELS, P, strict=True))]
    path.write_text("\n".join(["slide_id,label,p_positive", *lines]) + "\n")
    config = EvaluateConfig(path, tmp_path / "out", draws=25, no_figures=True)
    evaluate(config)
    first = (tmp_path / "out" / "measures.json").read_text()
    evaluate(config)
    assert (tmp_path / "out" / "measures.json").read_text() == first
    values = json.loads(first)
    assert values["locked"] is None
    assert values["grading"] is None
    assert values["ranking"]["spec_at_sens95"]["low"] is not None
    page = (tmp_path / "out" / "evaluation.md").read_text()
    assert "No locked measures: 46 of the 46 judged slides came without a threshold." in page
    assert not list((tmp_path / "out").glob("*.png"))


def test_costs_and_another_method_are_added_where_asked_for(
    study: tuple[Path, Path], tmp_path: Path
) -> None:
    weaker = np.clip(P + RANDOM.normal(0, 0.2, P.size), 0, 1)
    made = [result(f"s{i:02}", float(p)) for i, p in enumerate(weaker)]
    other, out = write_results(tmp_path / "other", made), tmp_path / "out"
    command = ["evaluate", str(study[0]), "--truth", str(study[1]), "--out", str(out)]
    asked = ["--costs", "cytology", "--against", str(other), "--draws", "20", "--no-figures"]
    assert main([*command, *asked]) == 0
    values = json.loads((out / "measures.json").read_text())
    likeliest, cheapest = (row["mean_cost"]["estimate"] for row in values["costs"]["calls"][:2])
    assert values["costs"]["likeliest_less_cheapest"]["estimate"] == pytest.approx(
        likeliest - cheapest, abs=1e-5
    )
    assert values["against"]["n"] == 46
    assert values["against"]["rows"][0]["difference"]["estimate"] > 0
    page = (out / "evaluation.md").read_text()
    for said in ("by the table cytology", "against the cheapest class", "exact McNemar", "other"):
        assert said in page
    for name in ("costs", "confusion_likeliest", "confusion_cheapest", "against"):
        assert (out / f"{name}.csv").is_file()


@pytest.mark.parametrize("label", ["NILM", "HSIL"])
def test_a_set_of_one_class_is_measured_as_far_as_it_goes(tmp_path: Path, label: str) -> None:
    made = [result(f"s{i}", p) for i, p in enumerate((0.2, 0.5, 0.7))]
    truth = write_truth(tmp_path / "m.csv", {f"s{i}": label for i in range(3)})
    out = tmp_path / "out"
    assert evaluate(EvaluateConfig(write_results(tmp_path / "r", made), out, truth)) == 0
    values = json.loads((out / "measures.json").read_text())
    assert values["ranking"] is None
    known, unknown = ("specificity", "sensitivity")[:: 1 if label == "NILM" else -1]
    assert values["locked"][known]["estimate"] is not None
    assert values["locked"][unknown]["estimate"] is None
    assert "a class is absent" in (out / "evaluation.md").read_text()


def test_four_slides_in_perfect_order_have_an_auc_and_no_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores, other = tmp_path / "scores.csv", tmp_path / "other.csv"
    rows = [("a", "HSIL", 0.9), ("b", "SCC", 0.8), ("c", "NILM", 0.3), ("d", "NILM", 0.2)]
    for path, turn in ((scores, 0), (other, 1)):
        lines = [f"{name},{label},{abs(turn - p):.1f}" for name, label, p in rows]
        path.write_text("\n".join(["slide_id,label,p_positive", *lines]) + "\n")
    command = ["evaluate", str(scores), "--against", str(other), "--out", str(tmp_path / "out")]
    assert main([*command, "--no-figures", "--draws", "20"]) == 0
    values = json.loads((tmp_path / "out" / "measures.json").read_text())
    nothing = {"low": None, "high": None}
    assert values["ranking"]["auc"] == {"estimate": 1.0, **nothing}
    assert values["ranking"]["spec_at_sens95"] == {"estimate": 1.0, **nothing}
    against = values["against"]["rows"][0]
    assert (against["difference"], against["p"]) == ({"estimate": 1.0, **nothing}, None)
    assert "AUC 1.000\n" in capsys.readouterr().err


def test_labels_without_a_single_result_are_refused(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "r", [failed("a")])
    truth = write_truth(tmp_path / "m.csv", {"a": "HSIL"})
    with pytest.raises(ManifestError, match="none of the 1 labelled slides has a result"):
        evaluate(EvaluateConfig(folder, tmp_path / "out", truth))
    assert not (tmp_path / "out").exists()


def test_all_wrong_settings_are_named_in_one_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"prevalence is 21.*draws is 3"):
        EvaluateConfig(tmp_path, tmp_path, prevalence=21, draws=3)


def test_without_matplotlib_one_line_says_what_to_install(
    study: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(DependencyError, match=r"pip install 'koilo\[train\]'"):
        evaluate(EvaluateConfig(study[0], tmp_path / "out", study[1]))
    evaluate(EvaluateConfig(study[0], tmp_path / "out", study[1], draws=20, no_figures=True))
    assert (tmp_path / "out" / "evaluation.md").is_file()


def test_figures_are_written_by_their_ending(tmp_path: Path) -> None:
    steps = np.arange(5)
    for ending, start in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        path = tmp_path / f"curve.{ending}"
        curves = {"swift": {"seed 1": (steps, steps / 5)}, "continued": {}}
        figures.draw_learning_curves(path, curves, measure="AUC")
        assert path.read_bytes().startswith(start)
    figures.draw_samples(tmp_path / "s.svg", {"p": ([0.1, np.nan], [0.3]), "none": ([], [1.0])})
    figures.draw_confusion(tmp_path / "c.svg", [[3, 0], [0, 0]], ["NILM", "HSIL"])
    assert {path.name for path in tmp_path.iterdir()} == {
        "curve.png",
        "curve.svg",
        "s.svg",
        "c.svg",
    }
