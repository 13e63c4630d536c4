"""Signed with one verb and exported with another: one PDF stands beside, in FHIR and in HL7."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import hl7

from koilo.cli import main
from koilo.files import write_text
from tests.conftest import skip_or_fail
from tests.export.conftest import make_result
from tests.report.slide_folder import write_slide

READER = "王丽, כהן & Sons"


def test_a_signed_slide_of_a_laboratory_is_final_everywhere(tmp_path: Path) -> None:
    folder = write_slide(tmp_path, make_result(), {})
    write_text(tmp_path / "laboratory.yaml", "name: Cytologie Süd\nintended_use: laboratory\n")
    signing = ["--slide", "S-001", "--reader", READER, "--meaning", "approved"]
    signing += ["--interpretation", "LSIL, ASC-H", "--adequacy", "satisfactory"]
    assert main(["sign", str(tmp_path), *signing]) == 0
    assert main(["export", str(tmp_path), "--to", "pdf", "fhir", "hl7", "geojson"]) == 0

    pdf = (folder / "report.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-")
    bundle = json.loads((folder / "fhir.json").read_text(encoding="utf-8"))
    [report] = [
        entry["resource"]
        for entry in bundle["entry"]
        if entry["resource"]["resourceType"] == "DiagnosticReport"
    ]
    assert report["status"] == "final"
    assert base64.b64decode(report["presentedForm"][0]["data"]) == pdf
    assert [code["text"] for code in report["conclusionCode"]] == ["LSIL", "ASC-H"]
    message = hl7.parse((folder / "oru.hl7").read_bytes(), encoding="utf-8")
    last = message.segments("OBX")[-1]
    assert base64.b64decode(str(last[5]).split("^")[4]) == pdf
    assert str(message["OBR"][0][25]) == "F"
    assert message.unescape(str(message["OBR"][0][32]).removeprefix("&")) == READER
    assert "王丽" in _text(folder / "report.pdf")


def _text(path: Path) -> str:
    program = shutil.which("pdftotext")
    if program is None:
        skip_or_fail("pdftotext is not installed (apt-get install poppler-utils)")
    command = [str(program), "-layout", str(path), "-"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
