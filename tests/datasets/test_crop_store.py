"""The crop store: what it holds, in which order, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from koilo.datasets.crop_store import (
    CropStoreWriter,
    StoredCells,
    StoredSlide,
    open_crop_store,
)
from koilo.errors import ManifestError

SLIDES = [
    StoredSlide("a", "C1", "train", "NILM"),
    StoredSlide("b", "C1", "unseen", "HSIL+SCC"),
    StoredSlide("c", "C2", "unseen_twin", "HSIL+SCC", twin_of="b"),
    StoredSlide("empty", "C2", "test", "LSIL"),
]
CELLS = StoredCells(
    np.array(["a", "a", "a", "b", "b", "c"]),
    np.array([0, 1, -1, 0, 1, 0]),
    np.array([0.9, 0.5, 0.1, 0.8, 0.7, 0.6], np.float32),
    np.array(["", "NILM", "NILM", "", "", ""]),
    np.array(["NILM", "NILM", "NILM", "HSIL", "NILM", "HSIL"]),
)


def write(folder: Path, slides: list[StoredSlide] = SLIDES, cells: StoredCells = CELLS) -> None:
    writer = CropStoreWriter(folder, n_crops=6, crop_px=4, mpp=0.75)
    writer.crops[:] = np.arange(6, dtype=np.uint8)[:, None, None, None]
    writer.finish(slides, cells, {"seed": 3})


def test_a_store_gives_back_what_was_written(tmp_path: Path) -> None:
    write(tmp_path)
    store = open_crop_store(tmp_path)
    assert store.slides == tuple(SLIDES)
    assert store.mpp == 0.75
    assert store.facts["seed"] == 3
    assert store.bag("a").tolist() == [0, 1]
    assert store.bag("b", top_k=1).tolist() == [3]
    assert store.bag("empty").tolist() == []
    assert store.labelled("train").tolist() == [1, 2]
    assert store.crops[4].max() == 4
    assert [slide.slide_id for slide in store.of_split("unseen", "test")] == ["b", "empty"]


def test_an_unfinished_store_is_none_and_keeps_what_was_drawn(tmp_path: Path) -> None:
    CropStoreWriter(tmp_path, n_crops=6, crop_px=4, mpp=0.75).crops[2] = 7
    with pytest.raises(ManifestError, match="no whole crop store"):
        open_crop_store(tmp_path)
    again = CropStoreWriter(tmp_path, n_crops=6, crop_px=4, mpp=0.75)
    assert again.crops[2].max() == 7
    other = CropStoreWriter(tmp_path, n_crops=5, crop_px=4, mpp=0.75)
    assert other.crops.max() == 0


def test_a_store_made_anew_and_stopped_is_no_mixture_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("koilo.datasets.crop_store.write_json", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write(tmp_path)
    with pytest.raises(ManifestError, match="no whole crop store"):
        open_crop_store(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"rank": np.array([0, 2, -1, 0, 1, 0])}, "by rank", id="a gap in the ranks"),
        pytest.param({"rank": np.array([0, -1, 1, 0, 1, 0])}, "by rank", id="a bag torn apart"),
        pytest.param({"rank": np.array([1, 2, -1, 0, 1, 0])}, "by rank", id="no rank 0"),
        pytest.param(
            {"slide_id": np.array(["a", "a", "a", "b", "b", "x"])}, "lacks: x", id="a stranger"
        ),
        pytest.param({"given": np.array(["CIN3"] * 6)}, "'CIN3' is not a class", id="a label"),
        pytest.param({"rank": np.array([0, 1])}, "6 crops and 2 or 6 rows", id="too few rows"),
    ],
)
def test_cells_that_do_not_fit_are_refused(
    tmp_path: Path, change: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(ManifestError, match=message):
        write(tmp_path, cells=replace(CELLS, **change))


def test_a_slide_label_outside_bethesda_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="'CIN2' is not a class"):
        write(tmp_path, slides=[replace(SLIDES[0], label="CIN2"), *SLIDES[1:]])


def test_twins_and_cases_may_not_lie_in_two_splits(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="leak"):
        write(tmp_path, slides=[*SLIDES[:2], replace(SLIDES[2], split="train"), SLIDES[3]])
    same_case = [replace(slide, case_id="k") for slide in SLIDES]
    with pytest.raises(ManifestError, match="leak"):
        write(tmp_path, slides=same_case)


def test_a_damaged_store_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    about = json.loads((tmp_path / "store.json").read_text())
    (tmp_path / "store.json").write_text(json.dumps(about | {"crop_px": 5}))
    with pytest.raises(ManifestError, match=r"crops\.npy is"):
        open_crop_store(tmp_path)
    (tmp_path / "store.json").write_text(json.dumps(about | {"format": 9}))
    with pytest.raises(ManifestError, match="its format is 9"):
        open_crop_store(tmp_path)
