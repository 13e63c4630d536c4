"""What is said of kept cells, and where their own measures belie it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from koilo.manifest import SlideEntry
from koilo.pipeline import load_models, read_one
from koilo.pipeline.reasons import HALO_WITHOUT_ATYPIA, contradictions, explain_cells
from koilo.pipeline.reference import Reference
from koilo.pipeline.workers import open_workers
from koilo.types import Cell
from tests.language.toys import TEXTS, add_words
from tests.pipeline import toys

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("text", "measures", "belied"),
    [
        ("nuclear enlargement >3x", {"nucleus_ratio": 2.2}, True),
        ("nuclear enlargement >3x", {"nucleus_ratio": 2.3}, False),  # within the tolerance
        ("nuclear enlargement 2.5-3x", {"nucleus_ratio": 4.0}, True),
        ("nuclear enlargement 2.5-3x", {"nucleus_ratio": 3.5}, False),
        ("normal cell", {"nucleus_ratio": 3.5}, True),
        ("normal cell", {"nucleus_ratio": 1.0, "nc_area": 0.7}, True),
        ("high N/C ratio", {"nc_area": 0.05}, True),
        ("hyperchromasia", {"darkness_ratio": 0.6}, True),
        ("hyperchromasia", {}, False),  # what could not be measured contradicts nothing
        ("prominent nucleoli", {"nucleus_ratio": 0.5}, False),  # nothing measures nucleoli
    ],
)
def test_a_text_is_flagged_only_beyond_the_tolerance(text, measures, belied):
    assert bool(contradictions("HSIL", [text], measures)) == belied


def test_a_flag_names_the_text_the_measure_and_its_value():
    (flag,) = contradictions("HSIL", ["high N/C ratio"], {"nc_area": 0.051})
    assert flag == "high N/C ratio: measured N/C by area is 0.051"


@pytest.mark.parametrize(
    ("label", "more", "flagged"),
    [
        ("LSIL", {"nucleus_ratio": 1.2}, True),
        ("LSIL", {"nucleus_ratio": 1.2, "darkness_ratio": 1.1, "contour": 0.003}, True),
        ("LSIL", {"nucleus_ratio": 3.1}, False),
        ("LSIL", {"nucleus_ratio": 1.2, "darkness_ratio": 1.5}, False),
        ("HSIL", {"nucleus_ratio": 1.2}, False),
    ],
)
def test_a_halo_without_nuclear_atypia_may_not_carry_lsil(label, more, flagged):
    flags = contradictions(label, [], {"halo_ratio": 2.0, **more})
    assert (HALO_WITHOUT_ATYPIA in flags) == flagged
    assert HALO_WITHOUT_ATYPIA not in contradictions(label, [], {"halo_ratio": 0.1, **more})


def explain(reference, n=2):
    crops = toys.draw_cells((48 * n, 48), 0, 0).reshape(48, n, 48, 3).swapaxes(0, 1)
    crops = np.ascontiguousarray(crops)
    for crop in crops:
        crop[8:40, 8:40] = (160, 183, 193)
        crop[18:30, 18:30] = (76, 50, 81)
    with open_workers(CPU) as workers:
        return explain_cells(
            [Cell(0, 0, 9, 9, 0.5, label="NILM")] * n, crops, np.zeros((n, 3), np.float32), mpp=0.5,
            glass=np.array(toys.GLASS, float), reference=reference, describer=None, workers=workers,
        )  # fmt: skip


def test_ratios_are_to_the_slides_own_nuclei():
    first, second = explain(Reference(18.0, 0.3, 80))
    assert first.measures["nucleus_ratio"] == pytest.approx(first.measures["nucleus_um2"] / 18)
    assert first.measures["darkness_ratio"] == pytest.approx(first.measures["nuclear_od"] / 0.3)
    assert first.measures == second.measures
    assert first.descriptions is None
    assert first.text_space == ()


def test_a_textbook_reference_gives_no_darkness():
    assert "darkness_ratio" not in explain(Reference(35.0, None, 3))[0].measures


def test_no_cell_has_no_reason():
    assert explain(Reference(35.0, None, 0), n=0) == ()


def test_a_screened_slide_carries_texts_and_measures(tmp_path, slides):
    toys.write_toy_bundle(tmp_path / "b")
    models = load_models(add_words(tmp_path / "b", threshold=-2.0), CPU)
    result = read_one(SlideEntry("lesion", slides["lesion"]), models).result
    assert result.cells
    assert all(cell.descriptions == TEXTS for cell in result.cells)
    assert all(len(cell.text_space) == 9 for cell in result.cells)
    reference = result.slide["nuclear_reference"]
    lesions = [cell for cell in result.cells if cell.label == "HSIL"]
    ratio = np.median([cell.measures["nucleus_ratio"] for cell in lesions])
    true_um2 = np.pi * 6.5**2
    assert ratio == pytest.approx(true_um2 / reference["nucleus_um2"], rel=0.25)


def test_without_the_module_cells_are_measured_but_not_described(models, slides):
    result = read_one(SlideEntry("normal", slides["normal"]), models).result
    assert all(cell.descriptions is None and cell.text_space == () for cell in result.cells)
    assert sum("nucleus_um2" in cell.measures for cell in result.cells) > len(result.cells) / 2


def test_a_blank_slide_has_a_textbook_reference(models, slides):
    reference = read_one(SlideEntry("blank", slides["blank"]), models).result.slide
    assert reference["nuclear_reference"] == {
        "source": "textbook", "nucleus_um2": 35.0, "nuclear_od": None, "n": 0
    }  # fmt: skip
