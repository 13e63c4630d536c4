"""A changed crop is still the cell, in the middle, and the generator alone decides the change."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from koilo.cells.augment import Augmentation, augment_crop, centre_crop

STILL = Augmentation(
    scale=(1.0, 1.0), shift_px=0, stain_gain=0, stain_mix=0, light=0, contrast=0,
    blur_px=0, noise=0, jpeg=100,
)  # fmt: skip


def patch() -> np.ndarray:
    """A dark, slightly bluish disc of 12 px on a light ground."""
    y, x = np.mgrid[:160, :160] - 79.5
    rgb = np.full((160, 160, 3), (230, 220, 225), np.uint8)
    rgb[np.hypot(x, y) < 12] = (70, 60, 110)
    return rgb


def test_the_same_generator_gives_the_same_crop() -> None:
    crops = [
        augment_crop(patch(), 96, np.random.default_rng(seed), Augmentation()) for seed in (3, 3, 4)
    ]
    np.testing.assert_array_equal(crops[0], crops[1])
    assert (crops[0] != crops[2]).any()


def test_without_any_range_only_the_turn_is_left() -> None:
    crop = augment_crop(patch(), 96, np.random.default_rng(0), STILL)
    assert np.abs(crop.astype(int) - centre_crop(patch(), 96)).mean() < 1


def test_the_cell_stays_in_the_middle_and_dark() -> None:
    for seed in range(20):
        crop = augment_crop(patch(), 96, np.random.default_rng(seed), Augmentation())
        assert crop[44:52, 44:52].mean() < crop[:8, :8].mean() - 40


def test_magnification_follows_its_range() -> None:
    larger = dataclasses.replace(STILL, scale=(1.5, 1.5))
    crop = augment_crop(patch(), 96, np.random.default_rng(0), larger)
    dark = (crop.mean(2) < 150).sum()
    assert dark == pytest.approx(np.pi * 18**2, rel=0.05)


def test_full_grey_leaves_no_colour() -> None:
    grey = dataclasses.replace(STILL, grey=1.0)
    spreads = []
    for seed in range(10):
        crop = augment_crop(patch(), 96, np.random.default_rng(seed), grey)
        spreads.append(np.ptp(crop[48, 48].astype(int)))
    assert max(spreads) < 0.75 * 50
    assert min(spreads) < 15


def test_strength_scales_the_change_of_stain() -> None:
    def change(strength: float) -> float:
        setting = dataclasses.replace(
            STILL, stain_gain=0.25, stain_mix=0.1, contrast=0.2, strength=strength
        )
        crops = [
            augment_crop(patch(), 96, np.random.default_rng(seed), setting) for seed in range(8)
        ]
        return float(np.mean([np.abs(c.astype(int) - centre_crop(patch(), 96)) for c in crops]))

    assert change(0.2) < change(1.0) < change(2.0)
