"""The written cohort: a sound store, twins of the same cells, labels by the rules, resumable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from koilo.datasets.crop_store import CropStore, open_crop_store
from koilo.errors import ConfigError
from koilo.phantom.multicentre import write

from .conftest import TINY


def truth_of(store: CropStore, name: str) -> dict[str, np.ndarray[Any, Any]]:
    table = pq.read_table(store.folder / "truth" / f"{name}.parquet").to_pydict()
    return {column: np.array(values) for column, values in table.items()}


def test_the_cohort_is_a_crop_store_with_every_split_and_full_bags(tiny: CropStore) -> None:
    store = open_crop_store(tiny.folder)
    assert [len(store.of_split(s)) for s in ("train", "validation", "test", "unseen")] == [16] * 4
    assert all(len(store.bag(slide.slide_id)) == TINY.top_k for slide in store.slides)
    assert store.crops.std(axis=(1, 2, 3)).min() > 0, "a crop was never drawn"
    assert store.facts["seed"] == TINY.seed
    assert not (tiny.folder / "drawing").exists()


def test_a_twin_shows_the_same_cells_in_other_colours(tiny: CropStore) -> None:
    twins = tiny.of_split("unseen_twin")
    assert len(twins) == 16
    for twin in twins:
        own, other = tiny.bag(twin.twin_of), tiny.bag(twin.slide_id)
        assert (tiny.cells.truth[own] == tiny.cells.truth[other]).all()
        grey, grey_twin = (tiny.crops[rows].mean(-1).reshape(-1) for rows in (own, other))
        assert np.corrcoef(grey, grey_twin)[0, 1] > 0.8
        assert (tiny.crops[own] != tiny.crops[other]).any()


def test_scores_fall_along_each_bag(tiny: CropStore) -> None:
    for slide in tiny.slides:
        assert (np.diff(tiny.cells.detector_score[tiny.bag(slide.slide_id)]) <= 0).all()


def test_labelled_cells_are_those_of_two_training_centres(tiny: CropStore) -> None:
    rows = tiny.labelled("train", "validation", "test", "unseen", "unseen_twin")
    of = {slide.slide_id: slide for slide in tiny.slides}
    labelled = [of[name] for name in tiny.cells.slide_id[rows].tolist()]
    assert {slide.centre for slide in labelled} <= {"T1", "T2"}
    assert {slide.split for slide in labelled} == {"train"}


def test_given_labels_are_true_but_for_a_fifth_of_the_lesions_overlooked(tiny: CropStore) -> None:
    cells = truth_of(tiny, "cells")
    given, truth, mark = cells["given"], cells["truth"], cells["mark"]
    assert (given[mark == "labelled"] == truth[mark == "labelled"]).all()
    overlooked = mark == "overlooked"
    assert (given[overlooked] == "NILM").all()
    assert (truth[overlooked] != "NILM").all()
    assert cells["visible"][overlooked].all()
    seen = (mark == "labelled") & (truth != "NILM") & cells["visible"]
    assert overlooked.sum() <= round(seen.sum() * 0.25)
    assert overlooked.any()


def test_truth_says_of_every_crop_which_cell_it_shows(tiny: CropStore) -> None:
    cells = truth_of(tiny, "cells")
    drawn = cells["crop"] >= 0
    rows = cells["crop"][drawn]
    assert len(set(rows.tolist())) == len(rows)
    assert (tiny.cells.slide_id[rows] == cells["slide_id"][drawn]).all()
    assert (tiny.cells.truth[rows] == cells["truth"][drawn]).all()
    assert (tiny.cells.given[rows] == cells["given"][drawn]).all()
    slides = truth_of(tiny, "slides")
    lesions = [
        (cells["truth"][cells["slide_id"] == name] != "NILM").sum() for name in slides["slide_id"]
    ]
    assert lesions == slides["n_lesions"].tolist()


def test_a_killed_run_goes_on_and_leaves_the_same_bytes(
    tiny: CropStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, done = write.draw_chunk, []

    def killed(job: dict[str, Any]) -> int:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(job)
        return real(job)

    monkeypatch.setattr(write, "draw_chunk", killed)
    with pytest.raises(KeyboardInterrupt):
        write.write_cohort(tmp_path / "again", TINY, workers=1)
    assert not (tmp_path / "again" / "store.json").exists()
    monkeypatch.setattr(write, "draw_chunk", real)
    store = write.write_cohort(tmp_path / "again", TINY, workers=1)
    for name in ("crops.npy", "manifest.csv", "cells.parquet", "truth/cells.parquet"):
        assert (store.folder / name).read_bytes() == (tiny.folder / name).read_bytes(), name


def begun(folder: Path) -> Path:
    """A folder in which the banks are drawn and no crop is."""
    folder.mkdir()
    write._claim(folder, TINY)
    with write._processes(1) as each:
        write._banks(folder / "drawing", TINY, each)
    return folder


def test_two_processes_draw_the_same_bytes_as_one(tiny: CropStore, tmp_path: Path) -> None:
    store = write.write_cohort(begun(tmp_path / "two"), TINY, workers=2)
    for name in ("crops.npy", "cells.parquet", "truth/cells.parquet", "truth/centres.json"):
        assert (store.folder / name).read_bytes() == (tiny.folder / name).read_bytes(), name


def test_marks_of_crops_that_are_gone_leave_no_crop_black(tiny: CropStore, tmp_path: Path) -> None:
    folder = begun(tmp_path / "lost")
    (folder / "drawing" / "done").mkdir()
    for slide in tiny.slides:
        (folder / "drawing" / "done" / slide.slide_id).touch()
    store = write.write_cohort(folder, TINY, workers=1)
    assert np.array_equal(store.crops, tiny.crops)


def test_a_run_killed_after_its_last_file_leaves_no_banks_behind(tiny: CropStore) -> None:
    (tiny.folder / "drawing").mkdir()
    (tiny.folder / "drawing" / "bank-train.pickle").touch()
    write.write_cohort(tiny.folder, TINY, workers=1)
    assert not (tiny.folder / "drawing").exists()


@pytest.mark.parametrize("text", ["{", "[1]", "\xff"])
def test_a_damaged_note_of_what_a_folder_holds_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "cohort.json").write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=r"cohort\.json cannot be read"):
        write.write_cohort(tmp_path, TINY, workers=1)


def test_a_folder_of_another_cohort_is_refused(tiny: CropStore) -> None:
    with pytest.raises(ConfigError, match=r"holds another cohort \(different: seed\)"):
        write.write_cohort(tiny.folder, replace(TINY, seed=6), workers=1)


def test_a_folder_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty and holds no cohort"):
        write.write_cohort(tmp_path, TINY, workers=1)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == [
        "thesis.txt"
    ]


def test_a_whole_cohort_is_opened_and_not_drawn_again(
    tiny: CropStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "rank_slides", lambda *_: pytest.fail("drawn again"))
    assert len(write.write_cohort(tiny.folder, TINY, workers=1).cells) == len(tiny.cells)
