"""koilo train detector and supervised: from a manifest to weights, leaks refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_torch

from koilo.cli import main
from koilo.datasets import LabelledCell, read_cells, write_cells
from koilo.detect import build_detector
from koilo.errors import ConfigError, ManifestError, TrainingError
from koilo.manifest import SlideEntry, write_manifest
from koilo.slides import open_slide
from koilo.train.labelled import read_labelled, read_patches, read_scenes
from koilo.train.on_manifest import SupervisedConfig, train_supervised
from koilo.train.recipe import LoopConfig
from koilo.train.recipes.supervised import SupervisedSettings

MPP = 0.5
SPLITS = ("train", "train", "validation", "test")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Four fields of 160 x 120 px; a dark disc is HSIL, a pale one NILM."""
    entries, cells = [], []
    for number, split in enumerate(SPLITS):
        rgb = np.full((120, 160, 3), 230 - number, np.uint8)
        for x, y, label in ((40, 60, "HSIL"), (110, 50, "NILM")):
            cv2.circle(rgb, (x, y), 9, (90, 40, 90) if label == "HSIL" else (190, 150, 190), -1)
            cells.append(LabelledCell(f"f{number}", x - 20, y - 20, 40, 40, label))
        cv2.imwrite(str(tmp_path / f"f{number}.png"), rgb)
        entries.append(
            SlideEntry(
                f"f{number}",
                tmp_path / f"f{number}.png",
                case_id=f"c{number}",
                mpp=MPP,
                split=split,
            )
        )
    write_manifest(tmp_path / "manifest.csv", entries)
    write_cells(tmp_path / "cells.csv", cells)
    return tmp_path / "manifest.csv"


def parted(manifest: Path, **changes: str) -> tuple[list[str], list[str]]:
    slides = read_labelled(manifest, **{"validation": "validation", "unused": ("test",), **changes})
    return [e.slide_id for e, _ in slides.train], [e.slide_id for e, _ in slides.validation]


def test_the_splits_part_as_they_are_named(manifest: Path) -> None:
    assert parted(manifest) == (["f0", "f1"], ["f2"])
    assert parted(manifest, validation="test", unused=()) == (["f0", "f1", "f2"], ["f3"])


def test_nothing_to_learn_from_is_refused(manifest: Path) -> None:
    with pytest.raises(ManifestError, match="no labelled cell"):
        parted(manifest, validation="train", unused=("validation", "test"))


def test_a_case_in_train_and_validation_is_refused(manifest: Path) -> None:
    manifest.write_text(manifest.read_text().replace("c2", "c0"))
    with pytest.raises(ManifestError, match="case c0"):
        parted(manifest)


def test_one_slide_without_a_case_hides_no_leak(manifest: Path) -> None:
    manifest.write_text(manifest.read_text().replace("c2", "c0").replace("c1", ""))
    with pytest.raises(ManifestError, match="case c0 in train and validation"):
        parted(manifest)


def test_a_case_in_train_and_in_a_split_that_is_not_touched_is_refused(manifest: Path) -> None:
    manifest.write_text(manifest.read_text().replace("c3", "c0"))
    with pytest.raises(ManifestError, match="case c0 in train and unused"):
        parted(manifest)


def test_a_held_out_split_written_with_a_capital_is_not_learnt_from(manifest: Path) -> None:
    manifest.write_text(manifest.read_text().replace(",test", ",Test"))
    with pytest.raises(ManifestError, match="split Test, which would be learnt from"):
        parted(manifest)


@pytest.mark.parametrize("place", [{"x_px0": 9000.0}, {"y_px0": -300.0}])
def test_cells_outside_their_slide_are_refused(manifest: Path, place: dict[str, float]) -> None:
    slides = read_labelled(manifest, validation="validation", unused=("test",))
    (entry, (first, *others)), *_ = slides.train
    moved = [(entry, (replace(first, **place), *others))]
    with pytest.raises(ManifestError, match="1 of the 2 labelled cells of f0 lie outside"):
        read_patches(moved, ("NILM", "HSIL"), mpp=MPP, size_px=48)
    with pytest.raises(ManifestError, match="outside its 160 x 120 px"):
        read_scenes(moved, mpp=MPP)


def test_scenes_hold_the_cells_where_they_lie(manifest: Path) -> None:
    slides = read_labelled(manifest, validation="validation", unused=("test",))
    scene = read_scenes(slides.train, mpp=1.0)[0]
    assert scene.rgb.shape == (60, 80, 3)
    np.testing.assert_allclose(scene.boxes_px, [[10, 20, 20, 20], [45, 15, 20, 20]])
    assert scene.positive.tolist() == [True, False]
    assert scene.rgb[30, 20].mean() < scene.rgb[25, 55].mean() < 220


def test_a_large_slide_gives_windows_that_lose_no_cell(
    manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from koilo.train import labelled

    slides = read_labelled(manifest, validation="validation", unused=("test",))
    whole = read_scenes(slides.train[:1], mpp=MPP)
    monkeypatch.setattr(labelled, "LARGEST_SCENE_PX", 64)
    windows = read_scenes(slides.train[:1], mpp=MPP)
    assert {scene.rgb.shape for scene in windows} == {(64, 64, 3)}
    assert sum(len(scene.positive) for scene in windows) == len(whole[0].positive)
    dark = next(scene for scene in windows if scene.positive.any())
    x, y, w, h = dark.boxes_px[0]
    assert dark.rgb[int(y + h / 2), int(x + w / 2)].tolist() == [90, 40, 90]


def test_patches_have_their_cell_in_the_middle(manifest: Path) -> None:
    slides = read_labelled(manifest, validation="validation", unused=("test",))
    patches, labels = read_patches(slides.train, ("NILM", "HSIL"), mpp=MPP, size_px=48)
    assert patches.shape == (4, 48, 48, 3)
    assert labels.tolist() == [1, 0, 1, 0]
    assert (patches[labels == 1, 24, 24].mean(axis=-1) < 100).all()
    with pytest.raises(ManifestError, match="labelled HSIL"):
        read_patches(slides.train, ("NILM", "SCC"), mpp=MPP, size_px=48)


def test_a_slide_without_a_pixel_size_is_refused(manifest: Path) -> None:
    slides = read_labelled(manifest, validation="validation", unused=("test",))
    without = [(replace(entry, mpp=None), cells) for entry, cells in slides.train]
    with open_slide(without[0][0].path) as slide:
        assert slide.mpp is None
    with pytest.raises(ManifestError, match="pixel size"):
        read_scenes(without, mpp=1.0)


def run_of(out: Path) -> dict[str, object]:
    return dict(json.loads((out / "run.json").read_text()))


def test_the_command_trains_a_detector_from_a_manifest(manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "detector"
    command = ["train", "detector", "--manifest", str(manifest), "--out", str(out),
               "--settings.tile_px", "64", "--settings.batch", "2", "--loop.steps", "2",
               "--loop.device", "cpu"]  # fmt: skip
    assert main(command) == 0
    weights = load_torch(out / "model.safetensors")
    build_detector("centre", {}).load_state_dict(weights)
    hashes = run_of(out)["data_sha256"]
    assert isinstance(hashes, dict)
    assert [Path(path).name for path in hashes] == ["manifest.csv", "cells.csv"]
    assert json.loads((out / "metrics.json").read_text())["metrics"]["n_positive"] == 1


def test_the_command_trains_a_classifier_and_starts_it_from_a_trunk(
    manifest: Path, tmp_path: Path
) -> None:
    settings = SupervisedSettings(input_px=32, batch=4)
    config = SupervisedConfig(
        manifest, tmp_path / "cells", classes=("NILM", "HSIL"), settings=settings,
        loop=LoopConfig(steps=2, lr=0.0, device="cpu"),
    )  # fmt: skip
    train_supervised(config)
    metrics = json.loads((tmp_path / "cells" / "metrics.json").read_text())["metrics"]
    assert {"macro_f1", "lesion_auc"} <= metrics.keys()
    weights = load_file(tmp_path / "cells" / "model.safetensors")
    trunk = {k.removeprefix("trunk."): v for k, v in weights.items() if k.startswith("trunk.")}
    kernel = next(name for name, value in trunk.items() if value.ndim == 4)
    trunk[kernel] = np.full_like(trunk[kernel], 0.5)
    save_file(trunk, tmp_path / "trunk.safetensors")
    train_supervised(
        replace(config, out=tmp_path / "started", start=tmp_path / "trunk.safetensors")
    )
    started = load_file(tmp_path / "started" / "model.safetensors")
    assert (started[f"trunk.{kernel}"] == 0.5).all()


def give_leaves(manifest: Path, leaves: dict[str, str]) -> None:
    """Fill the column fine of the cells by their label."""
    path = manifest.with_name("cells.csv")
    cells = read_cells(path, [f"f{number}" for number in range(len(SPLITS))])
    write_cells(path, [replace(cell, fine=leaves[cell.label]) for cell in cells])


def test_the_command_trains_on_the_leaves_of_a_tree(manifest: Path, tmp_path: Path) -> None:
    give_leaves(manifest, {"HSIL": "HSIL", "NILM": "TRI"})
    out = tmp_path / "cells"
    command = ["train", "supervised", "--manifest", str(manifest), "--out", str(out),
               "--hierarchy", "hicervix", "--settings.input-px", "32", "--settings.batch", "4",
               "--loop.steps", "2", "--loop.device", "cpu"]  # fmt: skip
    assert main(command) == 0
    metrics = json.loads((out / "metrics.json").read_text())["metrics"]
    levels = {f"accuracy_level_{level}" for level in (1, 2, 3)}
    assert levels | {"tree_distance", "lesion_auc"} <= metrics.keys()
    weights = load_file(out / "model.safetensors")
    assert {value.shape[0] for name, value in weights.items() if name.startswith("head.")} == {23}


def test_a_leaf_that_is_missing_or_of_another_class_is_refused(
    manifest: Path, tmp_path: Path
) -> None:
    config = SupervisedConfig(manifest, tmp_path / "cells", hierarchy="hicervix")
    with pytest.raises(ManifestError, match="6 of 6 cells have no leaf of hicervix"):
        train_supervised(config)
    give_leaves(manifest, {"HSIL": "HSIL", "NILM": "SCC"})
    with pytest.raises(ManifestError, match="such as 'SCC' of a NILM on f0"):
        train_supervised(config)
    with pytest.raises(ConfigError, match="no tree of classes 'bethesda'"):
        train_supervised(replace(config, hierarchy="bethesda"))


def test_a_start_that_does_not_fit_is_refused(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"nonsense")
    config = SupervisedConfig(
        manifest, tmp_path / "cells", classes=("NILM", "HSIL"), start=tmp_path / "bad.safetensors"
    )
    with pytest.raises(TrainingError, match="do not fit the trunk"):
        train_supervised(config)


@pytest.mark.parametrize("classes", [("HSIL", "NILM"), ("NILM", "HSIL", "HSIL"), ("NILM", "CIN2")])
def test_classes_that_would_be_measured_wrongly_are_refused(classes: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="Correct the settings of supervised"):
        SupervisedConfig(Path("manifest.csv"), classes=classes)
