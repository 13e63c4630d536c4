"""Morphometry of crops against discs, ellipses and drawn cells whose sizes are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koilo.cells.morphometry import MEASURES, measure_cells, optical_density

GLASS = np.array([244.0, 243.0, 245.0])
MPP = 0.5
CYTOPLASM, NUCLEUS = (160, 183, 193), (76, 50, 81)
_FINE = 4


def draw(
    nucleus_um=(4.0, 4.0), cell_um=14.0, halo_um=0.0, off_um=(0.0, 0.0), colour=NUCLEUS,
    side_px=96, mpp=MPP,
):  # fmt: skip
    """A crop (P, P, 3): an ellipse of half axes ``nucleus_um`` in a disc, with a halo or none."""
    side = side_px * _FINE
    image = np.full((side, side, 3), GLASS, np.uint8)
    scale = _FINE / mpp

    def fill(half_axes, colour):
        middle = tuple(round(side / 2 + o * scale) for o in off_um)
        axes = tuple(round(a * scale) for a in half_axes)
        cv2.ellipse(image, middle, axes, 0, 0, 360, colour, -1)

    fill((cell_um, cell_um), CYTOPLASM)
    if halo_um:
        fill((nucleus_um[0] + halo_um, nucleus_um[1] + halo_um), (238, 239, 241))
    fill(nucleus_um, colour)
    small = cv2.resize(image, (side_px, side_px), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(small, (0, 0), 0.5)


def measure(**how):
    values = measure_cells(draw(**how)[None], MPP, GLASS)
    return {name: float(column[0]) for name, column in values.items()}


@settings(max_examples=12, deadline=None)
@given(st.floats(3.5, 8.0), st.floats(0.8, 1.0), st.floats(-1.5, 1.5), st.floats(-1.5, 1.5))
def test_the_area_of_an_ellipse_is_found_wherever_it_lies(a, ratio, x, y):
    values = measure(nucleus_um=(a, a * ratio), cell_um=15, off_um=(x, y))
    assert values["nucleus_um2"] == pytest.approx(np.pi * a * a * ratio, rel=0.2)
    assert abs(values["contour"]) < 0.02  # the ellipse of equal moments is itself


@pytest.mark.parametrize("cell_um", [7.0, 10.0, 16.0])
def test_nc_is_by_area_not_linear(cell_um):
    values = measure(nucleus_um=(4, 4), cell_um=cell_um)
    assert values["nc_area"] == pytest.approx((4 / cell_um) ** 2, rel=0.15)


def test_a_halo_is_measured_where_there_is_one_and_only_there():
    assert measure(cell_um=16)["halo_ratio"] == 0
    with_halo = measure(cell_um=16, halo_um=4)
    assert with_halo["halo_ratio"] == pytest.approx((8**2 - 4**2) / 4**2, rel=0.4)
    assert with_halo["nucleus_um2"] == pytest.approx(np.pi * 16, rel=0.2)
    assert with_halo["nc_area"] == pytest.approx((4 / 16) ** 2, rel=0.3)


def test_a_naked_nucleus_has_no_halo():
    assert measure(cell_um=4)["halo_ratio"] == 0


def test_a_darker_nucleus_measures_denser_and_as_large():
    pale, dark = measure(colour=(120, 100, 125)), measure(colour=(50, 30, 55))
    assert dark["nuclear_od"] > 1.5 * pale["nuclear_od"]
    assert dark["nucleus_um2"] == pytest.approx(pale["nucleus_um2"], rel=0.05)


def test_a_notched_nucleus_is_more_irregular_than_a_round_one():
    crop = draw(nucleus_um=(6, 6), cell_um=16)
    notched = crop.copy()
    cv2.circle(notched, (48, 37), 5, CYTOPLASM, -1)
    both = measure_cells(np.stack([crop, notched]), MPP, GLASS)
    assert both["contour"][1] > both["contour"][0] + 0.005


def test_the_pixel_size_is_taken_into_account():
    fine = measure_cells(draw(side_px=160, mpp=0.3)[None], 0.3, GLASS)
    assert fine["nucleus_um2"][0] == pytest.approx(np.pi * 16, rel=0.2)


def test_glass_and_nothing_at_all_measure_nothing():
    blank = np.full((2, 96, 96, 3), GLASS, np.uint8)
    assert all(np.isnan(column).all() for column in measure_cells(blank, MPP, GLASS).values())
    none = measure_cells(np.zeros((0, 96, 96, 3), np.uint8), MPP, GLASS)
    assert set(none) == set(MEASURES)
    assert all(column.shape == (0,) for column in none.values())


def test_a_cell_measures_the_same_alone_and_among_others():
    crops = np.stack([draw(nucleus_um=(a, a)) for a in np.linspace(3, 7, 70)])
    together = measure_cells(crops, MPP, GLASS)
    alone = measure_cells(crops[66:67], MPP, GLASS)
    for name in MEASURES:
        assert together[name][66] == pytest.approx(alone[name][0], rel=1e-5, nan_ok=True)


def test_density_is_nought_on_glass_and_one_at_a_tenth_of_its_light():
    crop = np.array([[[250, 250, 250], [25, 25, 25]]], np.uint8)
    density = optical_density(crop, np.array([250.0, 250.0, 250.0]))
    assert density[0] == pytest.approx(np.array([[0, 0, 0], [1, 1, 1]]), abs=1e-6)


def test_drawn_nuclei_are_measured_within_a_tenth(phantom_crops):
    crops, truths, white = phantom_crops
    found = measure_cells(crops, MPP, white)["nucleus_um2"]
    single = [t.measured["n_nuclei"] == 1 for t in truths]
    drawn = np.array([t.measured["nucleus_um2"] for t in truths])
    errors = np.abs(found / drawn - 1)[single]
    assert np.median(errors) < 0.1


@pytest.fixture(scope="module")
def phantom_crops():
    from koilo.phantom import draw_bank, draw_cells, draw_centre

    centre = draw_centre(5, 0)
    crops, truths = draw_cells(
        np.random.default_rng(0), centre, ("NILM", "LSIL", "HSIL"), n=36,
        bank=draw_bank((5,), 80, workers=1),
    )  # fmt: skip
    return crops, truths, centre.white
