from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from koilo.datasets import read_cells
from koilo.errors import ConfigError, OutputError
from koilo.manifest import read_manifest
from koilo.phantom.centre import draw_centre
from koilo.phantom.cohort import plan_cohort
from koilo.phantom.scene import Scene
from koilo.phantom.slide import SlideSize, build_scene, centre_bank
from koilo.phantom.truth import mask
from koilo.phantom.truth_files import read_truth_parquet
from koilo.phantom.verb import PhantomConfig, phantom
from koilo.slides import open_slide


def _draw(out: Path) -> Path:
    assert phantom(PhantomConfig("cytology", out, slides=2, seed=5, size_px=1280, cells=50)) == 0
    return out


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _draw(tmp_path_factory.mktemp("phantom"))


@pytest.fixture(scope="module")
def round_scene() -> Scene:
    centre = draw_centre(8, 0)
    size = SlideSize(2048, 40, deposit_mm=0.3)
    return build_scene(8, plan_cohort(1, 1)[0], size, centre, centre_bank(8, 0, 40, workers=1))[0]


def test_the_verb_writes_slides_truth_and_two_lists(drawn: Path) -> None:
    entries = read_manifest(drawn / "manifest.csv")
    assert [entry.label for entry in entries] == ["HSIL", "NILM"]
    cells = read_cells(drawn / "cells.csv", {entry.slide_id for entry in entries})
    for entry in entries:
        truths = read_truth_parquet(drawn / "truth" / f"{entry.slide_id}.parquet")
        assert sum(cell.slide_id == entry.slide_id for cell in cells) == len(truths) > 40
        with open_slide(entry.path) as slide:
            assert slide.dimensions == (1280, 1280)
            assert slide.synthetic == "phantom"
            assert slide.mpp == pytest.approx(entry.mpp, rel=1e-3)


def test_the_label_is_the_worst_cell_on_the_slide(drawn: Path) -> None:
    positive, negative = (
        Counter(truth.label for truth in read_truth_parquet(path))
        for path in sorted((drawn / "truth").glob("*.parquet"))
    )
    assert positive["HSIL"] >= 2
    assert positive["SCC"] == positive["AGC"] == 0
    assert set(negative) == {"NILM"}


def test_boxes_are_the_tight_bounds_of_the_outlines(drawn: Path) -> None:
    for truth in read_truth_parquet(next((drawn / "truth").glob("*.parquet"))):
        points = np.concatenate([truth.cytoplasm_px, *truth.nuclei_px])
        x, y, w, h = truth.box_px
        assert (x, y) == pytest.approx(tuple(points.min(0)), abs=1e-3)
        assert (x + w, y + h) == pytest.approx(tuple(points.max(0)), abs=1e-3)


def test_masks_have_the_measured_areas(drawn: Path) -> None:
    entry = read_manifest(drawn / "manifest.csv")[0]
    assert entry.mpp is not None
    truths = read_truth_parquet(drawn / "truth" / f"{entry.slide_id}.parquet")
    for truth in truths[:12]:
        x, y, w, h = truth.box_px
        shift = np.array([x, y], np.float32)
        size = (int(w) + 2, int(h) + 2)
        nuclei = mask(tuple(outline - shift for outline in truth.nuclei_px), size)
        cell = mask((truth.cytoplasm_px - shift, *(o - shift for o in truth.nuclei_px)), size)
        area_um2 = entry.mpp**2
        assert nuclei.sum() * area_um2 == pytest.approx(
            truth.measured["nuclei_um2"], rel=0.05 if len(truth.nuclei_px) == 1 else 0.4
        )
        assert cell.sum() * area_um2 == pytest.approx(truth.measured["cell_um2"], rel=0.06)


def test_qupath_gets_every_cell_as_a_detection_of_its_class(drawn: Path) -> None:
    for path in sorted((drawn / "truth").glob("*.geojson")):
        features = json.loads(path.read_text())["features"]
        truths = read_truth_parquet(path.with_suffix(".parquet"))
        assert [f["properties"]["classification"]["name"] for f in features] == [
            truth.label for truth in truths
        ]
        assert {f["properties"]["objectType"] for f in features} == {"detection"}
        assert len({f["id"] for f in features}) == len(features)
        ring = features[0]["geometry"]["coordinates"][0]
        assert ring[0] == ring[-1]


def test_the_same_seed_writes_the_same_bytes(drawn: Path, tmp_path: Path) -> None:
    again = _draw(tmp_path)
    files = sorted(p.relative_to(drawn) for p in drawn.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    for file in files:
        assert (drawn / file).read_bytes() == (again / file).read_bytes(), file


def test_no_tile_of_a_slide_repeats(drawn: Path) -> None:
    tiles = []
    for path in sorted((drawn / "slides").glob("*.tiff")):
        with open_slide(path) as slide:
            tiles += [
                slide.read_region((x, y), 0, (128, 128)).tobytes()
                for x in range(0, 1280, 128)
                for y in range(0, 1280, 128)
            ]
    assert len(set(tiles)) == len(tiles)


def test_the_nuclei_lie_where_the_truth_says(drawn: Path) -> None:
    entry = read_manifest(drawn / "manifest.csv")[0]
    truths = read_truth_parquet(drawn / "truth" / f"{entry.slide_id}.parquet")
    with open_slide(entry.path) as slide:
        image = slide.read_region((0, 0), 0, slide.dimensions).astype(float).mean(-1)
    glass = np.percentile(image, 90)
    inside = [truth for truth in truths if all(40 < v < 1240 for v in truth.point_px)]
    assert len(inside) > 30
    for truth in inside:
        x, y = truth.nuclei_px[0].mean(0).astype(int)
        assert image[y - 1 : y + 2, x - 1 : x + 2].mean() < 0.8 * glass


def test_a_round_deposit_leaves_clear_glass_that_costs_no_tile(round_scene: Scene) -> None:
    assert round_scene.render(0, 0, 128, 128) is None
    middle = round_scene.render(896, 896, 256, 256)
    assert middle is not None
    assert middle.std() > 1
    radius_px = round_scene.deposit.radius_um / round_scene.centre.mpp
    for placement in round_scene.placements:
        away = np.hypot(placement.x_um, placement.y_um)
        assert away < 2048 * round_scene.centre.mpp
    assert radius_px < 1024


def test_parts_of_a_scene_fit_together_without_a_seam(round_scene: Scene) -> None:
    whole = round_scene.render(768, 768, 512, 512)
    left, right = (
        round_scene.render(768, 768, 256, 512), round_scene.render(1024, 768, 256, 512)
    )  # fmt: skip
    assert whole is not None
    assert left is not None
    assert right is not None
    difference = np.abs(whole.astype(int) - np.hstack([left, right]).astype(int))
    assert difference.max() <= 3
    assert (difference > 0).mean() < 0.02


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"tissue": "histology"}, "draws cytology"),
        ({"size_px": 90_000}, "256 to 82000"),
        ({"slides": 0, "cells": 1}, "cells is 1.*slides is 0"),
        ({"deposit_mm": 13.0}, "size_px of [0-9]+ is needed"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(
    change: dict[str, object], line: str, tmp_path: Path
) -> None:
    values = {"tissue": "cytology", "out": tmp_path / "new"} | change
    with pytest.raises(ConfigError, match=line):
        phantom(PhantomConfig(**values))  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


def test_a_file_in_the_folders_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="a file stands"):
        phantom(PhantomConfig("cytology", tmp_path / "out"))
