"""Counting squamous nuclei: drawn cells, what must not count, and CRIC's labels."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from koilo.slides import open_slide
from koilo.slides.squamous import FEATURES, candidates, count_squamous

Picture = NDArray[np.uint8]


def painted(discs: list[tuple[int, int, int, tuple[int, int, int]]], size: int = 512) -> Picture:
    """Discs (x, y, radius, colour) multiplied onto glass, at 1.0 µm a pixel."""
    picture = np.full((size, size, 3), 243, np.float32)
    for x, y, radius, colour in discs:
        layer = np.zeros((size, size), np.float32)
        cv2.circle(layer, (x, y), radius, 1.0, -1, cv2.LINE_AA)
        layer = cv2.GaussianBlur(layer, (0, 0), 0.7)
        picture *= 1 - layer[..., None] * (1 - np.array(colour) / 255)
    noise = np.random.default_rng(0).normal(0, 1.5, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def intermediate_cells() -> list[tuple[int, int, int, tuple[int, int, int]]]:
    grid = [(x, y) for x in range(50, 500, 85) for y in range(50, 500, 85)]
    return [d for x, y in grid for d in ((x, y, 23, (165, 186, 195)), (x, y, 4, (110, 75, 115)))]


def test_flat_cells_with_a_nucleus_are_counted() -> None:
    assert count_squamous(painted(intermediate_cells())) == pytest.approx(36, rel=0.25)


def test_bare_dark_specks_and_clumps_of_leukocytes_hardly_count() -> None:
    rng = np.random.default_rng(2)
    middles = [(x, y) for x in (60, 160) for y in (60, 160) for _ in range(9)]
    lobes = [(int(x + rng.normal(0, 9)), int(y + rng.normal(0, 9))) for x, y in middles]
    tile = painted([(x, y, 2, (60, 40, 90)) for x, y in lobes], 220)
    assert len(candidates(tile)[0]) >= 10
    assert count_squamous(tile) <= 2


def test_cytoplasm_without_a_nucleus_does_not_count() -> None:
    flakes = [disc for disc in intermediate_cells() if disc[2] == 23]
    assert count_squamous(painted(flakes)) <= 1


def test_an_empty_tile_counts_none() -> None:
    places, features = candidates(painted([]))
    assert places.shape == (0, 2)
    assert features.shape == (0, len(FEATURES))
    assert count_squamous(painted([])) == 0


def test_the_count_does_not_depend_on_the_pixel_size_given() -> None:
    tile = painted(intermediate_cells())
    fine = cv2.resize(tile, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    assert count_squamous(fine, 0.5) == pytest.approx(count_squamous(tile), rel=0.15)


@pytest.mark.data
def test_counts_follow_the_labelled_cells_of_cric(data_dir: Path) -> None:
    labelled: dict[str, list[float]] = defaultdict(list)
    with open(data_dir / "cric" / "cells.csv") as handle:
        for row in csv.DictReader(handle):
            labelled[row["field"]].append(float(row["mpp"]))
    truth, counted = [], []
    for name in sorted(labelled)[::6]:
        picture = cv2.cvtColor(cv2.imread(str(data_dir / "cric" / name)), cv2.COLOR_BGR2RGB)
        counted.append(count_squamous(picture, labelled[name][0]))
        truth.append(len(labelled[name]))
    assert np.sum(counted) / np.sum(truth) == pytest.approx(1, abs=0.2)
    assert np.corrcoef(truth, counted)[0, 1] > 0.6


@pytest.mark.data
def test_red_cells_and_monocytes_of_spinal_fluid_are_not_squamous(data_dir: Path) -> None:
    path = data_dir / "slides" / "cytology_csf_pap_penmark.tiff"
    with open_slide(path, mpp=0.25) as slide:
        tiles = [slide.read_at_mpp((x, y), 1.0, (512, 512))
                 for x in range(6000, 24000, 4500) for y in range(4000, 22000, 4500)]  # fmt: skip
    assert np.mean([count_squamous(tile) for tile in tiles]) < 2
