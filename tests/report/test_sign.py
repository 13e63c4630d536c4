"""The verb sign, what it writes into the report, and the report made anew from its folder."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from koilo.cli import main
from koilo.errors import ConfigError, OutputError
from koilo.files import folder_lock
from koilo.report import report_html
from koilo.report.sign import SignConfig, sign
from koilo.signatures import read_signatures, standing_signature
from koilo.types import SlideResult

from .conftest import Page
from .slide_folder import write_slide

CASE = {"case_id": "K-1", "age": "34", "hpv": "16", "pregnant": "no", "history": "none"}


@pytest.fixture
def out(tmp_path, positive, spec):
    """A results folder of one slide."""
    slide = {**positive.slide, "case": {**CASE, "collected_on": "2026-03-01"}}
    write_slide(tmp_path, replace(positive, slide=slide), spec)
    return tmp_path


def config(out, interpretation="HSIL", **changes) -> SignConfig:
    values = {"slide": "S-001", "reader": "Dr. A", "meaning": "reviewed"}
    return SignConfig(out, interpretation=interpretation, **(values | changes))


def fields(out, language="en"):
    return Page(report_html(out / "S-001", language)).fields


def test_before_signing_the_readers_part_awaits_a_reader(out):
    for name in ("adequacy", "category", "interpretation"):
        assert fields(out)[name] == ["awaiting reader"]
        assert fields(out, "zh")[name] == ["待阅片者签署"]


def test_signing_rewrites_the_report_with_category_interpretation_and_reader(out):
    assert sign(config(out, "LSIL, ASC-H", adequacy="satisfactory", remark="two groups")) == 0
    page = Page((out / "S-001" / "report.html").read_text("utf-8"))
    assert "awaiting reader" not in page.text
    assert "General category epithelial cell abnormality" in page.text
    assert "LSIL (low-grade squamous intraepithelial lesion); ASC-H (atypical" in page.text
    assert "Reviewed by Dr. A, 20" in page.text
    assert "satisfactory for evaluation" in page.text
    assert "two groups" in page.text
    assert "AI screening result: review advised" in page.text


def test_the_command_line_signs_and_says_what_was_signed(out, capsys):
    command = ["sign", str(out), "--slide", "S-001", "--reader", "王丽", "--meaning", "approved"]
    assert main([*command, "--interpretation", "HSIL"]) == 0
    assert "S-001: approved as HSIL by 王丽" in capsys.readouterr().err
    assert standing_signature(out / "S-001").interpretation == ("HSIL",)
    assert main([*command, "--interpretation", "NILM"]) == 2
    assert "--meaning amended" in capsys.readouterr().err
    assert main([*command[:-1], "signed", "--interpretation", "NILM"]) == 2
    assert "approved" in capsys.readouterr().err


def test_an_amendment_is_printed_with_what_it_amends(out):
    sign(config(out, "LSIL"))
    sign(config(out, "HSIL+AGC", meaning="amended", reader="Dr. B"))
    text = Page((out / "S-001" / "report.html").read_text("utf-8")).text
    assert "Amended by Dr. B" in text
    assert "Before that: Reviewed by Dr. A" in text
    assert ": LSIL" in text


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "د. فاطمة", "王丽", 'A "B" & C'])
def test_reader_and_remark_are_shown_as_they_are_and_never_become_markup(out, name):
    sign(config(out, reader=name, remark=name))
    page = Page(report_html(out / "S-001"))
    assert page.text.count(name) >= 2
    assert not page.all("script")


def test_a_page_is_not_made_over_a_result_that_changed_since(out):
    sign(config(out))
    path = out / "S-001" / "result.json"
    path.write_text(path.read_text().replace('"p_positive": 0.98', '"p_positive": 0.12'))
    with pytest.raises(OutputError, match=r"result\.json changed since Dr\. A signed it"):
        report_html(out / "S-001")


def test_a_failed_slide_cannot_be_signed(out, spec):
    write_slide(out, SlideResult("bad", "b.svs", "failed", error="It is torn."), spec)
    with pytest.raises(OutputError, match=r"was not read \(It is torn"):
        sign(config(out, slide="bad"))
    assert "It is torn." in Page(report_html(out / "bad")).text


@pytest.mark.parametrize("slide", ["S-002", "..", "../x", "", ".", "S-001/../S-001/x"])
def test_a_slide_that_is_not_there_is_named_and_nothing_outside_is_touched(out, slide):
    with pytest.raises(OutputError, match="holds no slide"):
        sign(config(out, slide=slide))


def test_a_folder_in_use_is_not_signed(out):
    with folder_lock(out), pytest.raises(OutputError, match="in use"):
        sign(config(out))
    assert read_signatures(out / "S-001") == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"interpretation": "NILM, HSIL"}, "contradicts itself"),
        ({"interpretation": "CIN3"}, "'CIN3' is unknown"),
        ({"interpretation": ""}, "no --interpretation"),
        ({"reader": "\n"}, "--reader"),
        ({"organisms": "aliens"}, "'aliens' is unknown"),
        ({"endometrial_cells": True}, "from 45 years on, and the age is 34"),
        ({"endometrial_cells": True, "age": "unknown"}, "the age is not known"),
        ({"follow_up": "mine"}, "no follow-up table 'mine'"),
        ({"immediate_risk_percent": 140.0}, "from 0 to 100"),
    ],
)
def test_what_cannot_be_signed_is_refused_and_leaves_no_trace(out, changes, said):
    before = (out / "S-001" / "report.html").read_bytes()
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
        sign(config(out, **changes))
    assert read_signatures(out / "S-001") == ()
    assert (out / "S-001" / "report.html").read_bytes() == before


def test_endometrial_cells_are_reported_from_45_on(out):
    sign(config(out, "NILM", endometrial_cells=True, age="45"))
    said = fields(out)
    assert said["category"] == ["other"]
    assert said["endometrial"] == ["endometrial cells, at an age of 45 or more"]


def test_an_unsatisfactory_specimen_has_no_interpretation_and_no_category(out):
    sign(config(out, "", adequacy="unsatisfactory"))
    assert fields(out)["adequacy"] == ["unsatisfactory for evaluation"]
    assert fields(out)["interpretation"] == ["none, the specimen is unsatisfactory"]


def test_no_follow_up_is_suggested_unasked(out):
    sign(config(out))
    assert "follow-up" not in fields(out)


def test_a_follow_up_takes_the_manifests_facts_and_carries_its_version(out):
    sign(config(out, follow_up="co-test-2019"))
    page = Page(report_html(out / "S-001"))
    assert page.fields["follow-up"] == ["expedited treatment"]
    assert "Table co-test-2019, version 1.0." in page.text
    assert "age 34; HPV positive, type 16; history: none; pregnant: no" in page.text
    assert "not an order" in page.text
    record = json.loads((out / "S-001" / "signatures.json").read_text())
    assert record["signatures"][0]["follow_up"]["version"] == "1.0"


def test_what_a_reader_gives_wins_over_the_manifest(out):
    sign(config(out, "ASC-US", follow_up="co-test-2019", hpv="unknown"))
    assert fields(out)["follow-up"] == ["HPV triage"]


def test_a_follow_up_without_its_facts_says_what_is_missing(out, positive, spec):
    write_slide(out, replace(positive, slide_id="bare", slide={"mpp": 0.25}), spec)
    sign(config(out, slide="bare", follow_up="co-test-2019"))
    said = Page(report_html(out / "bare")).fields["follow-up"]
    assert said[0].startswith("no suggestion, insufficient information: no age given")


def test_earlier_slides_of_the_case_are_compared_latest_first(out, positive, spec):
    for name, day, case in (
        ("old", "2022-01-31", "K-1"),
        ("older", "2019-05-02", "K-1"),
        ("later", "2026-04-01", "K-1"),
        ("undated", "spring", "K-1"),
        ("other", "2020-01-01", "K-2"),
    ):
        slide = {**positive.slide, "case": {"case_id": case, "collected_on": day}}
        write_slide(out, replace(positive, slide_id=name, slide=slide), spec)
    sign(config(out, "LSIL", slide="older"))
    text = Page(report_html(out / "S-001")).text
    part = text[text.index("Earlier slides of this case") : text.index("The slide")]
    assert part.index("2022-01-31 old review advised HSIL+SCC awaiting reader") < part.index(
        "2019-05-02 older review advised HSIL+SCC LSIL"
    )
    assert not any(name in part for name in ("later", "undated", "other"))
    assert "Earlier slides" not in Page(report_html(out / "older")).text


def test_the_laboratorys_header_stands_on_the_page_escaped(out):
    (out / "laboratory.yaml").write_text(
        'name: "<b>مختبر</b> 北京"\naddress: 1 Long St\n'
        'accession_line: "No. {accession} {slide_id}"\n',
        encoding="utf-8",
    )
    page = Page(report_html(out / "S-001"))
    assert "<b>مختبر</b> 北京 1 Long St No. – S-001" in page.text
    assert any(div.get("class") == "watermark" for div in page.all("div"))


def test_reports_are_signed_in_the_laboratorys_language(out):
    (out / "laboratory.yaml").write_text("language: zh")
    sign(config(out))
    page = (out / "S-001" / "report.html").read_text(encoding="utf-8")
    assert '<html lang="zh">' in page
    assert '<html lang="en">' in report_html(out / "S-001", "en")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nmae: x", "Did you mean 'name'"),
        ("[1, 2", "cannot be read as YAML"),
        ("just text", "cannot be read as YAML"),
        ("intended_use: clinical", "Allowed: research, laboratory"),
        ("language: de", "Allowed: en, zh"),
        (f"name: {'x' * 400}", "longer than 300"),
    ],
)
def test_a_malformed_header_is_refused_before_anything_is_signed(out, text, said):
    (out / "laboratory.yaml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        sign(config(out))
    assert read_signatures(out / "S-001") == ()


def test_research_use_is_the_default_and_only_the_laboratory_takes_the_watermark_off(out):
    def marks(page: Page) -> int:
        return sum(div.get("class") == "watermark" for div in page.all("div"))

    page = Page(report_html(out / "S-001"))
    assert marks(page) == 1
    assert "RESEARCH USE" in page.text
    (out / "laboratory.yaml").write_text("intended_use: laboratory")
    page = Page(report_html(out / "S-001"))
    assert marks(page) == 0
    assert "Research use only. Not" not in page.text + page.style
    assert "koilo is no licensed medical device" in page.text


def test_a_result_of_an_older_koilo_asks_to_be_screened_again(out):
    (out / "S-001" / "report.json").unlink()
    with pytest.raises(OutputError, match="Screen the slide again"):
        report_html(out / "S-001")
