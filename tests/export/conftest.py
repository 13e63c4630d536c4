"""Made results of slides of several kinds, with the files that a screening leaves of them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from koilo.files import write_text
from koilo.results import REPORT, write_slide_result
from koilo.signatures import Signature, add_signature
from koilo.types import Adequacy, Cell, ImageQuality, SlideResult
from tests.conftest import skip_or_fail
from tests.slides.conftest import texture
from tests.slides.dicom_maker import write_dicom_slide

CLASSES = ("NILM", "ASC-US", "LSIL", "ASC-H", "HSIL", "SCC")
PROBABILITIES = {"NILM": 0.02, "ASC-US": 0.09, "LSIL": 0.2, "ASC-H": 0.11, "HSIL+SCC": 0.58}
SIZE_PX = (1200, 900)


def make_result(**changes: Any) -> SlideResult:
    rng = np.random.default_rng(0)
    cells = tuple(
        Cell(
            x_px0=float(rng.uniform(0, SIZE_PX[0] - 100)),
            y_px0=float(rng.uniform(0, SIZE_PX[1] - 100)),
            w_px0=float(rng.uniform(40, 90)),
            h_px0=float(rng.uniform(40, 90)),
            detector_score=0.9 - 0.01 * n,
            probabilities={name: 0.5 if name == CLASSES[n % 6] else 0.1 for name in CLASSES},
            label=CLASSES[n % 6],
            attention=0.05,
        )
        for n in range(12)
    )
    values: dict[str, Any] = {
        "slide_id": "S-001",
        "path": "/nowhere/S-001.svs",
        "status": "done",
        "label": "HSIL+SCC",
        "probabilities": PROBABILITIES,
        "p_positive": 0.98,
        "positive": True,
        "threshold": 0.2173,
        "n_cells": len(cells),
        "cells": cells,
        "image_quality": ImageQuality("ok"),
        "adequacy": Adequacy("adequate", 12412, 11020, 13904, 5000, "thinprep"),
        "slide": {
            "kind": "slide",
            "dimensions": list(SIZE_PX),
            "mpp": 0.5,
            "synthetic": None,
            "case": {"accession": "C26-1", "preparation": "thinprep", "collected_on": "2026-03-04"},
        },
        "seconds": {"total": 1.0},
        "fingerprint": "c0ffee12",
        "provenance": {
            "koilo_version": "0.1.0",
            "bundle": "cytology",
            "bundle_sha256": "9f2c1a77" * 8,
            "slide_identity": "ab" * 32,
            "started_at": "2026-03-05T07:08:09+00:00",
        },
    }
    return SlideResult(**(values | changes))


def write_results(out: Path, *results: SlideResult) -> Path:
    for result in results:
        folder = out / result.slide_id
        folder.mkdir(parents=True)
        if result.status == "done":
            write_text(folder / REPORT, "<html><body><p>The report</p></body></html>")
        write_slide_result(folder, result)
    return out


def without_cells(result: SlideResult) -> SlideResult:
    nothing: dict[str, Any] = {"cells": (), "n_cells": 0, "label": None, "p_positive": None}
    quality = ImageQuality("rescan: no cells found")
    return replace(result, **nothing, positive=None, probabilities={}, image_quality=quality)


def sign(folder: Path, *names: str, **changes: Any) -> None:
    values: dict[str, Any] = {
        "slide_id": folder.name,
        "reader": "Dr. 王小明",
        "meaning": "approved",
        "signed_at": "",
        "interpretation": names,
        "result_sha256": "",
        "cells_sha256": "",
        "adequacy": "satisfactory",
    }
    add_signature(folder, Signature(**(values | changes)))


@pytest.fixture
def no_pdf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short bytes for the PDF, whose making is tested where it is made."""
    monkeypatch.setattr(
        "koilo.report.pdf.report_pdf", lambda folder, language: b"%PDF-" + b"x" * 99
    )


@pytest.fixture(scope="session")
def dicom_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dicom_slide(tmp_path_factory.mktemp("dicom") / "S-001", texture(*SIZE_PX))


@pytest.fixture
def dciodvfy() -> str:
    path = shutil.which("dciodvfy")
    if path is None:
        skip_or_fail("dciodvfy is not installed (apt-get install dicom3tools)")
    assert path is not None
    return path
