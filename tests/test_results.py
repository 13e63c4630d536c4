from __future__ import annotations

import csv
import dataclasses
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from koilo.errors import OutputError
from koilo.results import (
    CELLS,
    GEOJSON,
    REPORT,
    RESULT,
    cells_geojson,
    ranked,
    read_slide_result,
    write_slide_result,
    write_slides_csv,
)
from koilo.types import Adequacy, Cell, Disagreement, ImageQuality, Removal, SlideResult

P = {"NILM": 0.25, "LSIL": 0.5, "HSIL": 0.25}


def make(slide_id="a", **changes) -> SlideResult:
    cells = (
        Cell(100.5, 200.25, 80.0, 82.0, 0.9, P, "LSIL", 0.75, 1.5),
        Cell(10.0, 20.0, 30.0, 40.0, 0.4, {"NILM": 1.0, "LSIL": 0.0, "HSIL": 0.0}, "NILM", 0.25),
    )
    result = SlideResult(
        slide_id,
        f"/slides/{slide_id}.svs",
        "done",
        label="HSIL+SCC",
        probabilities={"NILM": 0.25, "LSIL": 0.25, "HSIL+SCC": 0.5},
        p_positive=0.75,
        positive=True,
        threshold=0.5,
        n_cells=2,
        cells=cells,
        image_quality=ImageQuality("ok", ("pen", "mpp mismatch"), {"blurred_share": 0.01}),
        adequacy=Adequacy("scant", 812.4, 700.0, 900.0, 5000, "thinprep"),
        slide={"bounds_px0": [40, 50, 1000, 1000], "mpp": 0.25, "kind": "slide"},
        seconds={"detector": 1.5, "total": 2.25},
        fingerprint="f" * 64,
        provenance={"bundle": "toy", "bundle_sha256": "b" * 64, "koilo_version": "0.1.0"},
    )
    return dataclasses.replace(result, **changes)


def empty(slide_id="none") -> SlideResult:
    return make(slide_id, label=None, probabilities={}, p_positive=None, positive=None,
                n_cells=0, cells=(), image_quality=ImageQuality("rescan: no cells found"),
                adequacy=Adequacy("not assessable: no cells found"))  # fmt: skip


def rows_of(path):
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


def test_a_result_comes_back_as_it_was_written(tmp_path):
    write_slide_result(tmp_path / "a", make())
    back = read_slide_result(tmp_path / "a")
    assert [c.label for c in back.cells] == ["LSIL", "NILM"]
    assert back == make()
    assert read_slide_result(tmp_path / "a", with_cells=False) == make(cells=())


def test_reasons_come_back_and_two_of_them_stand_in_the_table(tmp_path):
    doubted = make(
        needs_human=True,
        needs_human_why=("neither negative nor positive can be ruled out", "rescan: blurred"),
        possible_calls=("negative", "positive"),
        ood_score=0.25,
        removal=Removal(True, (1, 0), 0.21, 32),
        disagreement=Disagreement("graver cells", "LSIL", "HSIL+SCC", 3, 0.9),
    )
    write_slide_result(tmp_path / "a", doubted)
    assert read_slide_result(tmp_path / "a") == doubted
    write_slides_csv(tmp_path, [doubted, make("b", needs_human=False), make("c")])
    rows = rows_of(tmp_path / "slides.csv")
    assert [row["needs_human"] for row in rows] == ["true", "false", ""]
    assert [row["ood_score"] for row in rows] == ["0.25", "", ""]
    assert {row["positive"] for row in rows} == {"true"}


def test_a_result_of_an_earlier_version_is_read_with_its_reasons_unknown(tmp_path):
    write_slide_result(tmp_path / "a", make())
    path = tmp_path / "a" / RESULT
    value = json.loads(path.read_text())
    for name in ("needs_human", "needs_human_why", "possible_calls", "ood_score", "removal",
                 "disagreement"):  # fmt: skip
        del value[name]
    path.write_text(json.dumps(value))
    table = pq.read_table(tmp_path / "a" / CELLS).drop_columns(["contribution"])
    pq.write_table(table, tmp_path / "a" / CELLS)
    old = read_slide_result(tmp_path / "a")
    assert (old.needs_human, old.removal, old.possible_calls) == (None, None, ())
    assert {cell.contribution for cell in old.cells} == {None}


def test_the_cells_table_has_the_columns_of_the_contract_best_first(tmp_path):
    write_slide_result(tmp_path / "a", make())
    table = pq.read_table(tmp_path / "a" / CELLS)
    assert table.column_names == [
        *("x_px0", "y_px0", "w_px0", "h_px0", "detector_score"),
        *("p_NILM", "p_LSIL", "p_HSIL", "label", "attention"),
        *("contribution", "descriptions", "flags"),
        *("nucleus_um2", "nc_area", "contour", "nuclear_od", "halo_ratio"),
        *("nucleus_ratio", "darkness_ratio", "text_space"),
    ]
    assert table["detector_score"].to_pylist() == [0.9, 0.4]
    assert table["descriptions"].to_pylist() == [None, None]
    assert table.schema.metadata[b"fingerprint"] == b"f" * 64


def test_reasons_come_back_and_what_could_not_be_measured_is_null(tmp_path):
    reasons = dataclasses.replace(
        make().cells[0],
        descriptions=("hyperchromasia",),
        measures={"nucleus_um2": 96.5, "nucleus_ratio": 2.75},
        flags=("hyperchromasia: darkness_ratio is 0.5",),
        text_space=(0.5, -0.25),
    )
    write_slide_result(tmp_path / "a", make(cells=(reasons, make().cells[1])))
    table = pq.read_table(tmp_path / "a" / CELLS)
    assert table["nc_area"].to_pylist() == [None, None]
    assert table["nucleus_um2"].to_pylist() == [96.5, None]
    assert read_slide_result(tmp_path / "a").cells[0] == reasons
    geojson = json.loads((tmp_path / "a" / GEOJSON).read_text())
    assert geojson["features"][0]["properties"]["measurements"]["nucleus_ratio"] == 2.75


def test_attention_is_null_where_the_head_has_none(tmp_path):
    cells = tuple(dataclasses.replace(cell, attention=None) for cell in make().cells)
    write_slide_result(tmp_path / "a", make(cells=cells))
    assert pq.read_table(tmp_path / "a" / CELLS)["attention"].to_pylist() == [None, None]
    geojson = json.loads((tmp_path / "a" / GEOJSON).read_text())
    assert "attention" not in geojson["features"][0]["properties"]["measurements"]


def test_qupath_gets_boxes_in_its_own_frame(tmp_path):
    geojson = cells_geojson(make())
    first = geojson["features"][0]
    assert first["geometry"]["coordinates"] == [
        [[60.5, 150.25], [140.5, 150.25], [140.5, 232.25], [60.5, 232.25], [60.5, 150.25]]
    ]
    assert first["properties"]["objectType"] == "detection"
    assert first["properties"]["classification"]["name"] == "LSIL"
    assert first["properties"]["measurements"]["detector"] == 0.9
    assert first["properties"]["measurements"]["p_HSIL"] == 0.25
    assert len({feature["id"] for feature in geojson["features"]}) == 2
    assert geojson == cells_geojson(make())


def test_a_slide_without_cells_has_an_empty_table_and_collection(tmp_path):
    write_slide_result(tmp_path / "none", empty())
    assert json.loads((tmp_path / "none" / GEOJSON).read_text())["features"] == []
    assert pq.read_table(tmp_path / "none" / CELLS).num_rows == 0
    assert read_slide_result(tmp_path / "none") == empty()


def test_a_failed_result_holds_five_things_and_removes_an_earlier_reading(tmp_path):
    write_slide_result(tmp_path / "a", make())
    (tmp_path / "a" / REPORT).write_text("old")
    failed = SlideResult("a", "/slides/a.svs", "failed", "It is empty.", fingerprint="k")
    write_slide_result(tmp_path / "a", failed)
    value = json.loads((tmp_path / "a" / RESULT).read_text())
    assert set(value) == {"format", "slide_id", "path", "status", "error", "fingerprint"}
    assert [path.name for path in (tmp_path / "a").iterdir()] == [RESULT]
    assert read_slide_result(tmp_path / "a") == failed


def test_the_row_of_a_slide_says_all_that_the_contract_names(tmp_path):
    write_slides_csv(tmp_path, [make(), make("ö, 2", positive=False, label="NILM")])
    raw = (tmp_path / "slides.csv").read_bytes()
    assert raw.startswith(b"slide_id,path,status,error,label,p_NILM,p_LSIL,p_HSIL+SCC,p_positive,")
    first, second = rows_of(tmp_path / "slides.csv")
    assert (first["positive"], second["positive"]) == ("true", "false")
    assert second["slide_id"] == "ö, 2"
    expected = {"label": "HSIL+SCC", "p_positive": "0.75", "threshold": "0.5", "n_cells": "2",
                "n_squamous_estimate": "812", "image_quality": "ok", "adequacy": "scant",
                "quality_flags": "pen; mpp mismatch", "seconds": "2.25", "bundle": "toy",
                "koilo_version": "0.1.0"}  # fmt: skip
    assert {name: first[name] for name in expected} == expected


def test_a_slide_without_a_score_is_never_called_nilm(tmp_path):
    write_slides_csv(tmp_path, [make(), empty()])
    row = rows_of(tmp_path / "slides.csv")[1]
    for name in ("label", "p_NILM", "p_LSIL", "p_HSIL+SCC", "p_positive", "positive"):
        assert row[name] == ""
    assert row["image_quality"] == "rescan: no cells found"


def test_a_failed_slides_row_has_its_reason_and_nothing_else(tmp_path):
    write_slides_csv(tmp_path, [SlideResult("x", "x.svs", "failed", "It is empty.")])
    (row,) = rows_of(tmp_path / "slides.csv")
    assert {name: value for name, value in row.items() if value} == {
        "slide_id": "x", "path": "x.svs", "status": "failed", "error": "It is empty."
    }  # fmt: skip


def test_suspicious_slides_come_first_then_those_to_look_at_then_the_failed():
    results = [
        SlideResult("bad", "b", "failed", "no"),
        empty(),
        make("low", p_positive=0.1),
        make("high", p_positive=0.9),
    ]
    assert [r.slide_id for r in ranked(results)] == ["high", "low", "none", "bad"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 99}', '{"format": 1, "odd": 2}'])
def test_a_result_that_is_not_ours_is_one_clear_line(tmp_path, content):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / RESULT).write_text(content)
    with pytest.raises(OutputError, match="screen it again"):
        read_slide_result(tmp_path / "a")


def test_numbers_of_the_models_own_types_can_be_written(tmp_path):
    cells = (Cell(1.0, 2.0, 3.0, 4.0, float(np.float32(0.1)), P, "LSIL"),)
    write_slide_result(tmp_path / "a", make(cells=cells, n_cells=1))
    assert read_slide_result(tmp_path / "a").cells[0].detector_score == float(np.float32(0.1))
