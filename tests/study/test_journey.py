"""From a plan over forms that people filled in to a report, and what is refused on the way."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from koilo.cli import main
from koilo.errors import ConfigError, ManifestError, OutputError
from koilo.study.collect import RecordConfig, record
from koilo.study.forms import FORMS
from koilo.study.plan import PlanConfig, plan
from koilo.study.size import SizeConfig, size_table
from koilo.study.verb import ReportConfig, report

from .made_study import LABELS, edit, fill_forms, write_manifest


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plan of three readers whose forms are all filled in."""
    folder = tmp_path_factory.mktemp("study")
    manifest = write_manifest(folder)
    readers = ("anna", "bo", "chen")
    plan(PlanConfig(manifest=manifest, out=folder / "plan", readers=readers, seed=3))
    fill_forms(folder / "plan")
    with pytest.raises(ManifestError, match=r"differ on 2 slides, and 2 have no arbitration"):
        record(RecordConfig(folder / "plan", folder / "record.csv"))
    truth = {f"s{i:02}": label for i, label in enumerate(LABELS)}
    edit(
        folder / "plan" / FORMS / "arbitration.csv",
        lambda _, row: row.update(call=truth[row["slide_id"]]),
    )
    return folder


@pytest.fixture
def study(filled: Path, tmp_path: Path) -> Path:
    """The same, to be spoilt."""
    shutil.copytree(filled / "plan", tmp_path / "plan")
    return tmp_path


def made_record(folder: Path) -> Path:
    record(RecordConfig(folder / "plan", folder / "record.csv"))
    return folder / "record.csv"


def refused(folder: Path) -> str:
    with pytest.raises(ManifestError) as error:
        made_record(folder)
    return str(error.value)


def test_forms_show_no_class_and_a_panel_form_shows_no_reader(filled: Path) -> None:
    for path in (filled / "plan" / FORMS).glob("*.csv"):
        with open(path, newline="") as file:
            columns = set(csv.DictReader(file).fieldnames or ())
        assert not columns & {"label", "gold", "group", "hospital"}
        assert "reader" not in columns or path.name.startswith("reader")


def test_a_study_goes_from_plan_to_report_on_the_command_line(study: Path) -> None:
    path = made_record(study)
    out = study / "report"
    assert main(["study", "report", str(path), "--out", str(out), "--draws", "60"]) == 0
    values = json.loads((out / "study.json").read_text())
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    positives = [row for row in rows if row["gold"] != "NILM"]
    with_ai = [
        row["first_review"] if row["first_ai"] == "with" else row["second_review"]
        for row in positives
    ]
    share = np.mean([call != "NILM" for call in with_ai])
    found = values["shares"]["sensitivity"]
    assert values["conditions"] == ["without AI", "with AI"]
    assert found["second"]["estimate"] == pytest.approx(share, abs=1e-5)
    assert found["difference"]["low"] > 0
    assert found["clustered"]
    assert [claim["shown"] for claim in found["claims"]][:2] == [True, True]
    assert values["counts"]["n_readers"] == 3
    assert values["times"]["difference"]["high"] < 0
    assert {row["name"] for row in values["readers"]} == {"anna", "bo", "chen"}
    hospitals = {(row["hospital"], row["who"]): row for row in values["hospitals"]}
    alone = hospitals["all", "AI alone"]
    assert (alone["true_positive"], alone["true_negative"]) == (24, 24)
    assert hospitals["H0", "with AI"]["true_positive"] == sum(
        call != "NILM" for call, row in zip(with_ai, positives, strict=True)
        if row["hospital"] == "H0"
    )  # fmt: skip
    tables = {(row["hospital"], row["who"]): row["table"] for row in values["class_tables"]}
    whole = np.array(tables["all", "with AI"])
    assert whole.sum() == len(rows)
    assert (whole == np.array(tables["H0", "with AI"]) + tables["H1", "with AI"]).all()
    hsil = values["classes"].index("HSIL")
    assert whole[hsil, hsil] == sum(
        call == "HSIL" for call, row in zip(with_ai, positives, strict=True)
        if row["gold"] == "HSIL"
    )  # fmt: skip
    assert values["key_points"]["arbitrated_to_negative"]["slides"] == ["s03"]
    for name in ("study.md", "study.html"):
        page = (out / name).read_text()
        assert "Research use only" in page
        assert "<script" not in page
        assert "Made NILM by arbitration: 1 (s03)" in page
    assert (out / "hospitals.csv").is_file()


def test_the_same_seed_gives_the_same_plan_and_statistics(study: Path, filled: Path) -> None:
    plan(PlanConfig(manifest=filled / "manifest.csv", out=study / "again",
                    readers=("anna", "bo", "chen"), seed=3))  # fmt: skip
    again = json.loads((study / "again" / "plan.json").read_text())
    first = json.loads((study / "plan" / "plan.json").read_text())
    assert again["assignments"] == first["assignments"]
    path = made_record(study)
    found = []
    for name in ("one", "two"):
        report(ReportConfig(path, study / name, draws=30))
        found.append(json.loads((study / name / "study.json").read_text()))
    assert [values.pop("config")["out"] for values in found] == [
        str(study / "one"),
        str(study / "two"),
    ]
    assert found[0] == found[1]


def test_short_washout_and_missing_reviews_are_named_and_not_compared(study: Path) -> None:
    def hurry(number: int, row: dict[str, str]) -> None:
        if number == 0:
            row["read_on"] = "2026-03-12"
        if number == 1:
            row["call"] = ""

    form = study / "plan" / FORMS / "reader_bo_period_2.csv"
    edit(form, hurry)
    with open(form, newline="") as file:
        first, second = [row["slide_id"] for row in csv.DictReader(file)][:2]
    path = made_record(study)
    report(ReportConfig(path, study / "out", draws=20))
    values = json.loads((study / "out" / "study.json").read_text())
    left_out = {row["reading"]: row["why"] for row in values["left_out"]}
    assert set(left_out) == {f"{first} (bo)", f"{second} (bo)"}
    assert "28 are needed" in left_out[f"{first} (bo)"]
    assert left_out[f"{second} (bo)"] == "no second review"
    assert values["counts"]["n_compared"] == values["counts"]["n_readings"] - 2
    assert f"{second} (bo)" in (study / "out" / "study.html").read_text()


def test_a_missing_arm_and_a_missing_period_are_refused(study: Path) -> None:
    path = made_record(study)
    lines = path.read_text().splitlines()
    one_arm = [line for line in lines if ",B," not in line[:8]]
    path.write_text("\n".join(one_arm) + "\n")
    with pytest.raises(ManifestError, match="no reading of arm B"):
        report(ReportConfig(path, study / "out"))
    for form in (study / "plan" / FORMS).glob("reader_*_period_2.csv"):
        form.unlink()
    with pytest.raises(ManifestError, match="none of 144 readings has both reviews"):
        report(ReportConfig(made_record(study), study / "out"))
    assert not (study / "out").exists()


def test_a_spoilt_form_is_refused_by_row_and_column(study: Path) -> None:
    form = study / "plan" / FORMS / "reader_anna_period_1.csv"
    lines = form.read_text().splitlines()
    form.write_text("\n".join([*lines, lines[1], lines[2].replace("anna", "bo")]) + "\n")

    def spoil(number: int, row: dict[str, str]) -> None:
        if number == 0:
            row.update(call="CIN3", seconds="fast", read_on="1.3.2026")
        if number == 1:
            row.update(ai="with" if row["ai"] == "without" else "without", study="0123456789")

    edit(form, spoil)
    message = refused(study)
    assert message.count("\n") == 0
    for said in (
        "row 2, call: 'CIN3' is no class",
        "row 2, read_on: '1.3.2026' is no day (allowed: year-month-day",
        "row 2, seconds: 'fast' is no reading time",
        "row 3, study: it is '0123456789'",
        "and the plan says",
        "stands twice (allowed: once)",
    ):
        assert said in message


def test_a_panel_that_left_slides_out_and_foreign_slides_are_refused(study: Path) -> None:
    form = study / "plan" / FORMS / "panel_1.csv"
    kept = form.read_text()
    edit(form, lambda number, row: row.update(call="") if number == 4 else None)
    assert "lacks the call of 1 slides" in refused(study)
    form.write_text(kept)
    edit(form, lambda number, row: row.update(slide_id="other") if number == 0 else None)
    assert "row 2, slide_id: 'other' is not planned for this form" in refused(study)


def test_a_plan_is_not_overwritten_and_bad_settings_are_named_together(study: Path) -> None:
    manifest = write_manifest(study)
    with pytest.raises(OutputError, match="holds a plan already"):
        plan(PlanConfig(manifest=manifest, out=study / "plan", readers=("a",)))
    with pytest.raises(ConfigError, match=r"power is 2.*reader 'a/b'.*readers_a_slide is 3"):
        PlanConfig(manifest=manifest, out=study, readers=("a/b",), readers_a_slide=3, power=2)
    with pytest.raises(ConfigError, match="a twice"):
        PlanConfig(manifest=manifest, out=study, readers=("A", "a"))
    with pytest.raises(ConfigError, match="no plan of this koilo"):
        record(RecordConfig(study / "nowhere", study / "record.csv"))
    with pytest.raises(ConfigError, match=r"noninferiority_margin is 0\.05.*draws is 3"):
        ReportConfig(manifest, study, noninferiority_margin=0.05, draws=3)


def test_the_size_of_a_study_is_said_for_each_claim(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "size", "--discordance", "0.2"]) == 0
    assert "positives for sensitivity" in capsys.readouterr().err
    rows = {row[0]: row[1:] for row in size_table(SizeConfig()).rows}
    assert rows["superior by a margin (+5%)"][1] is None
    assert rows["not inferior (margin -5%)"][0] < rows["superior (margin 0)"][0]
    with pytest.raises(ConfigError, match=r"discordance is 0\.9"):
        SizeConfig(discordance=0.9)
