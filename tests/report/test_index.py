from __future__ import annotations

from dataclasses import replace

from koilo.report import render_index
from koilo.types import Adequacy, ImageQuality, SlideResult

from .conftest import Page, below


def test_slides_are_ranked_by_p_positive_highest_first_and_linked(positive):
    low = below(positive, slide_id="low")
    middle = replace(positive, slide_id="mid dle", p_positive=0.5)
    html = render_index([low, middle, positive])
    links = [a["href"] for a in Page(html).all("a")]
    assert links == ["./S-001/report.html", "./mid%20dle/report.html", "./low/report.html"]


def test_a_scant_slide_with_suspicious_cells_is_first(positive):
    scant = replace(
        positive,
        slide_id="scant",
        p_positive=0.99,
        adequacy=Adequacy("scant, abnormal cells suspected", 800),
        image_quality=ImageQuality("rescan: blurred"),
    )
    page = Page(render_index([positive, scant]))
    assert page.all("a")[0]["href"] == "./scant/report.html"
    assert "rescan: blurred" in page.text
    assert "scant, abnormal cells suspected" in page.text


def test_failed_slides_slides_without_a_result_and_ignored_files_show_their_reasons(positive):
    failed = SlideResult("torn", "/in/torn.svs", "failed", error="It ends in a tile.")
    blank = SlideResult(
        "blank", "/in/b.svs", "done", image_quality=ImageQuality("rescan: no cells found")
    )
    html = render_index([failed, positive, blank], ["/in/a.txt", ("/in/b.dat", "not a slide")])
    page = Page(html)
    assert "It ends in a tile." in page.text
    assert "no result: rescan: no cells found" in page.text
    assert "/in/a.txt" in page.text
    assert "/in/b.dat : not a slide" in page.text
    assert "torn/report.html" not in html
    assert "1 review advised" in page.text
    assert "1 failed" in page.text


def test_the_negative_class_is_never_suggested(positive):
    text = Page(render_index([below(positive)])).text
    assert text.count("NILM") == text.count("p of any but NILM") == 1
    assert "below the review threshold" in text


def test_an_empty_run_says_so_and_research_use_stands():
    page = Page(render_index([], run_facts={"bundle": {"name": "cytology"}}))
    assert "This run found no slides." in page.text
    assert "Research use only" in page.text
    assert "bundle · name cytology" in page.text


def test_names_do_not_become_markup_and_synthetic_slides_are_marked(positive):
    odd = replace(positive, slide_id="<script>x", slide={"synthetic": "phantom"})
    page = Page(render_index([odd], [("<script>", "<b>")]))
    assert not page.all("script")
    assert "SYNTHETIC (phantom)" in page.text
    assert page.all("a")[0]["href"] == "./%3Cscript%3Ex/report.html"
