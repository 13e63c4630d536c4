"""The crop store: what it holds, in which order, and what it refuses."""

from __future__ import annotations

import errno
import json
import os
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
from koilo.errors import ManifestError, OutputError

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


def test_a_run_killed_as_its_store_became_whole_keeps_what_it_drew(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "store.json").unlink()
    again = CropStoreWriter(tmp_path, n_crops=6, crop_px=4, mpp=0.75)
    assert not again.begun_anew
    assert again.crops[5].max() == 5


def test_a_store_that_is_made_again_is_not_whole_until_all_of_it_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("koilo.datasets.crop_store._write_slides", killed)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path)
    with pytest.raises(ManifestError, match="no whole crop store"):
        open_crop_store(tmp_path)


def test_the_room_for_the_crops_is_taken_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = CropStoreWriter(tmp_path / "a", n_crops=100, crop_px=32, mpp=0.75)
    assert writer.begun_anew
    assert writer.part.stat().st_blocks * 512 >= writer.crops.nbytes

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OutputError, match=r"crops\.part\.npy: the disk is full"):
        CropStoreWriter(tmp_path / "b", n_crops=100, crop_px=32, mpp=0.75)
    assert list((tmp_path / "b").iterdir()) == []


def test_an_empty_file_of_crops_is_begun_anew_or_refused(tmp_path: Path) -> None:
    (tmp_path / "crops.part.npy").touch()
    write(tmp_path)
    (tmp_path / "crops.npy").write_bytes(b"")
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
