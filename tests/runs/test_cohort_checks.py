"""Checks of a cohort: they find what tells a label where it does, and nothing where it does not."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from koilo.datasets.crop_store import CropStore
from koilo.errors import ManifestError
from koilo.files import ensure_folder
from tests.conftest import ROOT
from tests.train.toy_store import make_toy_store

sys.path.insert(0, str(ROOT / "runs"))

import cohort_checks
import cohort_facts

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> CropStore:
    """A hundred slides; positive ones have more cells, come from C1, and hold large nuclei."""
    store = make_toy_store(tmp_path_factory.mktemp("drawn"), n_slides=100, splits=("train", "test"))
    truth = ensure_folder(store.folder / "truth")
    labels = np.array([slide.label for slide in store.slides])
    slides = {
        "slide_id": [slide.slide_id for slide in store.slides],
        "split": [slide.split for slide in store.slides],
        "truth": labels,
        "n_cells": np.where(labels == "NILM", 4000, 9000) + RNG.integers(0, 50, len(labels)),
    }
    lesion = store.cells.truth != "NILM"
    attributes = {name: RNG.normal(0, 1, len(lesion)) for name in cohort_facts.ATTRIBUTES}
    cells = {
        "slide_id": store.cells.slide_id,
        "rank": store.cells.rank,
        "visible": np.ones(len(lesion), bool),
        "truth": store.cells.truth,
        **(attributes | {"nucleus_um2": attributes["nucleus_um2"] + 9 * lesion}),
    }
    for name, columns in (("slides", slides), ("cells", cells)):
        pq.write_table(pa.table(columns), truth / f"{name}.parquet")
    return store


def test_the_oracle_calls_slides_by_the_attributes_of_their_cells(
    drawn: CropStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cohort_checks.oracle(drawn, 6) == 1
    blind = tuple(name for name in cohort_facts.ATTRIBUTES if name != "nucleus_um2")
    monkeypatch.setattr(cohort_checks, "ATTRIBUTES", blind)
    assert abs(cohort_checks.oracle(drawn, 6) - 0.5) < 0.25


def test_what_tells_the_label_is_found_and_what_does_not_is_not(drawn: CropStore) -> None:
    found = cohort_checks.nothing(drawn)
    assert found["centre"] == 1
    assert found["number of cells"] == 1
    assert found["mean colour"] > 0.9, "lesions of the toy are dark squares"
    mixed = replace(
        drawn,
        slides=tuple(replace(s, centre=f"C{i // 2 % 2}") for i, s in enumerate(drawn.slides)),
    )
    assert abs(cohort_checks.nothing(mixed)["centre"] - 0.5) < 0.15


def test_a_store_without_truth_is_refused(tmp_path: Path) -> None:
    store = make_toy_store(tmp_path)
    with pytest.raises(ManifestError, match=r"slides\.parquet cannot be read"):
        cohort_facts.read_columns(store, "slides")


@pytest.mark.parametrize(
    ("made", "said"), [(False, "no whole crop store"), (True, "has no unseen centres")]
)
def test_a_folder_that_is_no_cohort_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    made: bool, said: str,
) -> None:  # fmt: skip
    if made:
        make_toy_store(tmp_path)
    monkeypatch.setattr(sys, "argv", ["cohort_checks.py", str(tmp_path)])
    assert cohort_checks.run_script(cohort_checks.main) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]
