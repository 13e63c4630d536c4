"""The recipe detector: what it draws, that it learns to find disks, what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from koilo.detect import Detector, Scene, TileAugmentation, build_detector
from koilo.errors import TrainingError
from koilo.evaluate.detection import score_detection
from koilo.train.loop import fit
from koilo.train.recipe import LoopConfig
from koilo.train.recipes.detector import (
    DetectorRecipe,
    DetectorSettings,
    find_in_scene,
    start_trunk,
)

SETTINGS = DetectorSettings(
    tile_px=64, batch=4, augmentation=TileAugmentation(scale=(0.9, 1.1), jpeg=100)
)


def disks(seed: int, n: int = 6, size: int = 128) -> Scene:
    """Dark (positive) and pale (normal) disks on a light ground, at least 26 px apart."""
    rng = np.random.default_rng(seed)
    centres: list[np.ndarray] = []
    while len(centres) < n:
        spot = rng.uniform(12, size - 12, 2)
        if all(np.hypot(*(spot - other)) > 26 for other in centres):
            centres.append(spot)
    rgb = np.full((size, size, 3), 225, np.uint8)
    rows, columns = np.mgrid[:size, :size]
    positive = np.arange(n) % 2 == 0
    for (x, y), dark in zip(centres, positive, strict=True):
        rgb[np.hypot(columns + 0.5 - x, rows + 0.5 - y) < 6] = 60 if dark else 170
    boxes = np.concatenate([np.array(centres) - 10, np.full((n, 2), 20)], axis=1)
    return Scene(rgb, 1.0, boxes.astype(np.float32), positive)


def small() -> torch.nn.Module:
    torch.manual_seed(0)
    return build_detector("centre", {"n_stages": 2, "width": 16})


def test_a_batch_depends_on_seed_epoch_and_number_alone() -> None:
    recipe = DetectorRecipe(small(), [disks(0), disks(1)], SETTINGS)
    images, truths = recipe.batches(2)[3]
    again, more_truths = recipe.batches(2)[3]
    assert images.shape == (4, 3, 64, 64)
    torch.testing.assert_close(images, again)
    np.testing.assert_array_equal(truths[0].boxes_px, more_truths[0].boxes_px)
    assert not torch.equal(images, recipe.batches(2)[4][0])
    assert not torch.equal(images, recipe.batches(3)[3][0])


def test_tiles_near_positive_cells_hold_one_and_a_second_set_is_drawn_by_its_share() -> None:
    barren = replace(disks(0), positive=np.zeros(6, bool))
    settings = replace(SETTINGS, positive_share=1.0, batch=16)
    recipe = DetectorRecipe(small(), [disks(0), barren], settings)
    _, truths = recipe.batches(0)[0]
    assert np.mean([truth.positive.any() for truth in truths]) > 0.8
    night = replace(disks(1), rgb=np.zeros((128, 128, 3), np.uint8))
    recipe = DetectorRecipe(
        small(), [disks(0)], replace(settings, second_share=0.5), second=[night]
    )
    images, _ = recipe.batches(0)[0]
    dark = (images.mean((1, 2, 3)) < 100).float().mean()
    assert 0.2 < float(dark) < 0.8


def test_twenty_steps_teach_it_to_find_disks(tmp_path: Path) -> None:
    scenes = [disks(seed) for seed in range(6)]
    held_out = [disks(seed) for seed in range(50, 54)]
    recipe = DetectorRecipe(small(), scenes, replace(SETTINGS, batch=8), validation=held_out)
    before = recipe.evaluate()
    loop = LoopConfig(steps=20, lr=3e-3, device="cpu", clip=5.0)
    result = fit(recipe, loop, tmp_path / "run")
    assert before["centre_ap"] < 0.3
    assert result.metrics["centre_ap"] > 0.8
    detector = Detector(recipe.model)
    figures = score_detection([find_in_scene(detector, scene) for scene in held_out])
    assert figures["recall@100"] == pytest.approx(result.metrics["recall@100"])


def test_a_scene_of_another_pixel_size_is_searched_at_the_detectors() -> None:
    fine = replace(disks(0), mpp=0.5)
    found = find_in_scene(Detector(small(), score_floor=0.0), fine, block=3)
    assert found.size_px == (64, 64)
    assert found.truth_px[:, 2:] == pytest.approx(10)
    assert (len(found.truth_px), len(found.other_px), found.block) == (3, 3, 3)


def test_a_pretrained_trunk_is_taken_over_and_other_models_refuse_it() -> None:
    source, target = small(), build_detector("centre", {"n_stages": 2, "width": 8})
    weights = {**source.get_submodule("trunk").state_dict(), "stages.3.deeper": torch.zeros(1)}
    start_trunk(target, weights)
    torch.testing.assert_close(
        target.get_submodule("trunk").state_dict(), source.get_submodule("trunk").state_dict()
    )
    with pytest.raises(TrainingError, match="no trunk"):
        start_trunk(torch.nn.Linear(1, 1), weights)


def test_scenes_without_a_positive_cell_are_refused() -> None:
    barren = replace(disks(0), positive=np.zeros(6, bool))
    with pytest.raises(TrainingError, match="positive"):
        DetectorRecipe(small(), [barren], SETTINGS)
