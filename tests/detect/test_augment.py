from dataclasses import replace

import numpy as np
import pytest

from koilo.detect.augment import TileAugmentation, cut_tile

STILL = TileAugmentation(
    scale=(1.0, 1.0), stain_gain=0, stain_mix=0, light=0, contrast=0, blur_px=0, noise=0, jpeg=100
)


def cut(scene, settings, seed=0, size=96, mpp=1.0, centre=(64.0, 64.0)):
    rng = np.random.default_rng(seed)
    return cut_tile(scene, centre, size_px=size, mpp=mpp, rng=rng, settings=settings)


def darkest_near(rgb, x, y):
    rows, columns = np.nonzero(rgb[..., 1] < 120)
    near = np.hypot(columns + 0.5 - x, rows + 0.5 - y) < 9
    return columns[near].mean() + 0.5, rows[near].mean() + 0.5


@pytest.mark.parametrize("seed", range(6))
def test_boxes_stay_on_their_nuclei_however_the_tile_is_turned(disks, seed):
    rgb, truth = cut(disks, replace(STILL, scale=(0.8, 1.3)), seed)
    assert len(truth.boxes_px) >= 2
    for x, y, w, h in truth.boxes_px:
        centre = (x + w / 2, y + h / 2)
        if min(centre) > 12 and max(centre) < 84:
            assert darkest_near(rgb, *centre) == pytest.approx(centre, abs=0.7)


def test_without_augmentation_the_tile_is_the_scene_itself(disks):
    rgb, truth = cut(disks, None, size=64, centre=(50.0, 60.0))
    np.testing.assert_array_equal(rgb, disks.rgb[28:92, 18:82])
    assert truth.valid.all()
    assert truth.boxes_px[0] == pytest.approx([2, 2, 20, 20])


def test_a_finer_scene_is_brought_to_the_tiles_pixel_size(disks):
    fine = replace(disks, mpp=0.5)
    _, truth = cut(fine, None, size=64)
    assert truth.boxes_px[:, 2:] == pytest.approx(10.0)
    assert (truth.boxes_px[0, :2] + 5) == pytest.approx([15, 20])


def test_ground_outside_the_scene_is_marked_as_not_valid(disks):
    _, truth = cut(disks, None, size=96, centre=(0.0, 64.0))
    assert not truth.valid[:, :47].any()
    assert truth.valid[:, 49:].all()


def test_stain_and_camera_change_colour_and_not_the_truth(disks):
    loud = replace(TileAugmentation(), scale=(1.0, 1.0))
    quiet_rgb, quiet = cut(disks, STILL, 3)
    loud_rgb, truth = cut(disks, loud, 3)
    np.testing.assert_allclose(quiet.boxes_px, truth.boxes_px)
    gap = np.abs(quiet_rgb.astype(float).mean((0, 1)) - loud_rgb.astype(float).mean((0, 1)))
    assert gap.max() > 2
