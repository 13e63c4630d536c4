"""The recipe organisms: what it learns, measures and refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from koilo.bundle import load_bundle
from koilo.cells.organisms import load_organisms
from koilo.errors import ConfigError
from koilo.phantom.organisms import ORGANISM_NAMES
from koilo.train.loop import fit
from koilo.train.recipe import LoopConfig
from koilo.train.recipes.organisms import (
    OrganismCells,
    OrganismsConfig,
    OrganismsRecipe,
    lock_thresholds,
    score_organisms,
    sets_of_centres,
    train_organisms,
)

LOOP = LoopConfig(steps=20, lr=1e-2, device="cpu", threads=1)


def cells(seed: int, n: int = 200) -> OrganismCells:
    """Features in which each organism stands out in a place of its own."""
    rng = np.random.default_rng(seed)
    holds = rng.random((n, len(ORGANISM_NAMES))) < 0.2
    features = rng.normal(size=(n, 8))
    features[:, : holds.shape[1]] += 4 * holds
    return OrganismCells(features.astype(np.float32), holds, np.zeros(n, np.float32))


def test_it_learns_what_stands_out(tmp_path: Path) -> None:
    loop = replace(LOOP, lr=0.1)
    recipe = OrganismsRecipe(OrganismsConfig(hidden=16, loop=loop), cells(0), cells(1))
    result = fit(recipe, loop, tmp_path)
    assert result.metrics["mean_auc"] > 0.9, result.metrics
    assert {f"{name}_auc" for name in ORGANISM_NAMES} <= result.metrics.keys()


def test_measures_are_those_of_the_probabilities_and_leave_out_what_is_undefined() -> None:
    holds = np.zeros((4, 5), bool)
    holds[:2, 0] = True
    p = np.zeros((4, 5), np.float32)
    p[:, 0] = (0.9, 0.4, 0.6, 0.1)
    figures = score_organisms(p, holds, [0.5] * 5)
    assert figures == {
        "candida_auc": 0.75, "candida_sensitivity": 0.5, "candida_specificity": 0.5,
        "mean_auc": 0.75,
    }  # fmt: skip
    assert score_organisms(p, np.zeros((4, 5), bool), [0.5] * 5) == {}


def test_from_phantom_crops_to_a_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from koilo.phantom import draw_bank
    from koilo.train.recipes import organisms

    monkeypatch.setattr(organisms, "training_bank", lambda seed: draw_bank((seed,), 90, workers=1))
    locked_on: list[float] = []

    def lock(p: np.ndarray, holds: np.ndarray, specificity: float) -> list[float]:
        thresholds = lock_thresholds(p, holds, specificity)
        locked_on.extend(p[0].tolist())
        return thresholds

    monkeypatch.setattr(organisms, "lock_thresholds", lock)
    seen: list[np.ndarray] = []
    draw = organisms.draw_organism_cells

    def keep(*arguments: object) -> OrganismCells:
        found = draw(*arguments)  # type: ignore[arg-type]
        seen.append(found.features)
        return found

    monkeypatch.setattr(organisms, "draw_organism_cells", keep)
    config = OrganismsConfig(
        tmp_path / "run", train_centres=1, locking_centres=1, unseen_centres=1, crops=6, batch=4,
        loop=replace(LOOP, steps=2),
    )  # fmt: skip
    train_organisms(config)
    assert (tmp_path / "run" / "model.safetensors").is_file()
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["config"]["settings"]["model"] == "cytology"
    made, source = load_bundle(tmp_path / "run" / "bundle"), load_bundle("cytology")
    assert made.name == "cytology-organisms"
    assert set(made.parts) == {*source.parts, "organisms"}
    for part in source.parts:
        for name, value in source.tensors(part).items():
            np.testing.assert_array_equal(made.tensors(part)[name], value)
    assert made.spec["operating_points"] == source.spec["operating_points"]
    assert "drawn" in made.card.split("## Organisms")[1]
    reader = load_organisms(made)
    assert reader.names == ORGANISM_NAMES
    assert reader.predict(seen[1])[0].tolist() == locked_on  # of the weights that it holds


def test_a_threshold_is_the_lowest_that_holds_the_share() -> None:
    p = np.linspace(0, 0.99, 100, dtype=np.float32)[:, None]
    holds = np.zeros((100, 1), bool)
    (threshold,) = lock_thresholds(p, holds, 0.95)
    assert (p >= threshold).sum() <= 5
    assert (p >= np.nextafter(np.float32(threshold), np.float32(0))).sum() > (p >= threshold).sum()
    assert lock_thresholds(p, ~holds, 0.95) == [1.0]
    assert lock_thresholds(np.ones((3, 1), np.float32), np.zeros((3, 1), bool), 0.95) == [1.0]


def test_the_three_sets_of_centres_are_apart() -> None:
    sets = sets_of_centres(OrganismsConfig(train_centres=2, locking_centres=3, unseen_centres=4))
    numbers = [number for centres in sets for number in centres]
    assert numbers == list(range(9))


def test_all_wrong_settings_are_named_in_one_error() -> None:
    with pytest.raises(ConfigError, match=r"crops is 0.*without is 1"):
        OrganismsConfig(crops=0, without=1.0)
