"""A study's page in a real browser: nothing cut on any width, nothing fetched."""

from __future__ import annotations

from pathlib import Path

import pytest

from koilo.study.verb import ReportConfig, report
from tests.conftest import ROOT

pytestmark = pytest.mark.browser

_CUT = """() => {
  const width = document.documentElement.clientWidth;
  return [...document.querySelectorAll('h1,h2,p,li,dd,.name,.figure,.axis')]
    .filter(e => { const r = e.getBoundingClientRect();
      return r.right > width + 1 || r.left < -1 || e.scrollWidth > e.clientWidth + 2; })
    .filter(e => getComputedStyle(e).display !== 'inline')
    .map(e => e.tagName + ': ' + e.textContent.trim().slice(0, 60));
}"""


def test_the_page_fits_every_width(chromium: str, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    report(
        ReportConfig(ROOT / "runs" / "trial_table" / "hospital_01.csv", tmp_path / "o", draws=20)
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 800})
        faults: list[str] = []
        page.on("console", lambda message: faults.append(message.text))
        page.goto((tmp_path / "o" / "study.html").as_uri())
        for width in (1100, 700, 400):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate(_CUT) == []
        assert faults == []
        browser.close()
