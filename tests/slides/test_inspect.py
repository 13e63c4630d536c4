"""``koilo inspect`` says what a slide is, as text and as JSON, and why one cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image as PilImage

from koilo.slides.inspect import InspectConfig, inspect

from .conftest import MadeSlide, texture


def test_the_text_names_format_levels_pixel_size_foreground_and_quality(
    made_slide: MadeSlide, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inspect(InspectConfig(made_slide.path)) == 0
    text = capsys.readouterr().out
    for expected in (
        "SYNTHETIC   phantom: a made slide, of no patient",
        "generic-tiff slide, read by raw-jpeg",
        "1,500 x 1,100 px, 0.38 x 0.28 mm",
        "0.25 µm (TIFF resolution tags)",
        "objective   unknown",
        "level 3     188 x 138 px",
        "foreground",
        "quality",
    ):
        assert expected in text


def test_the_json_holds_the_same_as_values(
    made_slide: MadeSlide, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inspect(InspectConfig(made_slide.path, mpp=0.5, json=True)) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["status"] == "done"
    assert (facts["mpp"], facts["mpp_source"], facts["mpp_mismatch"]) == (0.5, "given", True)
    assert facts["file_mpp"] == pytest.approx(0.25)
    assert facts["levels"][1] == {"width": 750, "height": 550, "downsample": 2.0}
    assert "mpp mismatch" in facts["image_quality"]["flags"]


def test_a_given_pixel_size_far_from_the_files_is_pointed_out(
    made_slide: MadeSlide, capsys: pytest.CaptureFixture[str]
) -> None:
    inspect(InspectConfig(made_slide.path, mpp=0.5))
    assert "0.5 µm (given; the file's own: 0.25 µm, over 5 % apart)" in capsys.readouterr().out


def test_a_field_is_all_foreground_and_needs_a_pixel_size_for_quality(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    PilImage.fromarray(texture(300, 200)).save(tmp_path / "field.png")
    assert inspect(InspectConfig(tmp_path / "field.png")) == 0
    text = capsys.readouterr().out
    assert "png field, read by plain" in text
    assert "pixel size  unknown" in text
    assert "field, 100.0% of the slide" in text
    assert "not assessable: no pixel size" in text


@pytest.mark.parametrize("as_json", [False, True])
def test_a_slide_that_cannot_be_opened_ends_in_status_1_and_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    (tmp_path / "text.svs").write_text("not a slide")
    assert inspect(InspectConfig(tmp_path / "text.svs", json=as_json)) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("koilo: ")
    assert printed.err.count("\n") == 1
    if as_json:
        facts = json.loads(printed.out)
        assert facts["status"] == "failed"
        assert "cannot be opened" in facts["error"]
    else:
        assert printed.out == ""


@pytest.mark.data
def test_what_an_svs_says_of_itself_is_shown_with_its_source(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inspect(InspectConfig(data_dir / "slides" / "CMU-1-Small-Region.svs")) == 0
    text = capsys.readouterr().out
    assert "0.499 µm (aperio metadata)" in text
    assert "20x (aperio metadata)" in text
    assert "label 387 x 463, macro 1280 x 431" in text


@pytest.mark.data
def test_facts_are_shown_even_where_pixels_cannot_be_read(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inspect(InspectConfig(data_dir / "slides" / "odd" / "unreadable.svs")) == 1
    printed = capsys.readouterr()
    assert "thumbnail unreadable" in printed.out
    assert "column 0, row 0 of level 0" in printed.err
    assert inspect(InspectConfig(data_dir / "slides" / "odd" / "dicom-lying-colour-tag")) == 0
    assert "its colour tag is wrong" in capsys.readouterr().out
