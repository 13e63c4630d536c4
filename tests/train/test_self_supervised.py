"""Every self-supervised method runs, resumes to the same bits, is probed, and can collapse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from koilo.cells.predict import build_cell_net
from koilo.datasets.crop_store import CropStore
from koilo.errors import ConfigError, TrainingError
from koilo.train import LoopConfig, Progress, fit
from koilo.train.recipes.self_supervised import (
    METHODS,
    SelfSupervisedConfig,
    SelfSupervisedRecipe,
    train_self_supervised,
)
from koilo.train.self_supervision import DinoHead, DinoSettings, MocoSettings, cut_window
from tests.train.conftest import assert_same_bits, weights_of
from tests.train.toy_store import make_toy_store

TRUNK = {"widths": (4, 8), "blocks": (1, 1)}
LOOP = LoopConfig(steps=5, lr=1e-3, device="cpu", threads=1, checkpoint_every=2, evaluate_every=2)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CropStore:
    return make_toy_store(tmp_path_factory.mktemp("self") / "store")


def settings(store: CropStore, method: str, out: Path = Path("out")) -> SelfSupervisedConfig:
    return SelfSupervisedConfig(
        store=store.folder, out=out, method=method, encoder="plain", encoder_config=TRUNK,
        batch=6, batches_per_epoch=4, alarm_cells=32, moco=MocoSettings(queue=16, width=8),
        dino=DinoSettings(outputs=12, hidden=8, bottleneck=6, local_views=2), loop=LOOP,
    )  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_a_stopped_run_resumes_to_the_same_bits(
    store: CropStore, method: str, tmp_path: Path
) -> None:
    config = settings(store, method)
    fit(SelfSupervisedRecipe(config, store), LOOP, tmp_path / "whole")
    stopped = SelfSupervisedRecipe(config, store)
    own = stopped.after_step

    def after_step(progress: Progress) -> None:
        own(progress)
        if progress.step == 5:
            raise KeyboardInterrupt

    stopped.after_step = after_step  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        fit(stopped, LOOP, tmp_path / "stopped")
    fit(SelfSupervisedRecipe(config, store), LOOP, tmp_path / "stopped")
    assert_same_bits(weights_of(tmp_path / "stopped"), weights_of(tmp_path / "whole"))


@pytest.mark.parametrize("method", METHODS)
def test_the_trunk_and_heads_learn_and_the_cell_head_is_the_probe_s(
    store: CropStore, method: str
) -> None:
    recipe = SelfSupervisedRecipe(settings(store, method), store)
    recipe.model.train()
    losses = recipe.losses(recipe.batches(0)[0], Progress(step=1, steps=5, epoch=0))
    losses[method].backward()
    for name, parameter in recipe.model.named_parameters():
        if name.startswith("net.head.") or not parameter.requires_grad:
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name


def test_the_verb_leaves_a_probed_network_and_its_trunk(store: CropStore, tmp_path: Path) -> None:
    train_self_supervised(settings(store, "simclr", tmp_path))
    tensors = load_file(tmp_path / "cells.safetensors")
    net = build_cell_net("mean", n_outputs=5, encoder="plain", encoder_config=TRUNK)
    net.load_state_dict(tensors)
    trunk = load_file(tmp_path / "trunk.safetensors")
    assert_same_bits(
        {f"trunk.{name}": value for name, value in trunk.items()},
        {name: value for name, value in tensors.items() if name.startswith("trunk.")},
    )
    assert tensors["head.weight"].abs().max() > 0


def test_a_collapsed_encoder_stops_the_run_before_weights_are_written(
    store: CropStore, tmp_path: Path
) -> None:
    recipe = SelfSupervisedRecipe(settings(store, "simclr"), store)

    def collapse(progress: Progress) -> None:
        for parameter in recipe.model.net.trunk.parameters():
            parameter.zero_()

    recipe.after_step = collapse  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match="embeddings have collapsed"):
        fit(recipe, LOOP, tmp_path)
    assert not (tmp_path / "model.safetensors").exists()


def test_moco_s_queue_takes_each_update_s_keys(store: CropStore, tmp_path: Path) -> None:
    recipe = SelfSupervisedRecipe(settings(store, "moco"), store)
    fit(recipe, replace(LOOP, steps=2), tmp_path)
    assert recipe.model.queue().shape == (12, 8)
    assert torch.allclose(recipe.model.queue().norm(dim=1), torch.ones(12))


def test_dino_s_centre_and_teacher_move(store: CropStore, tmp_path: Path) -> None:
    recipe = SelfSupervisedRecipe(settings(store, "dino"), store)
    before = recipe.model.teacher_head.net.prototypes.clone()
    fit(recipe, replace(LOOP, steps=3), tmp_path)
    assert recipe.model.criterion.centre.abs().max() > 0
    assert not torch.equal(recipe.model.teacher_head.net.prototypes, before)


def test_held_prototypes_learn_nothing() -> None:
    head = DinoHead(4, DinoSettings(outputs=5, hidden=4, bottleneck=3))
    head(torch.randn(2, 4), held=True).sum().backward()
    assert head.prototypes.grad is None
    out = head(torch.randn(2, 4))
    assert out.shape == (2, 5)
    assert out.abs().max() <= 1 + 1e-6


def test_windows_are_cut_anywhere_inside_and_not_resized() -> None:
    images = torch.arange(64.0).view(1, 1, 8, 8).repeat(200, 3, 1, 1)
    windows = cut_window(images, 3, torch.Generator().manual_seed(0))
    assert windows.shape == (200, 3, 3, 3)
    corners = windows[:, 0, 0, 0].int()
    assert set((corners // 8).tolist()) == set(range(6))
    assert set((corners % 8).tolist()) == set(range(6))
    assert torch.equal(windows[:, 0, 1, 1], windows[:, 0, 0, 0] + 9)


def test_small_views_below_the_trunks_stride_are_refused(store: CropStore) -> None:
    config = replace(settings(store, "dino"), dino=DinoSettings(local_share=0.2))
    with pytest.raises(ConfigError, match="views of 6 px"):
        SelfSupervisedRecipe(config, store)


def test_all_wrong_settings_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"method is 'byol'.*batch is 1 \(allowed: 2"):
        SelfSupervisedConfig(store=Path("s"), method="byol", batch=1)


def test_a_queue_without_room_and_views_larger_than_the_crop_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"moco.queue is 0.*dino.local_share is 2"):
        SelfSupervisedConfig(
            store=Path("s"), moco=MocoSettings(queue=0), dino=DinoSettings(local_share=2.0)
        )
