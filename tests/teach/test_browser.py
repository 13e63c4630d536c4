"""The quiz in a real browser: no answer before it is given, nothing fetched, answers saved."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from koilo.teach.score import read_answers

from .conftest import REASON

pytestmark = pytest.mark.browser

# Visible elements that stick out of the window, or whose text does not fit in them.
_CUT = """() => {
  const width = document.documentElement.clientWidth;
  return [...document.querySelectorAll('h1,h2,p,td,th,li,button,figcaption,input')]
    .filter(e => e.offsetParent)
    .filter(e => { const r = e.getBoundingClientRect();
      return r.right > width + 1 || r.left < -1 || e.scrollWidth > e.clientWidth + 2; })
    .map(e => e.tagName + ': ' + e.textContent.trim().slice(0, 60));
}"""


@pytest.fixture
def browser(chromium: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


def test_a_learner_answers_and_saves_and_sees_no_answer_before(browser, made: Path, key, tmp_path):
    page = browser.new_page(viewport={"width": 1100, "height": 800})
    fetched, faults = [], []
    page.on("request", lambda request: fetched.append(request.url))
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto((made / "quiz.html").as_uri())
    page.fill("#learner", "李 <b>")
    page.click("#begin")
    right = 0
    for number, row in enumerate(key["questions"]):
        page.set_viewport_size({"width": (1100, 400)[number % 2], "height": 800})
        text = page.inner_text("body")
        assert REASON not in text
        assert "It is" not in text
        assert "Right:" not in text
        assert page.locator("#options .right").count() == 0
        assert page.locator("#mark").is_visible() == bool(row["synthetic"])
        place = number % len(key["classes"])
        page.keyboard.press(str(place + 1))
        said = page.inner_text("#feedback")
        assert row["answer"] in said
        for reason in row["reasons"]:
            assert reason in said
        right += key["classes"][place] == row["answer"]
        assert page.evaluate(_CUT) == []
        page.keyboard.press("Enter")
    assert f"{right} of {len(key['questions'])} right" in page.inner_text("#total")
    assert page.evaluate(_CUT) == []
    for button, ending in (("#save-json", "json"), ("#save-csv", "csv")):
        with page.expect_download() as saved:
            page.click(button)
        path = tmp_path / f"answers.{ending}"
        saved.value.save_as(path)
        sheet = read_answers(path, key)
        assert sheet.learner == "李 <b>"
        assert len(sheet.answers) == len(key["questions"])
    page.reload()  # answers are still there, where the browser keeps them for this file
    assert page.locator("#total").is_visible()
    others = [url for url in fetched if not url.startswith(("data:", "blob:"))]
    assert set(others) == {(made / "quiz.html").as_uri()}
    assert faults == []
    assert json.loads((tmp_path / "answers.json").read_text())["quiz"] == key["quiz"]
    page.close()
