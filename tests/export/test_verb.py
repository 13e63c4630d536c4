"""koilo export as it is typed: which files appear, what is refused, what is said."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shapely.geometry import box, shape

from koilo.cli import main
from koilo.datasets.geojson import extents, read_features
from koilo.files import folder_lock, write_text
from koilo.manifest import SlideEntry
from koilo.report.drawn import Drawn, write_drawn
from koilo.results import CELLS, read_cell_measures
from koilo.screen.outcome import failed
from koilo.types import SlideResult
from tests.export.conftest import make_result, sign, without_cells, write_results

FAILED = SlideResult("S-009", "/nowhere/S-009.svs", "failed", error="cut short.", fingerprint="x")


def export(out: Path, *arguments: str) -> int:
    return main(["export", str(out), *arguments])


def files(folder: Path) -> set[str]:
    left = {"cells.geojson", "cells.parquet", "report.html", "result.json", "signatures.json"}
    return {path.name for path in folder.iterdir()} - left


@pytest.mark.usefixtures("no_pdf")
def test_every_format_appears_beside_the_report(
    tmp_path: Path, dicom_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_results(tmp_path, make_result(path=str(dicom_slide)))
    assert export(tmp_path, "--to", "pdf", "fhir,hl7", "dicom", "geojson") == 0
    assert files(tmp_path / "S-001") == {
        "report.pdf", "fhir.json", "oru.hl7", "sr.dcm", "annotations.dcm", "quality_seg.dcm",
        "cells.geojson.gz",
    }  # fmt: skip


def test_the_page_is_written_in_the_language_asked_for_or_the_laboratorys(tmp_path: Path) -> None:
    write_results(tmp_path, make_result())
    write_drawn(tmp_path / "S-001", Drawn({}))
    assert export(tmp_path, "--to", "html") == 0
    (tmp_path / "laboratory.yaml").write_text("language: zh")
    assert export(tmp_path, "--to", "html") == 0
    folder = tmp_path / "S-001"
    assert files(folder) == {"report_en.html", "report_zh.html", "report.json"}
    for language in ("en", "zh"):
        page = (folder / f"report_{language}.html").read_text(encoding="utf-8")
        assert f'<html lang="{language}">' in page
    assert export(tmp_path, "--to", "html", "--language", "de") == 2


def test_the_geojson_holds_every_cell_with_all_that_was_measured(tmp_path: Path) -> None:
    result = make_result()
    cells = (replace(result.cells[0], descriptions=("perinuclear halo",)), *result.cells[1:])
    slide = {**result.slide, "bounds_px0": [100, 50, 900, 700]}
    write_results(tmp_path, replace(result, cells=cells, slide=slide))
    table = pq.read_table(tmp_path / "S-001" / CELLS)
    areas = pa.array([float(n) for n in range(len(table))])
    table = table.append_column("nucleus_area_um2", areas)
    table = table.append_column("flagged", pa.array([True] * len(table)))
    pq.write_table(
        table.append_column("why", pa.array(["x"] * len(table))), tmp_path / "S-001" / CELLS
    )
    assert export(tmp_path, "--to", "geojson") == 0
    path = tmp_path / "S-001" / "cells.geojson.gz"
    with gzip.open(path, "rt", encoding="utf-8") as handle:
        value = json.load(handle)
    assert value["koilo"]["status"] == "preliminary"
    for number, (feature, cell) in enumerate(zip(value["features"], cells, strict=True)):
        wanted = box(cell.x_px0 - 100, cell.y_px0 - 50, cell.x_px0 + cell.w_px0 - 100,
                     cell.y_px0 + cell.h_px0 - 50)  # fmt: skip
        assert shape(feature["geometry"]).symmetric_difference(wanted).area < 3
        assert feature["properties"]["objectType"] == "detection"
        measures = feature["properties"]["measurements"]
        assert measures["nucleus_area_um2"] == number
        assert measures["flagged"] == 1
        assert "why" not in measures
    assert value["features"][0]["properties"]["metadata"] == {"descriptions": "perinuclear halo"}
    assert len([extents(f["geometry"]) for f in read_features(path)]) == len(cells)
    assert read_cell_measures(tmp_path / "S-001")[3] == {"nucleus_area_um2": 3, "flagged": 1}


@pytest.mark.usefixtures("no_pdf")
@pytest.mark.parametrize("kind", ["phantom", "composed"])
def test_a_made_slide_stays_out_of_a_hospitals_systems_unless_marked(
    tmp_path: Path, kind: str, dicom_slide: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slide = {**make_result().slide, "synthetic": kind}
    write_results(tmp_path, make_result(path=str(dicom_slide), slide=slide))
    assert export(tmp_path, "--to", "fhir", "hl7", "dicom", "geojson", "pdf") == 1
    assert files(tmp_path / "S-001") == {"cells.geojson.gz", "report.pdf"}
    assert caplog.text.count("--test-data") == 3
    assert export(tmp_path, "--to", "fhir", "hl7", "--test-data") == 0
    assert "HTEST" in (tmp_path / "S-001" / "fhir.json").read_text(encoding="utf-8")


@pytest.mark.usefixtures("no_pdf")
def test_a_failed_slide_is_named_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_results(tmp_path, FAILED, make_result(), replace(without_cells(make_result()),
                                                          slide_id="S-002"))  # fmt: skip
    assert export(tmp_path, "--to", "fhir", "geojson") == 0
    assert "left out: S-009 failed (cut short)" in caplog.text
    assert files(tmp_path / "S-009") == set()
    assert files(tmp_path / "S-002") == {"fhir.json", "cells.geojson.gz"}
    with gzip.open(tmp_path / "S-002" / "cells.geojson.gz") as handle:
        assert json.load(handle)["features"] == []
    assert export(tmp_path, "--slide", "S-009", "--to", "fhir") == 1


@pytest.mark.usefixtures("no_pdf")
def test_what_cannot_be_written_is_said_and_an_older_file_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_results(tmp_path, make_result())
    (tmp_path / "S-001" / "sr.dcm").write_bytes(b"old")
    assert export(tmp_path, "--to", "dicom", "hl7") == 1
    assert "dicom not written: The file of S-001 is no longer at /nowhere" in caplog.text
    assert files(tmp_path / "S-001") == {"oru.hl7"}


@pytest.mark.usefixtures("no_pdf")
def test_patients_enter_only_from_the_list_that_was_given(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_results(tmp_path, make_result(), replace(make_result(), slide_id="S-002"))
    patients = tmp_path / "patients.csv"
    write_text(patients, "slide_id,patient_id,family,given,birth_date,sex\n"
                         "S-001,A|7^~\\&,王,小明,1980-02-03,female\n")  # fmt: skip
    assert export(tmp_path, "--to", "fhir", "hl7", "--patients", str(patients)) == 0
    first, second = (tmp_path / name / "fhir.json" for name in ("S-001", "S-002"))
    assert '"birthDate": "1980-02-03"' in first.read_text(encoding="utf-8")
    assert "Patient" not in second.read_text(encoding="utf-8")
    assert "S-002: " in caplog.text
    assert "PID|1||A\\F\\7\\S\\\\R\\\\E\\\\T\\||王^小明||19800203|F" in (
        tmp_path / "S-001" / "oru.hl7"
    ).read_text(encoding="utf-8")
    assert "PID|" not in (tmp_path / "S-002" / "oru.hl7").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("S-001,,a,b,,", "row 2: there is no patient_id"),
        ("S-001," + "9" * 65 + ",a,b,,", "patient_id has 65 characters"),
        ("S-001,1,a\u202eb,c,,", "family holds characters that cannot be seen"),
        ("S-001,1\x07,a,b,,", "patient_id holds characters"),
        ("S-001,1,a,b,03.02.1980,", "birth_date is '03.02.1980'"),
        ("S-001,1,a,b,2999-01-01,", "lies in the future"),
        ("S-001,1,a,b,,banana", "sex is 'banana'"),
        ("S-001,1,,,,\nS-001,2,,,,", "stands twice"),
    ],
)
def test_an_absurd_patient_is_named_in_one_line(
    tmp_path: Path, row: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(tmp_path, make_result())
    path = tmp_path / "patients.csv"
    write_text(path, f"slide_id,patient_id,family,given,birth_date,sex\n{row}\n")
    assert export(tmp_path, "--to", "geojson", "--patients", str(path)) == 2
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1


@pytest.mark.usefixtures("no_pdf")
def test_codes_can_be_replaced_and_a_table_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(tmp_path, make_result())
    table = tmp_path / "codes.yaml"
    write_text(table, "loinc:\n  adequacy: 1234-5\n")
    assert export(tmp_path, "--to", "fhir", "--codes", str(table)) == 0
    text = (tmp_path / "S-001" / "fhir.json").read_text(encoding="utf-8")
    assert "1234-5" in text
    assert "19764-0" not in text
    assert "47527-7" in text
    for content in ("loinc:\n  banana: 1\n", "- 1\n", "loinc: 7\n", "{"):
        write_text(table, content)
        assert export(tmp_path, "--to", "fhir", "--codes", str(table)) == 2
        assert "is no table of codes" in capsys.readouterr().err


@pytest.mark.usefixtures("no_pdf")
def test_a_result_that_changed_since_it_was_signed_is_not_exported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_results(tmp_path, make_result())
    sign(tmp_path / "S-001", "HSIL")
    assert export(tmp_path, "--to", "hl7") == 0
    text = (tmp_path / "S-001" / "result.json").read_text(encoding="utf-8")
    write_text(tmp_path / "S-001" / "result.json", text.replace("0.98", "0.12"))
    assert export(tmp_path, "--to", "hl7") == 1
    assert "changed since Dr. 王小明 signed it" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "banana"], "there is no format 'banana'"),
        (["--to", "fhri"], "Did you mean 'fhir'?"),
        (["--to", "geojson", "--language", "xx"], "language is 'xx'"),
        (["--to", "geojson", "--slide", "S-01"], "has no slide 'S-01'. Did you mean 'S-001'?"),
        ([], "required: to"),
    ],
)
def test_what_is_typed_wrong_is_named(
    tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(tmp_path, make_result())
    assert export(tmp_path, *arguments) == 2
    assert said in capsys.readouterr().err
    assert export(tmp_path / "nothing", "--to", "pdf") == 2


@pytest.mark.usefixtures("no_pdf")
def test_chinese_texts_where_asked(tmp_path: Path) -> None:
    write_results(tmp_path, make_result())
    sign(tmp_path / "S-001", "LSIL", "ASC-H")
    assert export(tmp_path, "--to", "fhir", "hl7", "--language", "zh") == 0
    for name in ("fhir.json", "oru.hl7"):
        text = (tmp_path / "S-001" / name).read_text(encoding="utf-8")
        assert "仅供研究使用" in text
        assert "LSIL" in text


@pytest.mark.usefixtures("no_pdf")
def test_exports_go_when_what_they_say_is_no_longer_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_results(tmp_path, make_result())
    folder = tmp_path / "S-001"
    assert export(tmp_path, "--to", "fhir", "geojson") == 0
    monkeypatch.setattr("koilo.report.sign.rewrite_report", lambda folder: None)
    signing = ["--slide", "S-001", "--reader", "A", "--meaning", "approved"]
    assert main(["sign", str(tmp_path), *signing, "--interpretation", "HSIL"]) == 0
    assert files(folder) == set()
    assert export(tmp_path, "--to", "fhir") == 0
    failed(folder, SlideEntry("S-001", tmp_path / "S-001.svs"), "key", "cut short.")
    assert files(folder) == set()


def test_a_folder_in_use_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_results(tmp_path, make_result())
    with folder_lock(tmp_path):
        assert export(tmp_path, "--to", "geojson") == 2
    assert "in use by another koilo run" in capsys.readouterr().err
