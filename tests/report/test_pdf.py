"""The PDF as an independent reader sees it: text of both languages on every page."""

from __future__ import annotations

import builtins
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from koilo.errors import ConfigError, DependencyError
from koilo.report.pdf import report_pdf
from koilo.report.sign import SignConfig, sign
from tests.conftest import skip_or_fail

from .slide_folder import write_slide


@pytest.fixture
def pdftotext() -> str:
    try:
        import weasyprint  # noqa: F401  it loads Pango when it is imported
    except (ImportError, OSError) as error:
        skip_or_fail(f"WeasyPrint cannot be loaded ({error}): see .ci/system")
    path = shutil.which("pdftotext")
    if path is None:
        skip_or_fail("pdftotext is not installed (apt-get install poppler-utils)")
    return path


def pages(pdf: bytes, pdftotext: str, tmp_path) -> list[str]:
    (tmp_path / "r.pdf").write_bytes(pdf)
    command = [pdftotext, "-layout", str(tmp_path / "r.pdf"), "-"]
    text = subprocess.run(command, check=True, capture_output=True).stdout.decode()
    return text.split("\f")[:-1]


@pytest.mark.parametrize(
    ("language", "said", "notice"),
    [
        (
            "en",
            ("Reviewed by Dr. 王", "HSIL (high-grade", "expedited treatment"),
            "Research use only",
        ),
        ("zh", ("复核：Dr. 王", "高级别鳞状上皮内病变", "直接治疗"), "仅供研究使用"),
    ],
)
def test_the_pdf_says_what_the_page_says_and_research_use_on_every_page(
    language, said, notice, tmp_path, positive, spec, pdftotext
):
    case = {"age": "34", "hpv": "16", "pregnant": "no", "history": "none"}
    slide = {**positive.slide, "synthetic": "phantom", "case": case}
    few = {"cells": positive.cells[:6], "n_cells": 6}
    folder = write_slide(tmp_path, replace(positive, slide=slide, **few), spec)
    sign(SignConfig(tmp_path, "S-001", "Dr. 王", "reviewed", "HSIL", follow_up="co-test-2019"))
    pdf = report_pdf(folder, language)
    assert pdf.startswith(b"%PDF-")
    texts = pages(pdf, pdftotext, tmp_path)
    flat = "".join("".join(texts).split())
    assert all("".join(text.split()) in flat for text in said)
    assert len(texts) >= 2
    mark = "SYNTHETIC" if language == "en" else "合成切片"
    for text in texts:
        assert text.count(notice) >= 2
        assert mark in text


def test_an_unknown_language_has_no_pdf(tmp_path, positive, spec):
    with pytest.raises(ConfigError, match="Known: en, zh"):
        report_pdf(write_slide(tmp_path, positive, spec), "fr")


def test_without_weasyprint_one_line_says_what_to_install(tmp_path, positive, spec, monkeypatch):
    real = builtins.__import__

    def missing(name, *rest, **more):
        if name == "weasyprint":
            raise ImportError("No module named 'weasyprint'")
        return real(name, *rest, **more)

    monkeypatch.delitem(sys.modules, "weasyprint", raising=False)
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(DependencyError, match=r"pip install 'koilo\[export\]'") as caught:
        report_pdf(write_slide(tmp_path, positive, spec))
    assert "\n" not in str(caught.value)
