"""koilo classify: one row a picture, in order; a bad picture is a failed row and exit status 1."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from koilo.cells import ClassifyConfig, classify, load_classifier
from koilo.cells.verb import fit_to_square, read_cell_image
from koilo.cli import main
from koilo.errors import ConfigError, SlideOpenError


def write_cell(path: Path, side_px: int = 64, seed: int = 0) -> str:
    noise = np.random.default_rng(seed).normal(size=(side_px, side_px, 3)).astype(np.float32)
    rgb = np.clip(cv2.GaussianBlur(noise, (0, 0), 2) * 300 + 170, 0, 255).astype(np.uint8)
    assert cv2.imwrite(str(path), rgb[:, :, ::-1])
    return str(path)


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_one_row_a_picture_in_order_with_the_failed_one_named(tmp_path, toy_bundle) -> None:
    text = tmp_path / "no picture.png"
    text.write_text("not a picture")
    names = [
        write_cell(tmp_path / "ß cell.png", seed=1),
        str(text),
        write_cell(tmp_path / "b.jpg", seed=2),
        str(tmp_path / "missing.png"),
    ]
    out = tmp_path / "new folder" / "cells.csv"
    status = classify(ClassifyConfig(tuple(names), 0.25, out, model=str(toy_bundle.folder)))
    rows = rows_of(out)
    assert status == 1
    assert [row["image"] for row in rows] == names
    assert [row["status"] for row in rows] == ["done", "failed", "done", "failed"]
    assert list(rows[0]) == ["image", "status", "error", "label", "p_NILM", "p_LSIL", "p_HSIL"]
    for row in rows:
        p = [row["p_NILM"], row["p_LSIL"], row["p_HSIL"]]
        if row["status"] == "done":
            assert sum(map(float, p)) == pytest.approx(1, abs=1e-4)
            assert row["label"] == ["NILM", "LSIL", "HSIL"][int(np.argmax(list(map(float, p))))]
            assert row["error"] == ""
        else:
            assert p == ["", "", ""]
            assert row["label"] == ""
            assert "\n" not in row["error"]
            assert row["error"]


def test_the_command_line_gives_the_same_as_the_model(tmp_path, toy_bundle) -> None:
    image = write_cell(tmp_path / "cell.png", 64)
    out = tmp_path / "cells.csv"
    words = ["classify", image, "--mpp", "0.25", "--out", str(out), "--device", "cpu"]
    assert main([*words, "--model", str(toy_bundle.folder)]) == 0
    row = rows_of(out)[0]
    model = load_classifier(toy_bundle, torch.device("cpu"), views=8)
    p = model.predict(read_cell_image(image, 0.25, 0.5, 32)[None])[1][0]
    assert [float(row[f"p_{name}"]) for name in model.classes] == pytest.approx(p, abs=1e-5)


def test_only_bad_pictures_still_give_their_rows(tmp_path, toy_bundle) -> None:
    out = tmp_path / "cells.csv"
    empty = tmp_path / "empty.png"
    empty.touch()
    assert classify(ClassifyConfig((str(empty),), 0.25, out, model=str(toy_bundle.folder))) == 1
    assert [row["status"] for row in rows_of(out)] == ["failed"]


@pytest.mark.parametrize(
    ("mpp", "message"), [(0.0, "Between"), (50.0, "Between"), (0.7, "coarser")]
)
def test_a_pixel_size_that_cannot_be_is_refused_before_any_work(
    tmp_path, toy_bundle, mpp, message
) -> None:
    config = ClassifyConfig(("x.png",), mpp, tmp_path / "out.csv", model=str(toy_bundle.folder))
    with pytest.raises(ConfigError, match=message):
        classify(config)
    assert not (tmp_path / "out.csv").exists()


def test_a_whole_field_is_not_judged_as_one_cell(tmp_path) -> None:
    image = write_cell(tmp_path / "field.png", 1200)
    with pytest.raises(SlideOpenError, match="no picture of one cell"):
        read_cell_image(image, 1.0, 0.5, 32)


def test_the_middle_of_a_larger_picture_is_kept() -> None:
    image = np.arange(40 * 50 * 3).reshape(40, 50, 3).astype(np.uint8)
    np.testing.assert_array_equal(fit_to_square(image, 32), image[4:36, 9:41])


def test_a_smaller_picture_is_mirrored_around_its_middle() -> None:
    image = np.random.default_rng(0).integers(0, 255, (9, 20, 3)).astype(np.uint8)
    square = fit_to_square(image, 32)
    assert square.shape == (32, 32, 3)
    np.testing.assert_array_equal(square[11:20, 6:26], image)
    np.testing.assert_array_equal(square[10, 6:26], image[1])


def test_one_pixel_makes_a_plain_square() -> None:
    square = fit_to_square(np.full((1, 1, 3), 77, np.uint8), 16)
    assert (square == 77).all()


def test_resampling_keeps_the_middle_in_the_middle(tmp_path) -> None:
    y, x = np.mgrid[:120, :120] - 59.5
    rgb = np.where(np.hypot(x, y)[..., None] < 20, 60, 220).astype(np.uint8).repeat(3, 2)
    cv2.imwrite(str(tmp_path / "disc.png"), rgb)
    crop = read_cell_image(tmp_path / "disc.png", 0.25, 0.5, 32)
    dark = np.argwhere(crop.mean(2) < 140)
    np.testing.assert_allclose(dark.mean(0), [15.5, 15.5], atol=0.3)
    assert len(dark) == pytest.approx(np.pi * 10**2, rel=0.1)
