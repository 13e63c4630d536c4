"""Whatever a folder holds: one clear line for each bad slide, and the others are screened."""

from __future__ import annotations

import csv
import json

import pytest

from koilo.screen import ScreenConfig, screen
from tests.pipeline import toys
from tests.screen.conftest import EMOJI


def rows(out):
    text = (out / "slides.csv").read_text("utf-8")
    return {row["slide_id"]: row for row in csv.DictReader(text.splitlines())}


@pytest.mark.parametrize(
    ("slide_id", "reason"),
    [
        ("truncated", ""),
        ("empty", "empty"),
        ("random", "cannot be opened"),
        ("text", "cannot be opened"),
        ("corrupt tile", "tile"),
        ("no mpp", "--mpp"),
        ("one pixel", "--mpp"),
    ],
)
def test_a_bad_slide_fails_with_one_line_that_names_it(run, slide_id, reason):
    row = rows(run.out)[slide_id]
    assert row["status"] == "failed"
    assert reason in row["error"]
    assert slide_id in row["error"]
    assert "\n" not in row["error"]
    assert "Unexpected" not in row["error"]
    assert [path.name for path in (run.out / slide_id).iterdir()] == ["result.json"]
    assert row["error"] in json.loads((run.out / slide_id / "result.json").read_text())["error"]


@pytest.mark.parametrize("slide_id", ["blank", "all pen"])
def test_a_slide_without_cells_is_done_and_asks_for_a_rescan(run, slide_id):
    row = rows(run.out)[slide_id]
    assert (row["status"], row["image_quality"]) == ("done", "rescan: no cells found")
    assert row["label"] == row["p_positive"] == row["positive"] == row["p_NILM"] == ""
    geojson = json.loads((run.out / slide_id / "cells.geojson").read_text())
    assert geojson["features"] == []


@pytest.mark.parametrize("slide_id", [EMOJI, "day 1__same", "day 2__same"])
def test_the_other_slides_are_screened_whatever_their_names(run, slide_id):
    row = rows(run.out)[slide_id]
    assert (row["status"], row["label"], row["n_cells"]) == ("done", "HSIL+SCC", "20")
    names = {path.name for path in (run.out / slide_id).iterdir()}
    drawn = {"report.html", "report.json"}
    assert names == {"result.json", "cells.parquet", "cells.geojson"} | drawn


def test_the_run_says_that_slides_failed_and_lists_what_was_ignored(run):
    assert run.status == 1
    summary = (run.out / "summary.md").read_text("utf-8")
    assert "notes.txt" in summary
    assert "## Failed" in summary
    assert len(rows(run.out)) == 12


def test_tracebacks_are_in_the_log_and_nowhere_else(run, capfd, messy, bundle, tmp_path):
    assert "Traceback" in (run.out / "run.log").read_text("utf-8")
    config = ScreenConfig((messy / "empty.svs",), tmp_path / "out", model=str(bundle.folder))
    assert screen(config) == 1
    assert "Traceback" not in "".join(capfd.readouterr())


def test_an_unexpected_error_is_written_down_and_the_run_goes_on(
    good, bundle, tmp_path, monkeypatch
):
    import koilo.pipeline

    real = koilo.pipeline.read_one

    def breaks(entry, *rest):
        if entry.slide_id == "first":
            raise ZeroDivisionError("division\nby zero")
        return real(entry, *rest)

    monkeypatch.setattr(koilo.pipeline, "read_one", breaks)
    manifest = tmp_path / "m.csv"
    manifest.write_text(f"slide_id,path\nfirst,{good}\nsecond,{good}2\n")
    (good.parent / "good.tiff2").write_bytes(good.read_bytes())
    toys.settle(good.parent / "good.tiff2")
    out = tmp_path / "out"
    assert screen(ScreenConfig((manifest,), out, model=str(bundle.folder))) == 1
    assert rows(out)["first"]["error"].startswith("Unexpected ZeroDivisionError: division by zero")
    assert rows(out)["second"]["status"] == "done"
    assert "ZeroDivisionError" in (out / "run.log").read_text()


@pytest.mark.parametrize("mpp", [0, 50])
def test_a_manifests_absurd_pixel_size_fails_that_slide_only(good, bundle, tmp_path, mpp):
    manifest = tmp_path / "m.csv"
    manifest.write_text(f"slide_id,path,mpp\nodd,{good},{mpp}\n")
    out = tmp_path / "out"
    assert screen(ScreenConfig((manifest,), out, model=str(bundle.folder))) == 1
    assert f"is {mpp} µm" in rows(out)["odd"]["error"]


def test_every_real_odd_file_ends_in_one_line(data_dir, bundle, tmp_path):
    out = tmp_path / "out"
    config = ScreenConfig((data_dir / "slides" / "odd",), out, model=str(bundle.folder))
    assert screen(config) == 1
    found = rows(out)
    assert found["odd__unopenable" if "odd__unopenable" in found else "unopenable"]["error"]
    for row in found.values():
        assert (row["status"] == "failed") == bool(row["error"])
        assert "Unexpected" not in row["error"]
