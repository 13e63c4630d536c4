"""The composed cohort: a sound store, pools that share no cell, labels that the cells bear out."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from koilo.datasets.cric import cric_folds, read_cric
from koilo.datasets.crop_store import CropStore, open_crop_store
from koilo.errors import ConfigError, ManifestError
from koilo.phantom import Bank
from koilo.phantom.composed import MOST_SLIDES_A_CELL
from koilo.phantom.composed_cohort.config import ComposedConfig, smoke
from koilo.phantom.composed_cohort.crops import darkness
from koilo.phantom.composed_cohort.pools import open_pool
from koilo.phantom.composed_cohort.write import CENTRES, fold_of, write_composed_cohort
from koilo.phantom.multicentre.config import SplitSize
from koilo.taxonomy import most_severe

from .conftest import TINY


def truth_of(store: CropStore, name: str) -> list[dict[str, Any]]:
    return list(pq.read_table(store.folder / "truth" / f"{name}.parquet").to_pylist())


def check_cells_and_labels(store: CropStore, config: ComposedConfig) -> None:
    """What holds of every composed cohort."""
    cells = truth_of(store, "cells")
    places = [(row["field_id"], row["cell_id"]) for row in cells]
    assert max(Counter(places).values()) <= MOST_SLIDES_A_CELL
    assert len(
        {(row["slide_id"], *place) for row, place in zip(cells, places, strict=True)}
    ) == len(cells)
    for row in cells:
        assert cric_folds()[row["field_id"]] == (row["block"], config.folds[row["split"]])
    for slide in store.slides:
        own = [row["bethesda"] for row in cells if row["slide_id"] == slide.slide_id]
        assert most_severe(label for label in own if label) in slide.label.split("+")
        assert config.cells[0] <= len(own) <= config.cells[2]


def test_the_cohort_is_a_crop_store_of_three_splits(tiny: CropStore) -> None:
    store = open_crop_store(tiny.folder)
    assert [len(store.of_split(s)) for s in TINY.splits] == [14, 14, 14]
    assert {slide.centre for slide in store.slides} == set(CENTRES.values())
    assert all(len(store.bag(slide.slide_id)) == TINY.top_k for slide in store.slides)
    assert store.crops.std(axis=(1, 2, 3)).min() > 0, "a crop was never drawn"
    assert store.facts["synthetic"] == "composed"
    assert "CC BY 4.0" in store.facts["source"]


def test_a_cell_lies_in_one_split_and_a_slide_is_of_its_gravest_class(tiny: CropStore) -> None:
    check_cells_and_labels(tiny, TINY)


def test_the_best_cells_are_the_darkest(tiny: CropStore) -> None:
    for slide in tiny.slides:
        rows = tiny.bag(slide.slide_id)
        score = tiny.cells.detector_score[rows]
        assert (np.diff(score) <= 0).all()
        assert np.allclose(score, darkness(tiny.crops[rows], tiny.mpp))
    dropped = [row for row in truth_of(tiny, "cells") if row["rank"] < 0]
    worst = {s.slide_id: tiny.cells.detector_score[tiny.bag(s.slide_id)][-1] for s in tiny.slides}
    assert dropped
    assert all(row["detector_score"] <= worst[row["slide_id"]] for row in dropped)


def test_a_labelled_nucleus_lies_in_the_middle_of_its_crop(tiny: CropStore) -> None:
    known = tiny.crops[tiny.cells.truth != ""]
    cytoplasm = 205
    assert (known[:, 29:35, 29:35].mean((1, 2, 3)) < cytoplasm - 20).mean() > 0.97


def test_truth_says_of_every_crop_which_cell_it_shows(tiny: CropStore) -> None:
    cells = [row for row in truth_of(tiny, "cells") if row["crop"] >= 0]
    assert sorted(row["crop"] for row in cells) == list(range(len(tiny.cells)))
    for row in cells:
        assert tiny.cells.slide_id[row["crop"]] == row["slide_id"]
        assert tiny.cells.rank[row["crop"]] == row["rank"]
        assert tiny.cells.truth[row["crop"]] == row["truth"] == fold_of(row["bethesda"])


def test_labels_are_given_in_training_alone_wherever_a_labelled_cell_shows(tiny: CropStore) -> None:
    rows = truth_of(tiny, "cells")
    assert {row["split"] for row in rows if row["given"]} == {"train"}
    assert all(row["given"] == row["truth"] for row in rows if row["given"])
    labelled = {(row["field_id"], row["cell_id"]) for row in rows if row["given"]}
    for row in rows:
        assert bool(row["given"]) == ((row["field_id"], row["cell_id"]) in labelled)


def test_a_cell_beside_a_graver_one_is_not_cut_out(cric: Path) -> None:
    with open_pool(read_cric(cric), 0, TINY.mpp, 1) as pool:
        cut = {cell.cell_id for cell in pool.cells if cell.label}
        known = {cell.cell_id for field in pool.fields.values() for cell in field.source.cells}
        beside = {f"{number}-0" for number, field in pool.fields.items() if not field.clean}
        assert known - cut == beside
        dark = pool.of("")
        assert dark
        assert all(pool.fields[cell.field_id].clean for cell in dark)


def test_one_seed_gives_the_same_bytes_and_another_does_not(
    cric: Path, one_bank: Bank, tiny: CropStore, tmp_path: Path
) -> None:
    again = write_composed_cohort(cric, tmp_path / "again", TINY)
    names = ("crops.npy", "manifest.csv", "cells.parquet", "store.json", "truth/cells.parquet")
    for name in (*names, "truth/slides.parquet"):
        assert (again.folder / name).read_bytes() == (tiny.folder / name).read_bytes(), name
    other = write_composed_cohort(cric, tmp_path / "other", replace(TINY, seed=8))
    assert not np.array_equal(other.crops, tiny.crops)


def test_a_folder_with_something_in_it_is_refused(cric: Path, tiny: CropStore) -> None:
    with pytest.raises(ConfigError, match="is not empty"):
        write_composed_cohort(cric, tiny.folder, TINY)


def test_more_lesions_than_cells_are_refused(cric: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="9 lesion cells and 8 cells in all"):
        write_composed_cohort(cric, tmp_path, replace(TINY, lesions=(1, 9)))


def test_real_cric_makes_a_small_cohort(data_dir: Path, one_bank: Bank, tmp_path: Path) -> None:
    config = replace(smoke(ComposedConfig()), phantom_grounds=1)
    store = write_composed_cohort(data_dir / "cric", tmp_path, config)
    check_cells_and_labels(store, config)
    given = set(store.cells.given[store.labelled("train")].tolist())
    assert given >= {"NILM", "LSIL"}


def test_cells_that_do_not_suffice_are_named(cric: Path, one_bank: Bank, tmp_path: Path) -> None:
    many = dict.fromkeys(TINY.splits, SplitSize(200, 8))
    with pytest.raises(ManifestError, match=r"needs \d+ cells of .* may lie on 10 slides"):
        write_composed_cohort(cric, tmp_path, replace(TINY, splits=many))
