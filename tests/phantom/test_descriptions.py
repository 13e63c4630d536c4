from __future__ import annotations

from collections import Counter

import pytest

from koilo.phantom import Bank
from koilo.phantom.descriptions import describe, vocabulary
from koilo.taxonomy import CYTOLOGY, load_table

BLAND = {
    "nucleus_um2": 35.0, "nuclei_um2": 35.0, "cell_um2": 1200.0, "halo_um2": 0.0, "nc_area": 0.03,
    "n_nuclei": 1.0, "contour": 0.005, "elongation": 1.1, "nuclear_density": 0.65, "chromatin": 0.1,
    "displacement": 0.0, "nucleoli": 0.0, "vacuoles": 0.0, "lift_um": 0.0, "tilt": 0.0,
}  # fmt: skip


def test_the_vocabulary_has_the_papers_25_rows_and_18_texts() -> None:
    rows = load_table("descriptions")["descriptions"]
    paper = {"NILM": 1, "ASC-US": 4, "LSIL": 7, "HSIL": 6, "AGC": 7}
    assert {label: len(vocabulary(label)) for label in paper} == paper
    assert sum(paper.values()) == 25
    assert vocabulary("ASC-H") == vocabulary("HSIL") == vocabulary("SCC")
    assert len({row["text"] for row in rows}) == len(rows) == 18


@pytest.mark.parametrize("label", [c for c in CYTOLOGY if c != "NILM"])
def test_nothing_abnormal_is_said_of_a_bland_cell(label: str) -> None:
    assert describe(label, BLAND, "single") == ()


@pytest.mark.parametrize(
    ("label", "change", "text"),
    [
        ("LSIL", {"nucleus_um2": 110.0}, "nuclear enlargement >3x"),
        ("ASC-US", {"nucleus_um2": 95.0}, "nuclear enlargement 2.5-3x"),
        ("LSIL", {"n_nuclei": 2.0}, "bi- or multinucleation"),
        ("LSIL", {"halo_um2": 90.0}, "perinuclear halo or cytoplasmic vacuolisation"),
        ("HSIL", {"nc_area": 0.6}, "high N/C ratio"),
        ("SCC", {"nucleoli": 1.0}, "prominent nucleoli"),
        ("AGC", {"lift_um": 4.0}, "upward nuclear displacement"),
    ],
)
def test_a_text_follows_from_its_measure_alone(
    label: str, change: dict[str, float], text: str
) -> None:
    assert describe(label, BLAND | change, "single") == (text,)


def test_truth_varies_within_every_lesion_class(bank: Bank) -> None:
    said: dict[str, Counter[str]] = {}
    totals: Counter[str] = Counter()
    for sprite in bank:
        if sprite.label and sprite.label != "NILM":
            facts = sprite.measured | {"lift_um": 0.0, "tilt": 0.0}
            totals[sprite.label] += 1
            said.setdefault(sprite.label, Counter()).update(describe(sprite.label, facts, "single"))
    for label, counts in said.items():
        assert any(0 < n < totals[label] for n in counts.values()), (label, counts)
