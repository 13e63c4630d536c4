"""The pages in a real browser: nothing cut, nothing fetched, research use on paper."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from koilo.report import render_index
from koilo.report.drawn import draw
from koilo.report.earlier import Earlier
from koilo.report.laboratory import Laboratory
from koilo.report.render import render_page
from koilo.signatures import Signature
from koilo.taxonomy.follow_up import Facts, load_follow_up, suggest

from .conftest import FRAME, below, make_crops, make_overview

pytestmark = pytest.mark.browser

# Elements that hold text and stick out of the body, or whose own text does not fit in them.
_OUTSIDE = """() => {
  const body = document.body.getBoundingClientRect();
  return [...document.querySelectorAll('h1,h2,h3,p,td,dd,li,figcaption,figure,table')]
    .filter(e => { const r = e.getBoundingClientRect();
      return r.right > body.right + 1 || r.left < body.left - 1
        || e.scrollWidth > e.clientWidth + 2; })
    .filter(e => !e.closest('.wide-table'))
    .map(e => e.tagName + ' ' + e.className + ': ' + e.textContent.trim().slice(0, 60));
}"""
# Words of a table's head that are broken within: each line of a word is a box of its own.
_BROKEN_WORDS = r"""() => [...document.querySelectorAll('thead th')].flatMap(e => {
  const text = [...e.childNodes].find(n => n.nodeType === 3);
  if (!text) return [];
  return [...text.data.matchAll(/\S+/g)].filter(word => {
    const range = document.createRange();
    range.setStart(text, word.index); range.setEnd(text, word.index + word[0].length);
    return range.getClientRects().length > 1;
  }).map(word => word[0]);
})"""
_BROKEN = "() => [...document.images].filter(i => !i.complete || !i.naturalWidth).length"


SIGNATURE = Signature(
    slide_id="S-001",
    reader="د. فاطمة 王 " * 8,
    meaning="amended",
    signed_at="2026-03-01T08:00:00Z",
    interpretation=("HSIL", "AGC"),
    result_sha256="",
    cells_sha256="",
    adequacy="satisfactory",
    transformation_zone=False,
    organisms=("candida", "bacterial-vaginosis"),
    remark="R" * 300,
    follow_up=asdict(
        suggest(
            load_follow_up("co-test-2019"), ("HSIL",), None, Facts("34", "16", "none", "unknown")
        )
    ),
)


@pytest.fixture
def browser(chromium: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


def test_pages_fit_every_width_and_print_on_a4_with_research_use(browser, positive, spec, tmp_path):
    slide = {**positive.slide, "synthetic": "phantom", "accession": "A" * 90, "history": "手术后"}
    odd = replace(positive, slide_id="L" * 180 + " <b> 🔬 مريضة", slide=slide)
    cells = tuple(replace(cell, descriptions=("high N/C ratio",)) for cell in odd.cells)
    odd = replace(odd, cells=cells)
    drawn = draw(
        odd,
        bundle_spec=spec,
        overview_rgb=make_overview(),
        overview_frame=FRAME,
        crops=make_crops(24),
        crop_mpp=0.5,
        quality_map=(np.random.default_rng(0).random((12, 16)), FRAME),
    )
    more = {
        "signatures": [SIGNATURE],
        "laboratory": Laboratory("مختبر 北京 " * 12, "A" * 200, "{accession}"),
        "earlier": [Earlier(replace(positive, slide_id="E" * 90), "2020-01-01", ("LSIL", "ASC-H"))],
    }
    pages = {
        "report.html": render_page(odd, drawn, **more),
        "zh.html": render_page(odd, drawn, language="zh", **more),
        "index.html": render_index(
            [odd, positive, below(positive, slide_id="low")],
            signatures={"low": SIGNATURE},
        ),
    }
    for name, html in pages.items():
        (tmp_path / name).write_text(html, encoding="utf-8")
        _look(browser, tmp_path / name)


def _look(browser: Any, path: Path) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    fetched: list[str] = []
    faults: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    page.on("console", lambda message: faults.append(message.text))
    page.goto(path.as_uri())
    for width in (1200, 800, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(_OUTSIDE) == [], f"{path.name} at {width} px"
        if path.stem != "zh":  # Chinese breaks between any two characters
            assert page.evaluate(_BROKEN_WORDS) == [], f"{path.name} at {width} px"
    assert page.evaluate(_BROKEN) == 0
    assert [url for url in fetched if not url.startswith("data:")] == [path.as_uri()]
    assert faults == []
    page.set_viewport_size({"width": 710, "height": 1000})  # A4 less its margins, in CSS pixels
    page.emulate_media(media="print")
    assert page.evaluate(_OUTSIDE) == [], f"{path.name} in print"
    edge = page.locator(".edge")
    assert edge.is_visible()
    assert re.search("Research use only|仅供研究使用", edge.inner_text())
    assert re.search(rb"/Count [1-9]", page.pdf(prefer_css_page_size=True))
    page.close()
