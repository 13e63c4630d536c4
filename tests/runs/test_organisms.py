"""The page of the head for organisms: what is drawn, what is real, and the control beside it."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from koilo.cells.organisms import OrganismHead, OrganismReader
from koilo.phantom.organisms import ORGANISM_NAMES
from koilo.taxonomy import CYTOLOGY
from koilo.train.recipes.organisms import OrganismCells, OrganismsConfig
from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "runs"))

import organisms


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> OrganismReader:
    """One that reads its probabilities out of the features themselves."""
    made = OrganismReader(OrganismHead(5, 5), ORGANISM_NAMES, [0.5] * 5)
    monkeypatch.setattr(made, "predict", lambda features: features)
    return made


def test_a_row_holds_what_was_measured_and_the_controls_area(reader: OrganismReader) -> None:
    holds = np.zeros((4, 5), bool)
    holds[:2, 0] = True
    features = np.zeros((4, 5), np.float32)
    features[:, 0] = (0.9, 0.4, 0.6, 0.1)
    unseen = OrganismCells(features, holds, np.array([0.1, 0.2, 0.8, 0.9], np.float32))
    first, second, *_ = organisms.drawn_rows(reader, unseen)
    assert first == ["candida", 2, 0.75, 0.5, 0.5, 0.0]
    assert second == ["trichomonas", 0, None, None, None, None]


def test_false_alarms_are_told_by_normal_and_lesion_cells(reader: OrganismReader) -> None:
    p = np.zeros((5, 5), np.float32)
    p[[0, 4], 0] = 0.9
    labels = np.array([CYTOLOGY.index(name) for name in ("NILM", "NILM", "NILM", "NILM", "HSIL")])
    rows = organisms.alarms(reader, p, labels)
    assert rows[0][0] == "candida"
    assert rows[0][1].startswith("0.250 (")
    assert rows[0][2].startswith("1.000 (")
    assert rows[1][1].startswith("0.000 (0.000")
    page = organisms.page_of(OrganismsConfig(), reader, OrganismCells(p, p > 0.5, p[:, 0]), rows)
    assert "no bundle" in page["notes"][0]
    assert page["tables"]["real cells (CRIC) over the threshold"]["rows"] == rows
