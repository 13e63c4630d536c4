"""Every semi-supervised method runs, resumes to the same bits, and leaves a cell network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from koilo.datasets.crop_store import CropStore
from koilo.encoders.zoo import build_encoder
from koilo.errors import ConfigError
from koilo.train import LoopConfig, Progress, fit
from koilo.train.checkpoint import write_weights
from koilo.train.recipes.semi import METHODS, SemiConfig, SemiRecipe
from koilo.train.stored_cells import KnownCells
from tests.train.conftest import assert_same_bits, weights_of
from tests.train.toy_store import make_toy_store

TRUNK = {"widths": (4, 8), "blocks": (1, 1)}
LOOP = LoopConfig(steps=6, lr=5e-3, ema=0.9, device="cpu", threads=1, checkpoint_every=2)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CropStore:
    return make_toy_store(tmp_path_factory.mktemp("semi") / "store")


def settings(store: CropStore, method: str, out: Path = Path("out")) -> SemiConfig:
    return SemiConfig(
        store=store.folder, out=out, method=method, encoder="plain", encoder_config=TRUNK,
        batch=6, unlabelled=8, batches_per_epoch=4, threshold=0.2, generations=2, loop=LOOP,
    )  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_a_stopped_run_resumes_to_the_same_bits(
    store: CropStore, method: str, tmp_path: Path
) -> None:
    config = settings(store, method)
    fit(SemiRecipe(config, store), LOOP, tmp_path / "whole")
    stopped = SemiRecipe(config, store)
    own = stopped.after_step

    def after_step(progress: Progress) -> None:
        own(progress)
        if progress.step == 5:
            raise KeyboardInterrupt

    stopped.after_step = after_step  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        fit(stopped, LOOP, tmp_path / "stopped")
    fit(SemiRecipe(config, store), LOOP, tmp_path / "stopped")
    assert_same_bits(weights_of(tmp_path / "stopped"), weights_of(tmp_path / "whole"))


def test_a_given_label_wins_over_a_pseudo_label(store: CropStore) -> None:
    recipe = SemiRecipe(settings(store, "crest"), store)
    given = recipe.given
    stranger = next(row for row in recipe.rows if row not in given.rows)
    pseudo = KnownCells(
        rows=torch.tensor([given.rows[0], stranger]).numpy(),
        labels=torch.tensor([4, 4]).numpy(),
    )
    joined = SemiRecipe(settings(store, "crest"), store, generation=1, pseudo=pseudo).labelled
    assert len(joined) == len(given) + 1
    assert joined.labels[0] == given.labels[0]
    assert (joined.rows[-1], joined.labels[-1]) == (stranger, 4)


def test_every_method_draws_the_same_labelled_cells(store: CropStore) -> None:
    batches = [SemiRecipe(settings(store, method), store).batches(1)[2] for method in METHODS]
    for batch in batches[1:]:
        assert torch.equal(batch.cells, batches[0].cells)
        assert torch.equal(batch.labels, batches[0].labels)
    assert len(batches[0].unlabelled) == 0
    assert batches[1].unlabelled.shape == (8, 3, 32, 32)


def test_unlabelled_numbers_name_the_crops_that_are_drawn(store: CropStore) -> None:
    recipe = SemiRecipe(settings(store, "flexmatch"), store)
    batch = recipe.batches(0)[0]
    rows = recipe.rows[batch.numbers.numpy()]
    crops = torch.from_numpy(store.crops[rows]).permute(0, 3, 1, 2)
    assert torch.equal(batch.unlabelled, crops)


def test_teacher_thresholds_and_alignment_move_with_the_steps(
    store: CropStore, tmp_path: Path
) -> None:
    loop = replace(LOOP, ema=0.0)
    recipes = {
        method: SemiRecipe(settings(store, method), store)
        for method in ("mean_teacher", "flexmatch", "crest")
    }
    for method, recipe in recipes.items():
        fit(recipe, loop, tmp_path / method)
    teacher = recipes["mean_teacher"].model.teacher
    own = recipes["mean_teacher"].model.net.head.weight
    assert not torch.equal(teacher.net.head.weight, own)
    assert (recipes["flexmatch"].model.flex.last_call >= 0).any()
    assert recipes["crest"].model.aligned.n_seen == 6


def test_starting_weights_are_those_of_the_file(store: CropStore, tmp_path: Path) -> None:
    torch.manual_seed(5)
    trunk = build_encoder("plain", **TRUNK)
    write_weights(tmp_path / "trunk.safetensors", trunk, {})
    config = replace(settings(store, "supervised"), start=tmp_path / "trunk.safetensors")
    assert_same_bits(
        dict(SemiRecipe(config, store).cell_net.trunk.state_dict()), dict(trunk.state_dict())
    )


def test_all_wrong_settings_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"classes: .*method is 'fixmach'.*batch is 0.*threshold"):
        SemiConfig(
            store=Path("s"), method="fixmach", classes=("LSIL", "NILM"), batch=0, threshold=1.5
        )
