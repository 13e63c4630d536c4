"""Regions lie where they should at any scale, to a fraction of a pixel."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from koilo.slides.backend import Level, blank, overlap, true_downsample
from koilo.slides.regions import nearest_finer_level, read_scaled

SIDE = 512
PERIOD_PX0 = 80.0


class Waves:
    """A pyramid whose red waves along x and green along y: the phase of a region says where it is.

    A wave, not a ramp: rounding to whole greys feigns a shift of a ramp, for it errs the same way
    wherever pixels step by the same fraction of a grey. On a wave it errs both ways alike.
    """

    def __init__(self, factors: tuple[int, ...]) -> None:
        self.levels = [Level(SIDE // f, SIDE // f, float(f)) for f in factors]
        self._pixels = [self._level(f) for f in factors]

    @staticmethod
    def _level(factor: int) -> NDArray[np.uint8]:
        turn = 2 * np.pi * (np.arange(SIDE // factor) + 0.5) * factor / PERIOD_PX0
        wave = np.rint(127 + 110 * np.sin(turn)).astype(np.uint8)
        image = np.zeros((SIDE // factor, SIDE // factor, 3), np.uint8)
        image[..., 0], image[..., 1] = wave[None, :], wave[:, None]
        return image

    def read(self, level: int, x: int, y: int, w: int, h: int) -> NDArray[np.uint8]:
        pixels, out = self._pixels[level], blank(w, h)
        (x0, x1), (y0, y1) = overlap(x, w, pixels.shape[1]), overlap(y, h, pixels.shape[0])
        out[y0 - y : y1 - y, x0 - x : x1 - x] = pixels[y0:y1, x0:x1]
        return out


def shift_px0(line: NDArray[np.float64], start_px0: float, downsample: float) -> float:
    """How far to the right of its place a line (N,) of pixels was taken, by its wave's phase."""
    centres_px0 = start_px0 + (np.arange(len(line)) + 0.5) * downsample
    turn = 2 * np.pi * centres_px0 / PERIOD_PX0
    terms = np.stack([np.sin(turn), np.cos(turn), np.ones_like(turn)], axis=1)  # (N, 3)
    (sine, cosine, _), *_ = np.linalg.lstsq(terms, line, rcond=None)
    return float(np.arctan2(cosine, sine)) * PERIOD_PX0 / (2 * np.pi)


WAVES = [Waves((1,)), Waves((1, 2, 4)), Waves((1, 4, 16))]
inside = st.floats(30, 100)
scales = st.floats(0.4, 6)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(WAVES), inside, inside, scales)
def test_every_pixel_shows_the_place_it_names(
    waves: Waves, x_px0: float, y_px0: float, downsample: float
) -> None:
    size = (round(3 * PERIOD_PX0 / downsample),) * 2
    got = read_scaled(waves.read, waves.levels, (x_px0, y_px0), downsample, size).astype(float)
    x_shift = shift_px0(got[..., 0].mean(axis=0), x_px0, downsample)
    y_shift = shift_px0(got[..., 1].mean(axis=1), y_px0, downsample)
    # A region within 1/16 pixel of the level's own grid is copied from it unmoved; any other lies
    # where OpenCV puts it, to 1/64 of the pixels it samples, which are no coarser than the ones
    # asked for. What is left is the rounding of greys and the bend of linear interpolation.
    level = waves.levels[nearest_finer_level(waves.levels, downsample)]
    allowed_px0 = max(level.downsample / 16, downsample / 64) + 0.02
    assert abs(x_shift) < allowed_px0
    assert abs(y_shift) < allowed_px0


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(WAVES), inside, inside, scales, st.integers(1, 21))
def test_two_neighbours_are_one_region_cut_in_two(
    waves: Waves, x_px0: float, y_px0: float, downsample: float, cut_px: int
) -> None:
    whole = read_scaled(waves.read, waves.levels, (x_px0, y_px0), downsample, (22, 9))
    left = read_scaled(waves.read, waves.levels, (x_px0, y_px0), downsample, (cut_px, 9))
    start = (x_px0 + cut_px * downsample, y_px0)
    right = read_scaled(waves.read, waves.levels, start, downsample, (22 - cut_px, 9))
    difference = np.abs(np.hstack([left, right]).astype(int) - whole)
    # Positions may differ by 1/16 pixel, which moves the wave by a grey.
    assert difference[:, :, :2].max() <= 2


@settings(max_examples=60, deadline=None)
@given(st.integers(-700, 700), st.integers(-700, 700), st.integers(1, 90), st.integers(1, 90))
def test_at_level_0_pixels_are_exact_and_white_outside(x: int, y: int, w: int, h: int) -> None:
    waves = WAVES[1]
    got = read_scaled(waves.read, waves.levels, (x, y), 1.0, (w, h))
    assert got.shape == (h, w, 3)
    padded = np.full((SIDE + 1400, SIDE + 1400, 3), 255, np.uint8)
    padded[700 : 700 + SIDE, 700 : 700 + SIDE] = waves.read(0, 0, 0, SIDE, SIDE)
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
