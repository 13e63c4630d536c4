from __future__ import annotations

import cv2
import numpy as np
import pytest

from koilo.phantom import Bank, Centre
from koilo.phantom.canvas import Placement, Window, expose, paint, picture
from koilo.phantom.truth import mask, truth_of

ONES = np.ones(4, np.float32)


def _placed(bank: Bank, kind: str = "hsil", **changes: float) -> Placement:
    values = {"x_um": 20.0, "y_um": 20.0, "angle": 0.0, "scale": 1.0} | changes
    return Placement(sprite=bank.of_kind(kind)[0], gains=ONES, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(("angle", "scale"), [(0.0, 1.0), (0.9, 1.1), (2.4, 0.9)])
@pytest.mark.parametrize("mpp", [0.25, 0.5, 1.0])
def test_pixels_and_truth_meet_at_any_turn_size_and_pixel_size(
    bank: Bank, angle: float, scale: float, mpp: float
) -> None:
    placement = _placed(bank, angle=angle, scale=scale, x_um=21.3, y_um=18.9)
    window = Window(0.0, 0.0, mpp, int(40 / mpp), int(40 / mpp))
    haematoxylin = paint([placement], window)[..., 0]
    truth = truth_of(placement, window)
    drawn = haematoxylin > 0.5 * np.percentile(haematoxylin[haematoxylin > 0], 80)
    said = mask(truth.nuclei_px, (window.width_px, window.height_px))
    overlap = (drawn & said).sum() / (drawn | said).sum()
    assert overlap > (0.8 if mpp < 0.9 else 0.6)
    rows, columns = np.nonzero(said)
    x, y, w, _ = truth.nucleus_box_px
    assert x - 1 <= columns.min() <= x + 1
    assert x + w - 2 <= columns.max() <= x + w + 1
    assert y - 1 <= rows.min() <= y + 1


def test_areas_grow_with_the_square_of_the_scale(bank: Bank) -> None:
    window = Window(0.0, 0.0, 0.25, 160, 160)
    placement = _placed(bank, scale=1.15)
    measured = truth_of(placement, window).measured
    filled = mask(truth_of(placement, window).nuclei_px, (160, 160)).sum() * 0.25**2
    assert measured["nuclei_um2"] == pytest.approx(filled, rel=0.04)
    assert measured["nuclei_um2"] == pytest.approx(
        placement.sprite.measured["nuclei_um2"] * 1.15**2
    )


def test_overlapping_cells_multiply_the_light_that_passes(bank: Bank, centre: Centre) -> None:
    window = Window(0.0, 0.0, 0.25, 160, 160)
    one, two = _placed(bank, "intermediate"), _placed(bank, "superficial", x_um=24.0)
    both = paint([one, two], window)
    assert np.allclose(both, paint([one], window) + paint([two], window), atol=1e-5)
    clear = expose(np.zeros_like(both), centre, window, (0, 0))
    dyed = expose(both, centre, window, (0, 0))
    assert dyed[80, 80].mean() < clear[80, 80].mean()


def test_clear_glass_is_not_perfectly_white(centre: Centre) -> None:
    window = Window(0.0, 0.0, 0.25, 200, 200)
    clear = expose(np.zeros((200, 200, 4), np.float32), centre, window, (3, 4))
    assert clear.std() > 0.5
    assert 215 < clear.mean() < 254


def test_a_picture_is_sharper_in_focus(bank: Bank, centre: Centre) -> None:
    window = Window(0.0, 0.0, 0.25, 160, 160)

    def edges(defocus_um: float) -> float:
        rgb = picture([_placed(bank, defocus_um=defocus_um)], centre, window, (0, 0))
        return float(cv2.Laplacian(rgb[..., 1], cv2.CV_64F)[40:120, 40:120].var())

    assert edges(0.0) > 1.5 * edges(1.5)


def test_noise_does_not_repeat_from_tile_to_tile(centre: Centre) -> None:
    zero = np.zeros((64, 64, 4), np.float32)
    tiles = [
        expose(zero.copy(), centre, Window(i * 512 * 0.25, 0.0, 0.25, 64, 64), (0, 0)).tobytes()
        for i in range(40)
    ]
    assert len(set(tiles)) == len(tiles)
