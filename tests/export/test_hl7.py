"""The HL7 message, read back by a parser of another hand."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import hl7
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koilo.export.codes import load_codes
from koilo.export.hl7 import build_message, escaped
from koilo.export.patients import Patient
from koilo.export.record import read_record
from koilo.report.laboratory import Laboratory
from tests.export.conftest import make_result, sign, without_cells, write_results

PDF = b"%PDF-1.7\r\n|^~\\&" + bytes(range(256))


def message_of(folder: Path, *, snomed: bool = True, **changes: Any) -> Any:
    values: dict[str, Any] = {"patient": None, "laboratory": Laboratory(), "test_data": False}
    record = read_record(folder, **(values | changes))
    text = build_message(record, load_codes(None, snomed=snomed), PDF)
    message = hl7.parse(text.encode("utf-8"), encoding="utf-8")
    assert str(message).rstrip("\r") == text.rstrip("\r"), "nothing is lost on the way"
    return message


def sections(message: Any) -> dict[str, Any]:
    return {str(obx[3]).split("^")[0]: obx for obx in message.segments("OBX")}


def test_the_message_is_an_oru_r01_with_the_pdf_whole(tmp_path: Path) -> None:
    message = message_of(write_results(tmp_path, make_result()) / "S-001")
    assert [str(segment[0]) for segment in message][:3] == ["MSH", "ORC", "OBR"]
    assert str(message["MSH"][0][9]) == "ORU^R01^ORU_R01"
    assert str(message["MSH"][0][18]) == "UNICODE UTF-8"
    assert str(message["MSH"][0][11]) == "P"
    assert len(str(message["MSH"][0][10])) == 20
    pdf = sections(message)["PDF"]
    assert str(pdf[2]) == "ED"
    assert base64.b64decode(str(pdf[5]).split("^")[4]) == PDF
    assert [str(obx[1]) for obx in message.segments("OBX")] == [
        str(n) for n in range(1, len(message.segments("OBX")) + 1)
    ]
    assert str(message["OBR"][0][4]).startswith("47527-7^")
    assert str(message["OBR"][0][24]) == "CP"
    assert [str(message["ORC"][0][at]) for at in (1, 2, 3)] == ["RE", "C26-1", "S-001"]
    assert str(message["OBR"][0][7]) == "20260304"
    assert float(str(sections(message)["P_HSIL+SCC"][5])) == pytest.approx(0.58)


@pytest.mark.parametrize(
    ("names", "use", "meaning", "state"),
    [
        ((), "laboratory", "", "P"),
        (("HSIL",), "research", "approved", "P"),
        (("HSIL",), "laboratory", "approved", "F"),
        (("LSIL", "ASC-H"), "laboratory", "corrected", "C"),
    ],
)
def test_every_section_says_how_final_it_is(
    tmp_path: Path, names: tuple[str, ...], use: str, meaning: str, state: str
) -> None:
    folder = write_results(tmp_path, make_result()) / "S-001"
    if names:
        sign(folder, "HSIL")
    if meaning == "corrected":
        sign(folder, *names, meaning=meaning)
    message = message_of(folder, laboratory=Laboratory(intended_use=use))
    assert str(message["OBR"][0][25]) == state
    assert {str(obx[11]) for obx in message.segments("OBX")} == {state}
    found = sections(message)
    assert ("19762-4" in found, "10524-7" in found) == (bool(names), bool(names))
    coded = [str(obx[5]).split("^")[0] for obx in message.segments("OBX") if str(obx[2]) == "CE"]
    wanted = {"HSIL": "62061000119107", "LSIL": "62051000119105", "ASC-H": "441088002"}
    assert coded == [wanted[name] for name in names]
    bare = message_of(folder, snomed=False)
    assert all(str(obx[2]) != "CE" for obx in bare.segments("OBX"))


def test_doubt_is_said_with_its_reasons(tmp_path: Path) -> None:
    result = replace(make_result(), needs_human=True, needs_human_why=("odd thing",))
    text = str(message_of(write_results(tmp_path, result) / "S-001"))
    assert "odd thing" in text


def test_the_patient_is_there_only_where_given_with_names_of_any_script(tmp_path: Path) -> None:
    folder = write_results(tmp_path, make_result()) / "S-001"
    with pytest.raises(KeyError):
        message_of(folder)["PID"]
    for patient_id, family, name in (
        ("A|1^2~3\\4&5", "王", "小明"),
        ("‏7", "כהן", "שרה"),
        ("0" * 64, "O'Neil & Sons", "a^b|c"),
    ):
        pid = message_of(folder, patient=Patient(patient_id, family, name, None, "female"))["PID"][
            0
        ]
        unescape = hl7.parse("MSH|^~\\&|\r").unescape
        assert unescape(str(pid[3])) == patient_id
        assert [unescape(part) for part in str(pid[5]).split("^")] == [family, name]
        assert str(pid[8]) == "F"


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=40))
def test_whatever_is_written_comes_back_and_breaks_no_field(text: str) -> None:
    inside = escaped(text)
    assert not set(inside) & set("|^~&\r\n")
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    back = hl7.parse("MSH|^~\\&|\r").unescape(inside.replace("\\.br\\", "\n"))
    assert back == plain


def test_test_data_is_marked_and_a_slide_without_cells_is_not_negative(tmp_path: Path) -> None:
    folder = write_results(tmp_path, without_cells(make_result())) / "S-001"
    message = message_of(folder, test_data=True)
    assert str(message["MSH"][0][11]) == "T"
    assert "NILM" not in str(message)
    assert "no result: rescan: no cells found" in str(message)
