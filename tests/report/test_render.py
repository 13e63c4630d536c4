from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from koilo.errors import ConfigError
from koilo.report import QualityMap
from koilo.types import Adequacy, ImageQuality, SlideResult

from .conftest import FRAME, Page, below, make_cells, make_crops, make_overview, render_report


def render(result: SlideResult, spec: dict[str, Any], **changes: Any) -> str:
    crops = make_crops(len(result.cells))
    pictures = {"overview_rgb": make_overview(), "overview_frame": FRAME, "crops": crops}
    return render_report(result, bundle_spec=spec, **(pictures | changes))


def test_a_positive_slide_is_advised_for_review_with_its_suggested_class(positive, spec):
    page = Page(render(positive, spec))
    assert "AI screening result: review advised" in page.text
    assert "Class suggested for review: HSIL+SCC" in page.text


def test_a_slide_below_the_threshold_gets_no_class_and_no_negative_diagnosis(positive, spec):
    page = Page(render(below(positive), spec))
    assert "AI screening result: below the review threshold" in page.text
    assert "Class suggested for review" not in page.text
    assert "This is not a negative diagnosis" in page.text


@pytest.mark.parametrize("make", [lambda r: r, below], ids=["positive", "below"])
def test_category_and_interpretation_always_await_the_reader(make, positive, spec):
    fields = Page(render(make(positive), spec)).fields
    for field in ("category", "interpretation", "adequacy"):
        assert fields[field] == ["awaiting reader"]


def test_nilm_stands_only_for_a_model_class_never_for_a_finding(positive, spec):
    slide = below(positive, cells=make_cells(6, ("LSIL",)), n_cells=6)
    text = Page(render(slide, spec)).text
    around = [text[max(0, m.start() - 22) : m.end()] for m in re.finditer("NILM", text)]
    assert len(around) == 2  # its probability, and "any but NILM"
    assert "Slide probabilities NILM" in around[0]
    assert "any but NILM" in around[1]


def test_what_is_not_assessed_stands_above_the_result(positive, spec):
    text = Page(render(positive, spec)).text
    for said in (*spec["not_assessed"], *spec["trained_on"], "No rule-out."):
        assert text.index(said) < text.index("AI screening result")


def test_a_bundle_that_knows_agc_makes_no_rule_out_remark(positive, spec):
    spec["stages"]["head"]["classes"].append("AGC")
    spec["not_assessed"] = ["organisms"]
    text = Page(render(positive, spec)).text
    assert "No rule-out." not in text
    assert "glandular" not in text


def test_the_threshold_is_the_same_everywhere_and_says_where_it_was_locked(positive, spec):
    page = Page(render(positive, spec))
    assert page.fields["threshold"] == ["0.217", "0.217"]
    assert "composed slides, folds 0-2" in page.text
    assert "n = 420 of which 210 positive" in page.text.replace("\xa0", " ")
    assert "sensitivity 95.0 %" in page.text
    assert "specificity 60.0 %" in page.text


def test_predictive_values_are_given_at_three_prevalences(positive, spec):
    text = Page(render(positive, spec)).text
    assert "1 % 2.3 % 99.92 %" in text
    assert "5 % 11.1 % 99.56 %" in text
    assert "20 % 37.3 % 97.96 %" in text


def test_a_stored_temperature_says_what_p_positive_means_and_moves_nothing(positive, spec):
    def shown(**stored: float) -> Page:
        point = spec["operating_points"]["sens95"] | stored
        return Page(render(positive, spec | {"operating_points": {"sens95": point}}))

    plain, cooled = shown(), shown(temperature=2.0)
    assert "temperature" not in plain.text
    assert "positive with a probability of 0.875" in cooled.text  # sigmoid(logit(.98) / 2)
    assert cooled.fields["p-positive"] == plain.fields["p-positive"]
    at_home = shown(temperature=2.0, set_prevalence=0.5, prevalence=0.05)
    assert (
        "a prevalence of 5.0 %, this slide is positive with a probability of 0.269" in at_home.text
    )


def test_a_field_is_judged_by_its_own_operating_point(positive, spec):
    field = replace(
        positive,
        threshold=0.41,
        slide={"kind": "field", "mpp": 0.25},
        adequacy=Adequacy("not assessable: field"),
    )
    text = Page(render(field, spec)).text
    assert "CRIC fields, out of fold" in text
    assert "not assessable: field" in text
    assert "it stands for no specimen" in text


def test_a_threshold_that_the_bundle_does_not_know_gets_no_predictive_values(positive, spec):
    text = Page(render(replace(positive, threshold=0.3), spec)).text
    assert "Threshold of unknown origin" in text
    assert "predictive value" not in text.replace("predictive value is given", "")


def test_no_cells_is_no_result_with_its_reason_and_no_number(spec):
    slide = SlideResult(
        "blank", "b.svs", "done", image_quality=ImageQuality("rescan: no cells found")
    )
    page = Page(render(slide, spec))
    assert "AI screening result: no result: rescan: no cells found" in page.text
    assert "p-positive" not in page.fields
    assert "Slide probabilities" not in page.text
    assert page.fields["interpretation"] == ["awaiting reader"]


def test_a_failed_slide_says_why(spec):
    page = Page(render(SlideResult("bad", "b.svs", "failed", error="It is torn."), spec))
    assert "no result: It is torn." in page.text


def test_rescan_and_scant_are_shown_and_do_not_hide_a_suspicious_result(positive, spec):
    quality = ImageQuality("rescan: 61 % of tiles are out of focus", ("mpp mismatch",))
    adequacy = Adequacy("scant, abnormal cells suspected", 812, 640, 1010, 5000, "thinprep")
    text = Page(render(replace(positive, image_quality=quality, adequacy=adequacy), spec)).text
    assert "review advised" in text
    assert "61 % of tiles are out of focus. The suspicious cells below stand" in text
    assert "the slide is not held back" in text
    assert "Flag: mpp mismatch." in text


def test_adequacy_is_an_estimate_with_interval_and_limit(positive, spec):
    text = Page(render(positive, spec)).text
    assert "about 12,412 nucleated squamous cells, 95 % interval 11,020–13,904" in text
    assert "limit 5,000 for thinprep" in text


@pytest.mark.parametrize("kind", ["phantom", "composed"])
def test_made_slides_are_watermarked_on_screen_and_in_print(kind, positive, spec):
    page = Page(render(replace(positive, slide={**positive.slide, "synthetic": kind}), spec))
    assert any(div.get("class") == "watermark" for div in page.all("div"))
    assert f"this is a {kind} slide" in page.text
    assert re.search(r"\.watermark \{\s*position: fixed", page.style)
    assert ".watermark { display: none" not in page.style


def test_a_real_slide_carries_no_watermark(positive, spec):
    assert "SYNTHETIC" not in Page(render(positive, spec)).text


def test_research_use_stands_on_screen_and_on_every_printed_page(positive, spec):
    page = Page(render(positive, spec))
    assert page.text.count("Research use only") >= 3
    assert re.search(r"@top-right \{ content: \"Research use only", page.style)
    assert "@media print" in page.style
    assert "size: A4" in page.style
    printed = page.style[page.style.index("@media print") :]
    assert re.search(r"\.edge \{\s*display: block; position: fixed", printed)


def test_the_page_asks_nothing_of_any_network_and_runs_no_script(positive, spec):
    html = render(positive, spec, quality_map=(np.ones((3, 4)), FRAME))
    page = Page(html)
    assert not page.all("script")
    assert not page.all("link")
    assert not re.search(r"https?://", html)
    assert "url(" not in page.style
    assert all((image["src"] or "").startswith("data:image/") for image in page.all("img"))
    assert "@import" not in page.style


def test_every_picture_has_an_alternative_text_and_headings_do_not_skip(positive, spec):
    page = Page(render(positive, spec))
    assert page.all("img")
    assert all(image.get("alt") for image in page.all("img"))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(lower - upper <= 1 for upper, lower in pairwise(levels))


def test_numbers_of_the_gallery_match_the_marks_on_the_overview(positive, spec):
    html = render(positive, spec)
    badges = re.findall(r'class="badge">(\d+)<', html)
    marks = re.findall(r"<text [^>]*>(\d+)</text>", html)
    assert badges == [str(n) for n in range(1, 25)]
    assert sorted(marks, key=int) == badges


def test_the_gallery_is_grouped_gravest_class_first(positive, spec):
    html = render(positive, spec)
    assert re.findall(r"<h3>Most like ([\w-]+)", html) == [
        "SCC",
        "HSIL",
        "ASC-H",
        "LSIL",
        "ASC-US",
        "NILM",
    ]


def test_a_thousand_cells_stay_under_four_megabytes_and_keep_the_suspicious(positive, spec):
    cells = make_cells(1024, ("NILM",) * 31 + ("HSIL",))
    slide = replace(positive, cells=cells, n_cells=1024)
    html = render(slide, spec, crops=make_crops(1024, 96))
    assert len(html.encode()) < 4_000_000
    assert "32 of 32 kept" in html
    assert "48 of 1,024 cells kept" in html


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        '"><img src=x>',
        "مريضة",
        "手术后",
        "🔬",
        "</style><b>",
        "{{7*7}}",
    ],
)
def test_names_are_shown_as_they_are_and_never_become_markup(name, positive, spec):
    slide = replace(
        positive, slide_id=name, slide={**positive.slide, "accession": name, "history": name}
    )
    plain, odd = Page(render(positive, spec)), Page(render(slide, spec))
    assert name in odd.text
    assert not odd.all("script")
    assert len(odd.all("img")) == len(plain.all("img"))
    assert [tag for tag, _ in odd.elements].count("style") == 1


def test_texts_of_a_bundle_are_escaped_too(positive, spec):
    spec["trained_on"] = ["<script>x</script>"]
    spec["name"] = "<script>y</script>"
    assert not Page(render(positive, spec)).all("script")


def test_a_result_with_nothing_optional_still_makes_a_page():
    slide = SlideResult("bare", "x.tif", "done", label="LSIL", p_positive=0.7, positive=True)
    page = Page(render_report(slide, bundle_spec={}))
    assert "review advised" in page.text
    assert "not measured" in page.text
    assert "The bundle does not say" in page.text
    assert "None" not in page.text


def test_absurdly_long_names_are_cut_in_the_print_header_only(positive, spec):
    page = Page(render(replace(positive, slide_id="L" * 400), spec))
    assert "L" * 400 in page.text
    assert "L" * 61 not in page.style


def test_provenance_names_version_bundle_settings_pixel_size_and_times(positive, spec):
    text = Page(render(positive, spec)).text
    for said in ("9f2c1a77", "c0ffee12", "0.25 µm/px", "pixel size from file", "41.2 s", "12.3 s"):
        assert said in text


def test_the_scale_bar_is_ten_microns_of_the_crop(positive, spec):
    html = render(positive, spec, crops=make_crops(24, 80), crop_mpp=0.5)
    assert "40 × 40 µm" in html
    assert 'class="scale" style="width:25.00%"' in html


def test_the_focus_map_counts_tiles_out_of_focus(positive, spec):
    blur_um = np.array([[2.0, 0.4], [np.nan, 0.5]])
    text = Page(render(positive, spec, quality_map=QualityMap(blur_um, FRAME, 1.25))).text
    assert "3 tiles judged, 1 of them (33.3 %) out of focus" in text


def test_p_and_threshold_are_written_so_that_they_can_be_told_apart(positive, spec):
    page = Page(render(replace(positive, p_positive=0.21736), spec))
    assert page.fields["p-positive"] == ["0.2174"]
    assert page.fields["threshold"][0] == "0.2173"


def test_an_unknown_language_is_refused(positive, spec):
    with pytest.raises(ConfigError, match=r"language 'xx'.*Known: en"):
        render(positive, spec, language="xx")


def test_more_crops_than_cells_are_refused(positive, spec):
    with pytest.raises(ValueError, match="25 crops for 24 cells"):
        render(positive, spec, crops=make_crops(25))


def test_a_picture_that_is_not_rgb_is_refused(positive, spec):
    with pytest.raises(ValueError, match="uint8 of shape"):
        render(positive, spec, overview_rgb=np.zeros((4, 4), np.uint8))
