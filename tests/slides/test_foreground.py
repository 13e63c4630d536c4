"""What counts as specimen, on painted overviews and on real slides."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from shapely.geometry import Point, box

from koilo.slides import open_slide
from koilo.slides.artefacts import INK_COLOURS, optical_density
from koilo.slides.foreground import foreground, glass_colour, segment

UM = 8.0
INK = {"green": (45, 120, 90), "blue": (35, 60, 165), "black": (30, 30, 34), "red": (215, 25, 40)}
CYTOPLASM = ((160, 183, 193), (207, 153, 139), (214, 145, 114))
SIZE = 700


def glass(seed: int = 0) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).normal(0, 1.2, (SIZE, SIZE, 3))
    return (np.array([243, 244, 242]) + noise).astype(np.float32)


def add_deposit(picture: NDArray[np.float32], cells: int, radius_um: float = 2200.0) -> None:
    rng = np.random.default_rng(1)
    for _ in range(cells):
        angle, far = rng.uniform(0, 2 * np.pi), radius_um / UM * np.sqrt(rng.uniform())
        x, y = 350 + far * np.cos(angle), 350 + far * np.sin(angle)
        x0, y0 = int(x) - 5, int(y) - 5
        stamp = np.zeros((12, 12), np.float32)
        at = (int((x - x0) * 16), int((y - y0) * 16))
        cv2.circle(stamp, at, int(rng.uniform(2, 3.6) * 16), 1.0, -1, cv2.LINE_AA, 4)
        tint = np.array(CYTOPLASM[int(rng.integers(3))]) / 255
        picture[y0 : y0 + 12, x0 : x0 + 12] *= 1 - stamp[..., None] * (1 - tint)


def add_stroke(
    picture: NDArray[np.float32], colour: tuple[int, int, int], y: int, x: tuple[int, int]
) -> NDArray[np.bool_]:
    """Draw a stroke 0.6 mm wide and return where it is opaque."""
    stroke = np.zeros(picture.shape[:2], np.float32)
    cv2.line(stroke, (x[0], y), (x[1], y + 20), 1.0, int(600 / UM))
    soft = cv2.GaussianBlur(stroke, (0, 0), 2) * 0.9
    picture *= 1 - soft[..., None] * (1 - np.array(colour) / 255)
    return stroke > 0


def scanned(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The picture as a scanner gives it: 8 bits, through JPEG."""
    _, data = cv2.imencode(".jpg", np.clip(picture, 0, 255).astype(np.uint8), [1, 88])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def disc(radius_um: float) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    return np.asarray(np.hypot(columns - 350, rows - 350) <= radius_um / UM)


@pytest.mark.parametrize("cells", [150, 1000, 9000])
def test_a_deposit_of_scattered_cells_is_one_region_and_the_glass_around_it_is_out(
    cells: int,
) -> None:
    picture = glass()
    add_deposit(picture, cells)
    mask, kind, reason, _ = segment(scanned(picture), UM)
    assert kind in ("deposit", "tissue")
    assert reason == ""
    pieces = cv2.connectedComponents(mask.astype(np.uint8))[0] - 1
    assert pieces == 1
    assert mask[disc(2000)].mean() > 0.97
    assert not mask[~disc(3100)].any()


@pytest.mark.parametrize("colour", INK_COLOURS)
def test_ink_over_the_deposit_is_left_out_and_named(colour: str) -> None:
    picture = glass()
    add_deposit(picture, 2000)
    ink = add_stroke(picture, INK[colour], 300, (-20, 400))
    mask, _, _, found = segment(scanned(picture), UM)
    assert (mask & ink).mean() == 0
    assert found["pen"][ink].mean() > 0.99
    assert found["pen"].sum() < 1.9 * ink.sum()
    assert mask.any()


def test_a_deposit_without_ink_has_no_pen() -> None:
    picture = glass()
    add_deposit(picture, 9000)
    assert "pen" not in segment(scanned(picture), UM)[3]


def test_a_slide_of_only_pen_has_no_foreground_and_says_so() -> None:
    picture = glass()
    for row, colour in enumerate(INK.values()):
        add_stroke(picture, colour, 80 + 150 * row, (50, 500))
    mask, kind, reason, found = segment(scanned(picture), UM)
    assert not mask.any()
    assert (kind, reason) == ("none", "only pen on the slide")
    assert set(found) == {"pen"}


def test_a_blank_slide_has_no_foreground_and_says_so() -> None:
    mask, kind, reason, found = segment(scanned(glass()), UM)
    assert not mask.any()
    assert (kind, reason, found) == ("none", "the slide is blank", {})


def test_a_bubble_a_coverslip_edge_and_missing_tiles_are_left_out_by_kind() -> None:
    picture = glass()
    add_deposit(picture, 2000)
    cv2.ellipse(picture, (110, 110), (60, 54), 20, 0, 360, (150, 152, 151), 3, cv2.LINE_AA)
    cv2.line(picture, (670, 5), (680, 690), (175, 176, 175), 3, cv2.LINE_AA)
    picture[400:464, 300:364] = 0
    picture[240:304, 400:464] = 255
    mask, _, _, found = segment(scanned(picture), UM)
    assert set(found) == {"bubbles", "edge", "missing"}
    assert found["bubbles"][110, 110]
    assert found["edge"][350, 675]
    assert found["missing"][432, 332]
    assert found["missing"][272, 432]
    assert not (mask & np.any(list(found.values()), axis=0)).any()


def test_a_tissue_is_followed_closely_and_keeps_its_hole() -> None:
    picture = glass()
    rng = np.random.default_rng(3)
    pink = np.array([205, 130, 180]) + rng.normal(0, 9, (SIZE, SIZE, 3))
    shape = np.zeros((SIZE, SIZE), np.uint8)
    cv2.ellipse(shape, (350, 350), (260, 120), 15, 0, 360, 1, -1)
    cv2.circle(shape, (350, 350), 50, 0, -1)
    picture[shape > 0] = pink[shape > 0]
    mask, kind, _, _ = segment(scanned(picture), UM)
    assert kind == "tissue"
    assert (mask & (shape > 0)).sum() / (shape > 0).sum() > 0.999
    assert (mask & (shape > 0)).sum() / (mask | (shape > 0)).sum() > 0.85
    assert not mask[350, 350]


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (37, 11)])
def test_slides_of_a_few_pixels_are_judged_without_failing(size: tuple[int, int]) -> None:
    dark = np.full((*size, 3), (120, 60, 130), np.uint8)
    mask, kind, _, _ = segment(dark, UM)
    assert mask.shape == size
    assert kind in ("deposit", "tissue")
    blank = np.full((*size, 3), 240, np.uint8)
    assert segment(blank, UM)[1:3] == ("none", "the slide is blank")


def test_the_glass_colour_is_that_of_the_glass_not_of_white_filling() -> None:
    picture = scanned(glass())
    picture[:, :300] = 255
    assert np.abs(glass_colour(picture) - [243, 244, 242]).max() <= 2


def test_density_of_glass_is_zero_and_of_a_tenth_is_one() -> None:
    pixels = np.array([[[250, 250, 250], [24, 24, 24]]], np.uint8)
    density = optical_density(pixels, np.array([249.0, 249.0, 249.0]))
    np.testing.assert_allclose(density.high, [[0, 1]], atol=1e-6)


def test_a_plain_image_is_all_foreground(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "field.png"), np.full((60, 90, 3), 255, np.uint8))
    with open_slide(tmp_path / "field.png", mpp=0.5) as slide:
        found = foreground(slide)
    assert found.kind == "field"
    assert found.polygons_px0.equals(box(0, 0, 90, 60))
    assert found.area_mm2 == pytest.approx(60 * 90 * 0.25 / 1e6)
    np.testing.assert_allclose(found.shares(np.array([[0, 0, 90, 60], [80, 50, 5, 5]])), 1)


@pytest.mark.data
def test_pen_marks_of_the_cytology_slide_are_outside_and_its_cells_inside(data_dir: Path) -> None:
    with open_slide(data_dir / "slides" / "cytology_csf_pap_penmark.tiff") as slide:
        found = foreground(slide)
        thumbnail = slide.thumbnail((1024, 1024)).astype(np.int64)
        scale = slide.dimensions[0] / thumbnail.shape[1]
    r, g, b = (thumbnail[..., c] for c in range(3))
    inked = np.argwhere((r < 140) & (g - r > 25) & (g > b))  # the green of the felt pen
    assert len(inked) > 2000
    assert not any(found.polygons_px0.contains(Point(x * scale, y * scale)) for y, x in inked[::7])
    assert found.kind == "deposit"
    assert found.area_mm2 is None
    for cell in ((16000, 16000), (9000, 9000), (24000, 12000), (6800, 22100)):
        assert found.polygons_px0.contains(Point(cell))
    for empty in ((33000, 31000), (1500, 30000), (33000, 1000)):
        assert not found.polygons_px0.contains(Point(empty))


@pytest.mark.data
def test_the_svs_and_its_dicom_twin_agree_in_foreground(data_dir: Path) -> None:
    shapes = []
    for name in ("CMU-1-Small-Region.svs", "CMU-1-Small-Region-dicom"):
        with open_slide(data_dir / "slides" / name) as slide:
            shapes.append(foreground(slide).polygons_px0)
    svs, dicom = shapes
    assert svs.intersection(dicom).area / svs.union(dicom).area >= 0.95


@pytest.mark.data
def test_shares_of_boxes_agree_with_the_polygons(data_dir: Path) -> None:
    with open_slide(data_dir / "slides" / "histology_lung_scc_he.tiff") as slide:
        found = foreground(slide)
    rng = np.random.default_rng(0)
    boxes = np.column_stack([rng.uniform(-500, 16000, (60, 2)), np.full((60, 2), 2048.0)])
    exact = [found.polygons_px0.intersection(box(x, y, x + w, y + h)).area / (w * h)
             for x, y, w, h in boxes]  # fmt: skip
    np.testing.assert_allclose(found.shares(boxes), exact, atol=0.04)
    assert max(exact) > 0.9
    assert min(exact) == 0
