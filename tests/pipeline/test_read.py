from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from koilo.errors import PixelSizeError, SlideOpenError
from koilo.manifest import SlideEntry
from koilo.pipeline import ReadSettings, load_models, read_one
from tests.pipeline import toys


def read(path: Path, models, **facts):
    return read_one(SlideEntry("a", path, **facts), models, ReadSettings(threads=1))


@pytest.fixture(scope="module")
def lesion(slides, models):
    return read(slides["lesion"], models, preparation="thinprep", age="34")


def save_field(path: Path, size=(400, 300), n_cells=12, n_lesions=2) -> Path:
    Image.fromarray(toys.draw_cells(size, n_cells, n_lesions)).save(path)
    return path


def test_every_cell_is_found_once_and_the_lesions_are_called(lesion):
    result = lesion.result
    assert (result.status, result.n_cells, len(result.cells)) == ("done", 120, 120)
    assert sum(cell.label == "HSIL" for cell in result.cells) == 6
    assert (result.label, result.positive) == ("HSIL+SCC", True)
    assert result.p_positive == pytest.approx(1 - result.probabilities["NILM"])
    assert set(result.probabilities) == set(toys.SLIDES)


def test_boxes_lie_on_the_cells_in_level_0_pixels(lesion):
    image = toys.draw_cells((2000, 1600), 120, 6)
    dark = [image[int(y), int(x), 1] for x, y in (c.centre_px0 for c in lesion.result.cells)]
    assert max(dark) < 120
    assert {round(cell.w_px0) for cell in lesion.result.cells} == {40}


def test_cells_come_best_first_and_crops_are_theirs(lesion):
    scores = [cell.detector_score for cell in lesion.result.cells]
    assert scores == sorted(scores, reverse=True)
    assert lesion.crops.shape == (120, 48, 48, 3)
    for cell, crop in zip(lesion.result.cells, lesion.crops, strict=True):
        red = crop[21:27, 21:27, 0].mean() > 130
        assert red == (cell.label == "HSIL")


def test_the_focus_map_says_what_the_image_quality_says(lesion):
    blur_um, _, limit_um = lesion.quality_map
    judged = blur_um[np.isfinite(blur_um)]
    measures = lesion.result.image_quality.measures
    assert len(judged) == measures["tiles_judged_for_focus"] > 0
    assert np.median(judged) == pytest.approx(measures["blur_um_median"])
    assert (judged > limit_um).mean() == measures["blurred_share"] < 0.5


def test_a_slide_of_normal_cells_is_nilm_below_the_threshold(slides, models):
    result = read(slides["normal"], models).result
    assert (result.label, result.positive, result.n_cells) == ("NILM", False, 120)
    assert result.p_positive < result.threshold == 0.5


def test_a_blank_slide_is_done_without_a_call(slides, models):
    result = read(slides["blank"], models, preparation="thinprep").result
    assert result.status == "done"
    assert result.image_quality.verdict == "rescan: no cells found"
    assert (result.label, result.p_positive, result.positive) == (None, None, None)
    assert (result.probabilities, result.cells) == ({}, ())


def test_nothing_depends_on_the_number_of_readers_or_workers(slides, models, lesion, monkeypatch):
    monkeypatch.setattr("koilo.pipeline.workers.usable_cores", lambda: 3)
    entry = SlideEntry("a", slides["lesion"], preparation="thinprep", age="34")
    again = read_one(entry, models, ReadSettings(threads=3)).result
    assert replace(again, seconds={}) == replace(lesion.result, seconds={})


def test_only_the_best_cells_are_kept(slides, tmp_path):
    models = load_models(toys.write_toy_bundle(tmp_path / "b", top_k=10), torch.device("cpu"))
    few = read(slides["lesion"], models).result
    assert (few.n_cells, len(few.cells)) == (10, 10)


def test_attention_is_given_where_the_head_has_it_and_sums_to_one(slides, models, tmp_path, lesion):
    attentive = load_models(
        toys.write_toy_bundle(tmp_path / "b", head="abmil"), torch.device("cpu")
    )
    cells = read(slides["lesion"], attentive).result.cells
    assert sum(cell.attention for cell in cells) == pytest.approx(1.0, abs=1e-5)
    assert all(cell.attention == 0 for cell in cells[64:])
    assert {cell.attention for cell in lesion.result.cells} == {None}


def test_scant_cells_never_hold_back_a_suspicious_slide(lesion, slides, models):
    assert lesion.result.adequacy.verdict == "scant, abnormal cells suspected"
    normal = read(slides["normal"], models, preparation="thinprep").result
    assert normal.adequacy.verdict == "scant"
    assert read(slides["normal"], models).result.adequacy.verdict.startswith("not assessable")


def test_the_result_says_what_slide_it_was(lesion):
    facts = lesion.result.slide
    assert (facts["kind"], facts["dimensions"]) == ("slide", [2000, 1600])
    assert facts["mpp"] == pytest.approx(0.5, rel=1e-3)
    assert facts["case"] == {"age": "34", "preparation": "thinprep"}
    assert {"open", "foreground", "search", "crops", "cells", "head", "total"} <= set(
        lesion.result.seconds
    )


def test_a_field_is_read_whole_and_judged_by_its_own_threshold(tmp_path, models):
    result = read(save_field(tmp_path / "f.png"), models, mpp=0.5).result
    assert (result.slide["kind"], result.n_cells, result.threshold) == ("field", 12, 0.3)
    assert result.adequacy.verdict == "not assessable: field"
    assert result.positive


def test_no_cell_of_a_padded_field_lies_outside_it(tmp_path, models):
    path = tmp_path / "edge.png"
    image = toys.draw_cells((300, 300), 9, 0)
    Image.fromarray(image[20:270, 10:280]).save(path)
    for cell in read(path, models, mpp=0.5).result.cells:
        x_px0, y_px0 = cell.centre_px0
        assert 0 <= x_px0 < 270
        assert 0 <= y_px0 < 250


def test_a_one_pixel_image_is_done_without_cells(tmp_path, models):
    Image.new("RGB", (1, 1), (200, 180, 190)).save(tmp_path / "one.png")
    result = read(tmp_path / "one.png", models, mpp=0.25).result
    assert (result.status, result.n_cells, result.label) == ("done", 0, None)


def test_cells_under_pen_are_not_kept(tmp_path, models):
    image = toys.draw_cells((3000, 3000), 200, 0)
    image[:, :900] = (30, 140, 70)
    result = read(toys.write_slide(tmp_path / "pen.tiff", image), models).result
    assert "pen" in result.image_quality.flags
    assert min(cell.x_px0 for cell in result.cells) > 800


@pytest.mark.parametrize(
    ("manifest", "given", "used", "flagged"),
    [
        (None, None, 0.5, False),
        (None, 0.51, 0.51, False),
        (None, 0.4, 0.4, True),
        (0.6, 0.4, 0.6, True),
        (0.5, 0.4, 0.5, True),
    ],
)
def test_the_manifests_pixel_size_wins_then_the_given_then_the_files(
    slides, models, manifest, given, used, flagged
):
    entry = SlideEntry("a", slides["blank"], mpp=manifest)
    result = read_one(entry, models, ReadSettings(mpp=given, threads=1)).result
    assert result.slide["mpp"] == pytest.approx(used, rel=1e-3)
    assert ("mpp mismatch" in result.image_quality.flags) == flagged


@pytest.mark.parametrize(("mpp", "reason"), [(0.0, "0.05"), (50.0, "0.05"), (0.66, "1.3 times")])
def test_an_absurd_or_coarse_pixel_size_is_refused_with_the_reason(slides, models, mpp, reason):
    with pytest.raises(PixelSizeError, match=reason):
        read(slides["lesion"], models, mpp=mpp)


def test_a_missing_pixel_size_is_never_guessed(tmp_path, models):
    with pytest.raises(PixelSizeError, match="--mpp"):
        read(save_field(tmp_path / "f.png"), models)


def test_a_missing_file_is_refused_before_any_work(tmp_path, models):
    with pytest.raises(SlideOpenError):
        read(tmp_path / "gone.svs", models)


def test_watchers_hear_of_every_tile(slides, models):
    from contextlib import nullcontext

    totals, done = [], []

    def watch(n):
        totals.append(n)
        return nullcontext(done.append)

    read_one(SlideEntry("a", slides["normal"]), models, ReadSettings(threads=2), watch)
    assert totals == [sum(done)]
    assert np.prod([len(done), totals[0]]) > 0
