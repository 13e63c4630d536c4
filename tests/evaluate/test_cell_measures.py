"""Kept cells against labelled ones, and slides against their cells."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from koilo.errors import ManifestError
from koilo.evaluate.verb import EvaluateConfig, evaluate
from koilo.types import Cell
from tests.evaluate.results_folder import result, write_results, write_truth


def cell(x: float, score: float, p_lesion: float, label: str) -> Cell:
    """A box of 4 px around (x, 50)."""
    return Cell(x - 2, 48, 4, 4, score, {"NILM": 1 - p_lesion, "LSIL": p_lesion}, label)


@pytest.fixture
def study(tmp_path: Path) -> EvaluateConfig:
    """An LSIL slide with three cells, two of them on lesions; one that holds none; mpp 1."""
    made = [result("a", 0.9), result("b", 0.2)]
    cells = (cell(10, 0.9, 0.2, "NILM"), cell(50, 0.8, 0.9, "HSIL"), cell(90, 0.7, 0.8, "HSIL"))
    made[0] = replace(made[0], cells=cells, slide={"kind": "slide", "mpp": 1.0})
    made[1] = replace(made[1], cells=cells[:1], slide={"kind": "slide", "mpp": 1.0})
    (tmp_path / "cells.csv").write_text(
        "slide_id,x_px0,y_px0,w_px0,h_px0,label\n"
        "a,48,46,6,6,LSIL\n"  # centre 1 px from a kept cell
        "a,90,52,6,6,LSIL\n"  # 5.8 px away
        "a,300,50,4,4,LSIL\n"  # not kept
        "a,8,48,4,4,NILM\n"
    )
    return EvaluateConfig(
        write_results(tmp_path / "results", made),
        tmp_path / "out",
        write_truth(tmp_path / "m.csv", {"a": "LSIL", "b": "NILM"}),
        cells=tmp_path / "cells.csv",
        draws=20,
        no_figures=True,
    )


def test_cells_are_matched_with_their_truth_and_ranked_both_ways(study: EvaluateConfig) -> None:
    evaluate(study)
    found = json.loads((study.out / "measures.json").read_text())["cells"]
    precision = found["precision_at_top_32"]["by_detector_score"]
    unknown = {"low": None, "high": None}  # one slide a class
    assert {row["label"]: row["precision"] for row in precision} == {
        "NILM": {"estimate": 0.0, **unknown},
        "LSIL": {"estimate": pytest.approx(2 / 3, abs=1e-6), **unknown},
    }
    assert found["n_lesion_cells"] == 3
    assert found["top_k_recall"]["32"]["estimate"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["mismatch"] == [
        {"slide": "LSIL", "leading_cell": "HSIL", "n": 1},
        {"slide": "NILM", "leading_cell": "NILM", "n": 1},
    ]
    with open(study.out / "top_cells.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7
    assert set(rows[0]) == {"measure", "slide class", "slides", "share", "share_low", "share_high"}
    assert "leads among its 32" in (study.out / "evaluation.md").read_text()


def test_cells_of_other_slides_are_refused(study: EvaluateConfig, tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    path.write_text(path.read_text().replace("\na,", "\nother,"))
    with pytest.raises(ManifestError, match="no cell of the 2 judged slides"):
        evaluate(study)


def test_cells_that_are_malformed_or_have_no_results_are_refused(
    study: EvaluateConfig, tmp_path: Path
) -> None:
    table = replace(study, results=study.results / "slides.csv")
    with pytest.raises(ManifestError, match="no results folder with cells"):
        evaluate(table)
    (tmp_path / "cells.csv").write_text("slide_id,label\na,CIN2\n")
    with pytest.raises(ManifestError, match="cannot be read as labelled cells"):
        evaluate(study)
