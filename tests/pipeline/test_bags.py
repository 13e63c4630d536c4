"""`koilo data bags`: the best cells of slides in one store, with the labels that were given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from koilo.datasets import LabelledCell, write_cells
from koilo.datasets.crop_store import CropStore, open_crop_store
from koilo.errors import ConfigError, ManifestError
from koilo.manifest import SlideEntry, write_manifest
from koilo.pipeline import bags as bags_part
from koilo.pipeline.bags import BagsConfig, bags, match_labels
from tests.pipeline import toys

MPP = toys.MPP


def cell(x: float, y: float, label: str = "HSIL", slide_id: str = "lesion") -> LabelledCell:
    """A labelled cell of 20 px centred at a point."""
    return LabelledCell(slide_id, x - 10, y - 10, 20, 20, label)


@pytest.fixture(scope="module")
def manifest(slides, tmp_path_factory) -> Path:
    """Two slides, one file that is none, and labels: one found cell, one place without a cell."""
    folder = tmp_path_factory.mktemp("manifest")
    (folder / "text.svs").write_text("not a slide\n")
    write_manifest(
        folder / "manifest.csv",
        [
            SlideEntry("lesion", slides["lesion"], label="HSIL+SCC", split="train", centre="C1"),
            SlideEntry("normal", slides["normal"], label="NILM", split="validation"),
            SlideEntry("broken", folder / "text.svs", label="NILM", split="train"),
        ],
    )
    write_cells(folder / "cells.csv", [cell(5, 5), cell(6, 1590, "NILM"), cell(9, 1590, "NILM")])
    return folder / "manifest.csv"


def config(manifest: Path, out: Path, bundle, **more) -> BagsConfig:
    settings = {"top_k": 12, "crop_px": 24, "mpp": 1.0, "device": "cpu", "workers": 1} | more
    return BagsConfig(manifest, out, str(bundle.folder), **settings)


@pytest.fixture(scope="module")
def store(manifest, bundle, tmp_path_factory) -> CropStore:
    out = tmp_path_factory.mktemp("store")
    assert bags(config(manifest, out, bundle)) == 1  # one slide could not be read
    return open_crop_store(out)


def test_each_slide_gives_its_best_cells_and_a_broken_one_is_left_out(store: CropStore) -> None:
    assert [slide.slide_id for slide in store.slides] == ["lesion", "normal"]
    assert (store.slides[0].label, store.slides[0].split) == ("HSIL+SCC", "train")
    for slide in store.slides:
        rows = store.bag(slide.slide_id)
        assert len(rows) == 12
        assert (np.diff(store.cells.detector_score[rows]) <= 0).all()
    middle = store.crops[store.bag("lesion")][:, 10:14, 10:14].mean((1, 2))
    assert (middle[:, 1] < 120).all()  # a nucleus in the middle of every crop


def test_labelled_cells_that_were_not_found_are_cut_beside_the_bag(store: CropStore) -> None:
    rows = store.labelled("train")
    assert store.cells.given[rows].tolist() == ["HSIL", "NILM", "NILM"]
    assert store.cells.rank[rows].tolist() == [-1, -1, -1]


def test_a_label_goes_to_the_nearest_found_cell_and_to_one_only() -> None:
    centres = np.array([[100.0, 100.0], [106.0, 100.0], [500.0, 500.0]])
    given, missed = match_labels([cell(105, 100), cell(101, 100, "LSIL")], centres, MPP)
    assert given == ["LSIL", "HSIL", ""]
    assert missed == []
    given, missed = match_labels([cell(100, 113)], centres, MPP)  # 6.5 µm away
    assert given == ["", "", ""]
    assert len(missed) == 1


def test_a_stopped_run_reads_no_slide_twice(manifest, bundle, tmp_path, monkeypatch) -> None:
    settings = config(manifest, tmp_path, bundle)
    monkeypatch.setattr(bags_part, "_finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        bags(settings)
    monkeypatch.undo()
    read: list[str] = []
    real = bags_part._read
    monkeypatch.setattr(
        bags_part, "_read", lambda entry, *rest: read.append(entry.slide_id) or real(entry, *rest)
    )
    bags(settings)
    assert read == ["broken"]
    assert not (tmp_path / "parts").exists()
    assert len(open_crop_store(tmp_path).slides) == 2


def test_a_label_that_was_mended_after_a_stop_is_the_one_that_counts(
    slides, bundle, tmp_path, monkeypatch
) -> None:
    path = tmp_path / "manifest.csv"
    write_manifest(path, [SlideEntry("lesion", slides["lesion"], label="HSIL", split="train")])
    write_cells(tmp_path / "cells.csv", [cell(5, 5, "LSIL")])
    settings = config(path, tmp_path / "out", bundle)
    monkeypatch.setattr(bags_part, "_finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        bags(settings)
    monkeypatch.undo()
    write_cells(tmp_path / "cells.csv", [cell(5, 5, "HSIL")])
    assert bags(settings) == 0
    made = open_crop_store(tmp_path / "out")
    assert made.cells.given[made.labelled("train")].tolist() == ["HSIL"]


def test_what_is_left_out_or_assumed_is_said(slides, bundle, tmp_path, caplog) -> None:
    path = tmp_path / "manifest.csv"
    rows = [
        SlideEntry("lesion", slides["lesion"], label="HSIL"),
        SlideEntry("normal", slides["normal"], label="NILM", split="train"),
        SlideEntry("blank", slides["blank"], label="NILM", split="train"),
    ]
    write_manifest(path, rows)
    write_cells(tmp_path / "cells.csv", [cell(90_000, 5, "NILM", "normal")])
    with caplog.at_level("INFO", "koilo"):
        assert bags(config(path, tmp_path / "out", bundle)) == 1
    assert [slide.slide_id for slide in open_crop_store(tmp_path / "out").slides] == ["lesion"]
    for said in (
        "blank left out: no cell was found",
        "normal left out: 1 of the 1 labelled cells of normal lie outside",
        "1 slides have no split and are for train, such as lesion",
    ):
        assert said in caplog.text


def test_one_picture_in_two_splits_is_refused(slides, bundle, tmp_path) -> None:
    path = tmp_path / "manifest.csv"
    rows = [
        SlideEntry(name, slides["lesion"], label="HSIL", split=split)
        for name, split in (("a", "train"), ("b", "test"))
    ]
    write_manifest(path, rows)
    with pytest.raises(ManifestError, match=r"leak: picture .* in test and train"):
        bags(config(path, tmp_path / "out", bundle))


def test_no_cell_at_all_is_one_clear_line(slides, bundle, tmp_path) -> None:
    path = tmp_path / "manifest.csv"
    write_manifest(path, [SlideEntry("blank", slides["blank"], label="NILM", split="train")])
    with pytest.raises(ManifestError, match="no slide gave a cell"):
        bags(config(path, tmp_path / "out", bundle))
    with pytest.raises(ConfigError, match="top_k 0"):
        config(path, tmp_path, bundle, top_k=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "CIN2"}, "'CIN2' is not a class"),
        ({"split": "val"}, "split val .allowed: train, validation, test, unseen, unseen_twin"),
    ],
)
def test_a_wrong_label_or_split_is_refused_before_any_slide_is_read(
    slides, bundle, tmp_path, monkeypatch, change, message
) -> None:
    monkeypatch.setattr(bags_part, "_read", lambda *_: pytest.fail("a slide was read"))
    path = tmp_path / "manifest.csv"
    write_manifest(path, [SlideEntry("lesion", slides["lesion"], **{"label": "HSIL"} | change)])
    with pytest.raises(ManifestError, match=message):
        bags(config(path, tmp_path / "out", bundle))
    assert not (tmp_path / "out").exists()
