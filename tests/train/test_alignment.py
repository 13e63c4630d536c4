"""The recipe alignment: what it learns, measures and refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from koilo.errors import ConfigError, TrainingError
from koilo.train.loop import fit
from koilo.train.recipe import LoopConfig
from koilo.train.recipes.alignment import (
    TEXTS,
    WORDINGS,
    AlignmentConfig,
    AlignmentRecipe,
    AlignmentSettings,
    DescribedCells,
    score_cells,
    train_alignment,
)

LOOP = LoopConfig(steps=20, lr=3e-2, device="cpu", threads=1)
SETTINGS = AlignmentSettings(width=16, batch=64)


def cells(seed: int, n: int = 300) -> DescribedCells:
    """Features in which each text stands out in a place of its own."""
    rng = np.random.default_rng(seed)
    said = rng.random((n, len(TEXTS))) < 0.2
    features = 0.3 * rng.normal(size=(n, 20)) + 5.0  # not centred, as a trunk's are not
    features[:, : said.shape[1]] += 3 * said
    return DescribedCells(features.astype(np.float32), said, np.ones_like(said), np.ones(n))


@pytest.mark.parametrize(
    "change", [{}, {"temperature": True}, {"variant": "head"}], ids=["texts", "temperature", "head"]
)
def test_each_variant_learns_what_stands_out(tmp_path: Path, change: dict[str, object]) -> None:
    recipe = AlignmentRecipe(replace(SETTINGS, **change), cells(0), cells(1))
    before = recipe.evaluate()["macro_f1"]
    figures = fit(recipe, LOOP, tmp_path).metrics
    assert figures["macro_f1"] > before + 0.05, (before, figures)
    assert figures["macro_f1"] >= figures["macro_f1_one_threshold"] - 0.02


def test_a_step_encodes_all_texts_each_in_one_of_its_wordings() -> None:
    recipe = AlignmentRecipe(SETTINGS, cells(0), cells(1))
    wordings = torch.stack([recipe.batches(0)[0][3], recipe.batches(1)[0][3]])
    assert wordings.shape == (2, len(TEXTS))
    assert (wordings < len(WORDINGS[0])).all()
    assert not torch.equal(wordings[0], wordings[1])
    assert torch.equal(wordings[0], recipe.batches(0)[0][3])


def test_the_cells_features_are_data_and_their_mean_is_no_parameter() -> None:
    recipe = AlignmentRecipe(SETTINGS, cells(0), cells(1))
    learnt = dict(recipe.model.named_parameters())
    assert not any("feature_mean" in name for name in learnt)
    assert recipe.model.state_dict()["feature_mean"] == pytest.approx(
        cells(0).features.mean(0), abs=1e-4
    )


def test_cells_that_only_have_a_class_are_drawn_by_their_odds() -> None:
    told = cells(0)
    odds = np.where(np.arange(300) < 10, 1.0, 0.0)
    recipe = AlignmentRecipe(SETTINGS, replace(told, odds=odds), cells(1))
    features = recipe.batches(0)[0][0].numpy()
    assert {tuple(row) for row in features} <= {tuple(row) for row in told.features[:10]}


def test_scores_of_texts_are_cosines() -> None:
    recipe = AlignmentRecipe(SETTINGS, cells(0), cells(1))
    scores = score_cells(recipe.model.eval(), cells(1).features)
    assert scores.shape == (300, len(TEXTS))
    assert np.abs(scores).max() <= 1 + 1e-5


def test_from_phantom_crops_to_aligned_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from koilo.phantom import draw_bank
    from koilo.train.recipes import alignment

    monkeypatch.setattr(alignment, "training_bank", lambda seed: draw_bank((seed,), 90, workers=1))
    config = AlignmentConfig(
        tmp_path / "run", train_centres=1, unseen_centres=1, crops=6,
        settings=replace(SETTINGS, batch=4), loop=replace(LOOP, steps=2),
    )  # fmt: skip
    train_alignment(config)
    assert (tmp_path / "run" / "model.safetensors").is_file()
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["config"]["settings"]["settings"]["variant"] == "texts"


def test_wrong_settings_and_no_cell_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"variant is 'both'.*width is 7.*batch is 0"):
        AlignmentSettings(variant="both", width=7, batch=0)
    with pytest.raises(ConfigError, match="crops is 0"):
        AlignmentConfig(crops=0)
    nothing = replace(cells(0), known=np.zeros((300, len(TEXTS)), bool))
    with pytest.raises(TrainingError, match="No cell with a known description"):
        AlignmentRecipe(SETTINGS, nothing, cells(1))
