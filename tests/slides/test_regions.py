"""Regions lie where they should at any scale, to a fraction of a pixel."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from koilo.slides.backend import Level, blank, overlap, true_downsample
from koilo.slides.regions import nearest_finer_level, read_scaled

SIDE = 256
SLOPE = 0.9  # grey levels a level-0 pixel


class Ramp:
    """A pyramid whose red grows with x and green with y: any pixel says where it was taken."""

    def __init__(self, factors: tuple[int, ...]) -> None:
        self.levels = [Level(SIDE // f, SIDE // f, float(f)) for f in factors]
        self._pixels = [self._level(f) for f in factors]

    @staticmethod
    def _level(factor: int) -> NDArray[np.uint8]:
        centres_px0 = (np.arange(SIDE // factor) + 0.5) * factor
        # Rounding to whole greys is dithered, so that means stay true to a hundredth.
        noise = np.random.default_rng(factor).uniform(size=(SIDE // factor, SIDE // factor, 2))
        image = np.zeros((SIDE // factor, SIDE // factor, 3))
        image[..., 0], image[..., 1] = SLOPE * centres_px0[None, :], SLOPE * centres_px0[:, None]
        image[..., :2] += noise
        return image.astype(np.uint8)

    def read(self, level: int, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        pixels, out = self._pixels[level], blank(w, h)
        (x0, x1), (y0, y1) = overlap(x, w, pixels.shape[1]), overlap(y, h, pixels.shape[0])
        out[y0 - y : y1 - y, x0 - x : x1 - x] = pixels[y0:y1, x0:x1]
        return out


RAMPS = [Ramp((1,)), Ramp((1, 2, 4)), Ramp((1, 4, 16))]
inside = st.floats(30, 100)
scales = st.floats(0.4, 6)


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(RAMPS), inside, inside, scales)
def test_every_pixel_shows_the_place_it_names(
    ramp: Ramp, x_px0: float, y_px0: float, downsample: float
) -> None:
    size = (17, 13)
    got = read_scaled(ramp.read, ramp.levels, (x_px0, y_px0), downsample, size).astype(float)
    columns = x_px0 + (np.arange(size[0]) + 0.5) * downsample
    rows = y_px0 + (np.arange(size[1]) + 0.5) * downsample
    x_error = (got[..., 0] - SLOPE * columns[None, :]).mean() / SLOPE
    y_error = (got[..., 1] - SLOPE * rows[:, None]).mean() / SLOPE
    # What rounding to whole greys can feign, and positions that go by 1/16 of an output pixel; a
    # frame that is off by half a pixel would show 0.5 x downsample.
    allowed_px0 = 0.35 + downsample / 32
    assert abs(x_error) < allowed_px0
    assert abs(y_error) < allowed_px0


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(RAMPS), inside, inside, scales, st.integers(1, 21))
def test_two_neighbours_are_one_region_cut_in_two(
    ramp: Ramp, x_px0: float, y_px0: float, downsample: float, cut_px: int
) -> None:
    whole = read_scaled(ramp.read, ramp.levels, (x_px0, y_px0), downsample, (22, 9))
    left = read_scaled(ramp.read, ramp.levels, (x_px0, y_px0), downsample, (cut_px, 9))
    start = (x_px0 + cut_px * downsample, y_px0)
    right = read_scaled(ramp.read, ramp.levels, start, downsample, (22 - cut_px, 9))
    difference = np.abs(np.hstack([left, right]).astype(int) - whole)
    # Positions may differ by 1/16 pixel, which moves the ramp and its dither by a grey or two.
    assert difference[:, :, :2].max() <= 2


@settings(max_examples=60, deadline=None)
@given(st.integers(-700, 700), st.integers(-700, 700), st.integers(1, 90), st.integers(1, 90))
def test_at_level_0_pixels_are_exact_and_white_outside(x: int, y: int, w: int, h: int) -> None:
    ramp = RAMPS[1]
    got = read_scaled(ramp.read, ramp.levels, (x, y), 1.0, (w, h))
    assert got.shape == (h, w, 3)
    padded = np.full((SIDE + 1400, SIDE + 1400, 3), 255, np.uint8)
    padded[700 : 700 + SIDE, 700 : 700 + SIDE] = ramp.read(0, 0, 0, SIDE, SIDE)
    np.testing.assert_array_equal(got, padded[700 + y : 700 + y + h, 700 + x : 700 + x + w])


@given(st.floats(0.05, 4000))
def test_the_level_chosen_is_the_coarsest_that_is_fine_enough(downsample: float) -> None:
    levels = [Level(1, 1, float(4**n)) for n in range(5)]
    chosen = levels[nearest_finer_level(levels, downsample)].downsample
    assert chosen <= max(1.0, downsample * 1.01)
    assert chosen == 256 or downsample * 1.01 < chosen * 4


@given(st.integers(300, 90_000), st.integers(300, 90_000), st.integers(0, 8), st.booleans())
def test_the_rounding_of_halved_sizes_is_undone(
    width: int, height: int, halvings: int, up: bool
) -> None:
    factor = 2**halvings
    if min(width, height) < 8 * factor:
        factor = 1
    size = (
        (-(-width // factor), -(-height // factor)) if up else (width // factor, height // factor)
    )
    assert true_downsample((width, height), size) == factor


def test_fine_detail_is_averaged_away_not_aliased() -> None:
    """A checkerboard of single pixels is grey from afar, at every scale between levels."""
    board = np.indices((SIDE, SIDE)).sum(0) % 2 * 255
    image = np.repeat(board[..., None], 3, 2).astype(np.uint8)

    def read(level: int, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        return image[y : y + h, x : x + w]

    for downsample in (2.0, 2.5, 3.0, 3.3, 4.0, 5.7):
        got = read_scaled(read, [Level(SIDE, SIDE, 1.0)], (60.3, 60.7), downsample, (40, 40))
        assert abs(got.mean() - 127.5) < 2
        assert got.std() < 26, downsample


def test_a_very_large_region_is_read_in_blocks_of_bounded_size() -> None:
    largest = 0

    def read(level: int, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        nonlocal largest
        largest = max(largest, w * h)
        return np.broadcast_to(np.uint8(7), (h, w, 3)).copy()

    level = [Level(40_000, 4_000, 1.0)]
    got = read_scaled(read, level, (0.5, 0.5), 1.0, (33_000, 50))  # OpenCV's warp ends at 32,767
    assert got.shape == (50, 33_000, 3)
    far = read_scaled(read, level, (0, 0), 40.0, (600, 60))
    assert (far == 7).all()
    assert largest < 50_000_000
