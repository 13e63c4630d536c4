"""Focus, stain and the verdict on a slide's picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, box

from koilo.slides import open_slide
from koilo.slides.foreground import Foreground
from koilo.slides.quality import (
    TileQuality,
    edge_width,
    judge_image_quality,
    measure_tile,
)

Picture = NDArray[np.uint8]
SHARP = TileQuality(0.6, 0.4, 0.2, 0.1, 0.0, 0.0)
BLURRED = TileQuality(2.2, 0.4, 0.2, 0.1, 0.0, 0.0)
BLANK = TileQuality(float("nan"), 0.0, 0.0, 0.0, 0.0, 0.0)


def cells_tile(seed: int = 0, cells: int = 12, size: int = 256) -> Picture:
    """Cells with nuclei on glass, edges as sharp as the pixels allow."""
    rng = np.random.default_rng(seed)
    picture = np.full((size, size, 3), 243, np.float32)
    for _ in range(cells):
        at = tuple(int(v) for v in rng.integers(30, size - 30, 2))
        shades = (
            (int(rng.integers(16, 26)), (165, 186, 195)),
            (int(rng.integers(3, 6)), (85, 60, 95)),
        )
        for radius, colour in shades:
            layer = np.zeros((size, size), np.float32)
            cv2.circle(layer, at, radius, 1.0, -1, cv2.LINE_AA)
            picture *= 1 - layer[..., None] * (1 - np.array(colour) / 255)
    return np.clip(picture + rng.normal(0, 1.5, picture.shape), 0, 255).astype(np.uint8)


def slide_area(kind: str = "deposit", **excluded: MultiPolygon) -> Foreground:
    polygons = MultiPolygon([] if kind == "none" else [box(0, 0, 1000, 1000)])
    reason = "only pen on the slide" if kind == "none" else ""
    return Foreground(polygons, np.ones((4, 4), bool), 250.0, (0, 0), kind, reason, excluded)  # type: ignore[arg-type]


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 50), st.sampled_from([0.5, 1.0, 1.5, 2.0]))
def test_more_blur_never_measures_sharper(seed: int, sigma: float) -> None:
    tile = cells_tile(seed)
    less = edge_width(cv2.GaussianBlur(tile, (0, 0), sigma))
    more = edge_width(cv2.GaussianBlur(tile, (0, 0), sigma + 0.75))
    assert more > less


@pytest.mark.parametrize("cells", [3, 12, 40])
@pytest.mark.parametrize(("sigma", "focus"), [(0.5, "sharp"), (2.5, "blurred"), (4.0, "blurred")])
def test_focus_depends_on_blur_and_not_on_how_many_cells_there_are(
    cells: int, sigma: float, focus: str
) -> None:
    tile = cv2.GaussianBlur(cells_tile(1, cells), (0, 0), sigma)
    assert measure_tile(tile).focus == focus


def test_the_width_of_edges_follows_the_blur_in_pixels() -> None:
    widths = [edge_width(cv2.GaussianBlur(cells_tile(2), (0, 0), s)) for s in (1.0, 2.0)]
    np.testing.assert_allclose(widths, [1.0, 1.7], atol=0.35)


def test_a_blank_tile_is_neither_sharp_nor_blurred() -> None:
    noise = np.random.default_rng(0).normal(243, 2, (256, 256, 3)).astype(np.uint8)
    quality = measure_tile(noise)
    assert quality.focus == "blank"
    assert np.isnan(quality.blur_um)
    assert quality.stained < 0.01


def test_stain_and_missing_shares_are_measured() -> None:
    tile = cells_tile(cells=25)
    tile[:51] = 0
    tile[-26:] = 255
    quality = measure_tile(tile)
    assert quality.black == pytest.approx(0.2, abs=0.01)
    assert quality.white == pytest.approx(0.1, abs=0.01)
    assert quality.stained > 0.3
    assert measure_tile(cells_tile(cells=25)).hue > 0.04


def test_a_grey_picture_has_no_stain_to_judge() -> None:
    grey = cv2.cvtColor(cells_tile(cells=25), cv2.COLOR_RGB2GRAY)
    tile = np.repeat(grey[..., None], 3, axis=2)
    verdict = judge_image_quality([measure_tile(tile)] * 5, slide_area())
    assert verdict.verdict == "rescan: no stain"


def test_a_sharp_stained_slide_is_ok_without_flags() -> None:
    verdict = judge_image_quality([SHARP] * 8 + [BLANK] * 30, slide_area(), n_cells=5)
    assert verdict.ok
    assert verdict.flags == ()
    assert verdict.measures["tiles_judged_for_focus"] == 8


def test_a_slide_mostly_out_of_focus_asks_for_a_rescan_and_says_over_how_much() -> None:
    verdict = judge_image_quality([SHARP] * 4 + [BLURRED] * 6 + [BLANK] * 90, slide_area())
    assert verdict.verdict == "rescan: out of focus over 60% of the specimen"
    assert verdict.flags == ("blur",)


def test_a_slide_partly_out_of_focus_is_ok_and_flagged() -> None:
    verdict = judge_image_quality([SHARP] * 8 + [BLURRED] * 2, slide_area(), flags=["mpp mismatch"])
    assert verdict.ok
    assert verdict.flags == ("blur", "mpp mismatch")


def test_pen_over_much_of_the_deposit_asks_for_a_rescan_and_a_little_is_flagged() -> None:
    much = MultiPolygon([box(0, 0, 1000, 400)])
    little = MultiPolygon([box(0, 0, 1000, 50)])
    assert "pen covers 40%" in judge_image_quality([SHARP] * 5, slide_area(pen=much)).verdict
    verdict = judge_image_quality([SHARP] * 5, slide_area(pen=little))
    assert verdict.ok
    assert verdict.flags == ("pen",)


def test_missing_areas_ask_for_a_rescan_whether_seen_on_the_overview_or_in_tiles() -> None:
    hole = MultiPolygon([box(100, 100, 400, 400)])
    assert "missing" in judge_image_quality([SHARP] * 5, slide_area(missing=hole)).verdict
    black = TileQuality(0.6, 0.4, 0.2, 0.1, 0.5, 0.0)
    verdict = judge_image_quality([SHARP] * 5 + [black] * 5, slide_area())
    assert verdict.verdict == "rescan: areas missing from the scan (25%)"
    assert verdict.flags == ("missing",)


def test_no_foreground_or_no_cell_asks_for_a_rescan() -> None:
    nothing = judge_image_quality([], slide_area("none"))
    assert nothing.verdict == "rescan: no cells found (only pen on the slide)"
    assert judge_image_quality([SHARP] * 5, slide_area(), n_cells=0).verdict.startswith(
        "rescan: no cells found"
    )


@pytest.mark.data
def test_real_fields_are_sharp_and_blurred_by_2_5_um_they_are_not(data_dir: Path) -> None:
    fields = sorted((data_dir / "cric" / "fields").glob("*.jpg"))[::20]
    sharp, blurred = [], []
    for path in fields:
        picture = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        tile = cv2.resize(picture, None, fx=0.247, fy=0.247, interpolation=cv2.INTER_AREA)
        sharp.append(measure_tile(tile).focus)
        blurred.append(measure_tile(cv2.GaussianBlur(tile, (0, 0), 2.5)).focus)
    assert set(sharp) == {"sharp"}
    assert set(blurred) == {"blurred"}


@pytest.mark.data
def test_the_cytology_slide_is_ok_and_flagged_for_pen(data_dir: Path) -> None:
    from koilo.slides.foreground import foreground

    path = data_dir / "slides" / "cytology_csf_pap_penmark.tiff"
    with open_slide(path, mpp=0.25) as slide:
        area = foreground(slide)
        tiles = [slide.read_at_mpp((x, y), 1.0, (512, 512))
                 for x in range(6000, 24000, 4500) for y in range(4000, 22000, 4500)]  # fmt: skip
    verdict = judge_image_quality([measure_tile(t, area.glass) for t in tiles], area)
    assert verdict.ok
    assert "pen" in verdict.flags
