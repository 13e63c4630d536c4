"""The supervised recipe learns, mixes its sets by share, and draws the same crops again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from koilo.cells.augment import Augmentation
from koilo.cells.model import PooledCellNet
from koilo.errors import TrainingError
from koilo.evaluate.hierarchy import score_hierarchy
from koilo.taxonomy.hierarchy import Hierarchy
from koilo.train import LoopConfig, Progress, fit
from koilo.train.recipes.supervised import (
    CellSet,
    SupervisedRecipe,
    SupervisedSettings,
    class_odds,
    mirror_edges,
    predict_outputs,
)

SETTINGS = SupervisedSettings(input_px=32, batch=16, batches_per_epoch=4)


def cells(n: int = 48, share: float = 1.0, only: int | None = None) -> CellSet:
    """Discs whose darkness is their class; three in four are of class 0."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 4 // 3 if only is None else np.full(n, only)
    y, x = np.mgrid[:56, :56] - 27.5
    disc = (np.hypot(x, y) < 9)[None, :, :, None]
    dark = np.where(labels == 1, 40, 170)[:, None, None, None]
    patches = np.where(disc, dark, 230) + rng.normal(0, 4, (n, 56, 56, 3))
    return CellSet(np.clip(patches, 0, 255).astype(np.uint8), labels.astype(np.int64), share)


def toy_net(n_outputs: int = 2) -> PooledCellNet:
    torch.manual_seed(0)
    return PooledCellNet(
        n_outputs, encoder="plain", encoder_config={"widths": (8, 16), "blocks": (1, 1)}
    )


class Fixed(nn.Module):
    """Gives the logits it was made of, whatever it is shown."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits


def test_a_run_learns_what_can_be_learnt(tmp_path) -> None:
    recipe = SupervisedRecipe(toy_net(), [cells()], SETTINGS, validation=cells(24))
    result = fit(recipe, LoopConfig(steps=20, lr=5e-3, threads=1), tmp_path)
    assert result.metrics["lesion_auc"] > 0.95
    assert result.metrics["macro_f1"] > 0.8


def test_batches_are_a_function_of_seed_epoch_and_index() -> None:
    recipe = SupervisedRecipe(toy_net(), [cells()], SETTINGS)
    again = SupervisedRecipe(toy_net(), [cells()], SETTINGS)
    images, labels = recipe.batches(1)[2]
    assert images.shape == (16, 3, 32, 32)
    assert torch.equal(images, again.batches(1)[2][0])
    assert torch.equal(labels, again.batches(1)[2][1])
    assert not torch.equal(images, recipe.batches(1)[3][0])
    assert not torch.equal(images, recipe.batches(2)[2][0])


def test_sets_are_drawn_by_their_shares() -> None:
    sets = [cells(40, 0.75, only=0), cells(8, 0.25, only=1), cells(4, 0.0, only=1)]
    recipe = SupervisedRecipe(toy_net(), sets, SETTINGS)
    drawn = torch.cat([labels for epoch in range(8) for _, labels in recipe.batches(epoch)])
    assert drawn.float().mean().item() == pytest.approx(0.25, abs=0.06)


def test_rare_classes_are_drawn_more_often_by_the_power() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    for power, share in ((0.0, 0.1), (0.5, 0.25), (1.0, 0.5)):
        assert class_odds(labels, power)[90:].sum() == pytest.approx(share)


def test_mirrored_edges_keep_the_middle() -> None:
    crop = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    for seed in range(10):
        mirrored = mirror_edges(crop, np.random.default_rng(seed))
        assert mirrored.shape == crop.shape
        np.testing.assert_array_equal(mirrored[12:20, 12:20], crop[12:20, 12:20])


def test_without_a_validation_set_nothing_is_measured() -> None:
    assert SupervisedRecipe(toy_net(), [cells()], SETTINGS).evaluate() == {}


def test_a_single_class_has_no_auc() -> None:
    net = toy_net().eval()
    recipe = SupervisedRecipe(net, [cells()], SETTINGS, validation=cells(8, only=0))
    assert "lesion_auc" not in recipe.evaluate()


def test_no_cell_to_learn_from_is_refused() -> None:
    empty = CellSet(np.zeros((0, 56, 56, 3), np.uint8), np.zeros(0, np.int64))
    with pytest.raises(TrainingError, match="No training set"):
        SupervisedRecipe(toy_net(), [empty], SETTINGS)


def test_a_still_augmentation_gives_the_middle_turned() -> None:
    still = Augmentation(
        scale=(1.0, 1.0), shift_px=0, stain_gain=0, stain_mix=0, light=0, contrast=0,
        blur_px=0, noise=0, jpeg=100,
    )  # fmt: skip
    settings = SupervisedSettings(input_px=32, batch=4, mirrored=0.0, augmentation=still)
    recipe = SupervisedRecipe(toy_net(), [cells(8, only=1)], settings)
    images, _ = recipe.batches(0)[0]
    assert images[:, :, 14:18, 14:18].mean().item() == pytest.approx(40, abs=4)


TREE = Hierarchy(
    "toy",
    (("healthy", "flat"), ("healthy", "round"), ("sick", "dark")),
    ("NILM", "NILM", "HSIL"),
)


def test_a_tree_weighs_the_loss_and_alpha_0_is_plain_cross_entropy() -> None:
    wrong_leaf, wrong_branch = torch.tensor([[3.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 3.0]])
    label = torch.tensor([1])

    def loss_of(logits: Tensor, alpha: float) -> float:
        settings = replace(SETTINGS, alpha=alpha)
        recipe = SupervisedRecipe(Fixed(logits), [cells()], settings, hierarchy=TREE)
        return recipe.losses((torch.zeros(1, 3, 8, 8), label), Progress(0, 1, 0))["classes"].item()

    for logits in (wrong_leaf, wrong_branch):
        plain = torch.nn.functional.cross_entropy(logits, label).item()
        assert loss_of(logits, 0.0) == pytest.approx(plain, rel=1e-5)
    assert loss_of(wrong_leaf, 2.0) < loss_of(wrong_leaf, 0.0)
    assert loss_of(wrong_branch, 2.0) > loss_of(wrong_branch, 0.0)


def test_with_a_tree_validation_says_accuracy_a_level_and_how_far_off_mistakes_lie() -> None:
    net, held_out = toy_net(3).eval(), cells(24)
    found = SupervisedRecipe(
        net, [cells()], SETTINGS, validation=held_out, hierarchy=TREE
    ).evaluate()
    p = predict_outputs(net, held_out.patches, SETTINGS.input_px)
    expected = score_hierarchy(held_out.labels, p, TREE)
    levels = found["accuracy_level_1"], found["accuracy_level_2"]
    assert levels == pytest.approx(expected.level_accuracy)
    assert found["tree_distance"] == pytest.approx(expected.mean_distance)
    assert "lesion_auc" not in found  # labels 0 and 1 are both NILM in this tree


def test_a_negative_share_is_refused() -> None:
    sets = [cells(), replace(cells(), share=-0.5)]
    with pytest.raises(TrainingError, match="a share is negative"):
        SupervisedRecipe(toy_net(), sets, SETTINGS)
