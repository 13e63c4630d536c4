from __future__ import annotations

import re
import string
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

import koilo.report
from koilo.bundle import load_bundle
from koilo.report.language import LANGUAGES, load_language
from koilo.report.page import report_html
from koilo.report.sign import SignConfig, sign
from koilo.signatures import ADEQUACIES, MEANINGS, ORGANISMS
from koilo.taxonomy import CYTOLOGY, load_table
from koilo.taxonomy.follow_up import HISTORIES, OUTCOMES, REASONS, TABLES, load_follow_up
from koilo.types import Adequacy, Disagreement, ImageQuality, Removal

from .slide_folder import write_slide

TEXTS = {code: load_language(code).texts for code in LANGUAGES}
PHRASES = load_language("zh").phrases
TEMPLATES = Path(koilo.report.__file__).parent / "templates"


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_all_languages_have_the_same_keys_with_the_same_placeholders():
    for code in LANGUAGES:
        assert list(TEXTS[code]) == list(TEXTS["en"])
        for key, text in TEXTS[code].items():
            assert placeholders(text) == placeholders(TEXTS["en"][key]), key
            assert re.findall(r"</?\w+", text) == re.findall(r"</?\w+", TEXTS["en"][key]), key


def test_no_key_is_written_twice_in_a_table():
    for code in LANGUAGES:
        text = files("koilo.report").joinpath("texts", f"{code}.yaml").read_text("utf-8")
        node = yaml.compose(text)
        for _, table in node.value:
            keys = [key.value for key, _ in table.value]
            assert len(keys) == len(set(keys))


def test_every_key_that_the_templates_ask_for_exists_and_none_is_idle():
    asked = set()
    for path in [*TEMPLATES.glob("*.html"), *TEMPLATES.parent.glob("*.py")]:
        text = path.read_text("utf-8")
        asked |= set(re.findall(r'\b(?:t|plain|language)\(\s*f?"([\w. -]+)"', text))
        asked |= set(re.findall(r'texts\["([\w.]+)"\]', text))
        asked |= set(re.findall(r'else t\("([\w.]+)"', text))
    asked = {key for key in asked if key in TEXTS["en"]}
    made = (
        "case. class. signed. adequacy. zone. category. organism. meaning. outcome. reason. fact."
    )
    made += " notice. flag. obscuring. follow_up. reasons. removal. hint."
    idle = [
        key for key in TEXTS["en"] if key not in asked and not key.startswith(tuple(made.split()))
    ]
    assert idle == []


def test_every_word_of_signatures_and_tables_has_its_text():
    wanted = [f"class.{name}" for name in CYTOLOGY]
    wanted += [f"meaning.{name}" for name in MEANINGS] + [f"outcome.{name}" for name in OUTCOMES]
    wanted += [f"reason.{name}" for name in REASONS] + [f"adequacy.{name}" for name in ADEQUACIES]
    wanted += [f"organism.{name}" for name in ORGANISMS]
    wanted += [f"case.history.{name}" for name in HISTORIES]
    assert [key for key in wanted if key not in TEXTS["en"]] == []


def test_fixed_texts_of_bundle_tables_and_vocabulary_are_translated():
    spec = load_bundle("cytology").spec
    fixed = [row["text"] for row in load_table("descriptions")["descriptions"]]
    fixed += [*spec["not_assessed"], *spec["trained_on"]]
    fixed += [point["set"] for point in spec["operating_points"].values()]
    for name in TABLES:
        fixed += [rule.note for rule in load_follow_up(name).rules if rule.note]
    assert [text for text in fixed if text not in PHRASES] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rescan: no cells found", "需重新扫描：未发现细胞"),
        (
            "rescan: out of focus over 61 % of the specimen; no stain",
            "需重新扫描：标本的 61 % 失焦；未染色",
        ),
        (
            "rescan: no cells found (only pen and bubbles on the slide)",
            "需重新扫描：未发现细胞（切片上只有笔迹和气泡）",
        ),
        ("not assessable: no limit for preparation other", "无法评估：制片方式“其他”没有下限"),
        (
            "nuclear enlargement >3x: measured nuclear area, times an intermediate nucleus, is 1.2",
            "核增大 3 倍以上：实测核面积倍数为 1.2，与此不符",
        ),
        ("called LSIL, but cells are most like HSIL+SCC", "切片判为 LSIL，但细胞最接近 HSIL+SCC"),
        ("Smith and Jones: he is ill", "Smith and Jones: he is ill"),
        ("a laboratory's own words", "a laboratory's own words"),
    ],
)
def test_a_verdict_is_translated_in_its_parts(text, said):
    assert load_language("zh").phrase(text) == said
    assert load_language("en").phrase(text) == text


def test_a_fold_is_read_out_class_by_class():
    assert load_language("en").class_name("HSIL+SCC") == (
        "high-grade squamous intraepithelial lesion or squamous cell carcinoma"
    )
    assert load_language("zh").class_name("HSIL+SCC") == "高级别鳞状上皮内病变或鳞状细胞癌"
    assert load_language("zh").class_name("their own") == "their own"


class Prose(HTMLParser):
    """The page's words less data of others: what stands in bdi, cite, style and code."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self._inside: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag in ("bdi", "cite", "style", "svg", "title"):
            self._inside.append(tag)
        self.words += [value for name, value in attrs if name in ("alt", "aria-label", "title")]

    def handle_endtag(self, tag):
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data):
        if not self._inside:
            self.words.append(data)


ALLOWED = {"koilo", "AGC", "p", "n", "HPV", "CIN", "SCC", "HSIL", "LSIL", "ASC", "US", "H", "NILM"}
ALLOWED |= {
    "m",
    "CC",
    "BY",
    "CRIC",
    "Rezende",
    "Dr",
    "co",
    "test",
    "s",
    "sens",
    "thinprep",
    "ThinPrep",
}


def test_no_english_is_left_in_the_chinese_page_but_class_codes(tmp_path, positive, spec):
    bundle = load_bundle("cytology").spec
    flags = ("pen", "bubbles", "edge", "missing", "blur", "mpp mismatch")
    vocabulary = [row["text"] for row in load_table("descriptions")["descriptions"]]
    cells = tuple(
        replace(cell, descriptions=tuple(vocabulary[i % 18 : i % 18 + 3]), contribution=0.1)
        for i, cell in enumerate(positive.cells)
    )
    case = {
        "age": "47",
        "hpv": "16",
        "pregnant": "no",
        "history": "none",
        "preparation": "thinprep",
    }
    slide = replace(
        positive,
        cells=cells,
        threshold=bundle["operating_points"]["sens95"]["threshold"],
        image_quality=ImageQuality(
            "rescan: out of focus over 61 % of the specimen; pen covers 12 % of the specimen",
            flags,
            {"blurred_share": 0.61, "pen_share": 0.12, "missing_share": 0.0, "tiles_measured": 9.0},
        ),
        adequacy=Adequacy("scant, abnormal cells suspected", 900, 700, 1100, 5000, "thinprep"),
        slide={"mpp": 0.25, "mpp_source": "given", "synthetic": "phantom", "case": case},
        seconds={name: 1.0 for name in ("open", "search", "cells", "head", "report", "total")},
        provenance={
            "koilo_version": "0.1.0",
            "bundle": "x",
            "settings": {"mpp": 0.2, "workers": 1},
        },
    )
    slide = replace(
        slide,
        needs_human=True,
        needs_human_why=(
            "neither negative nor positive can be ruled out",
            "called LSIL, but cells are most like HSIL+SCC",
            "the score is like negative slides only, against the call",
            slide.image_quality.verdict,
        ),
        ood_score=0.97,
        removal=Removal(True, (0, 2), 0.2, 32),
        disagreement=Disagreement("graver cells", "LSIL", "HSIL", 5, 0.91),
    )
    folder = write_slide(tmp_path, slide, bundle)
    first = SignConfig(tmp_path, slide.slide_id, "王丽", "approved", "HSIL, AGC")
    more = {"organisms": "candida, herpes", "adequacy": "satisfactory", "hpv": "unknown"}
    more |= {"follow_up": "co-test-2019", "endometrial_cells": True}
    for step in range(2):
        page = report_html(folder, "zh")
        words = set(re.findall(r"[A-Za-z]+", " ".join(filter(None, Prose(page).words))))
        assert words <= ALLOWED, words - ALLOWED
        assert 'lang="zh"' in page
        if step == 0:
            sign(replace(first, **more))
    assert "阴道镜检查" in page
    assert "年龄 47；HPV 不详；病史：无；妊娠：否" in page
