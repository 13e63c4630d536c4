"""``koilo train semi``: one network on a crop store, or CReST's generations one after the other.

A generation of CReST is a run of its own, in a folder of its own, that resumes where it stopped;
what it is given beside the store's labels lies in its ``pseudo_labels.csv``. The generations share
the run's steps, so that all methods take equally many. Where several processes train, the first
one chooses the pseudo-labels for all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from koilo.datasets.crop_store import CropStore, open_crop_store
from koilo.encoders.starting import start_files
from koilo.files import ensure_folder, write_json, write_text
from koilo.progress import log
from koilo.train.loop import FitResult, fit
from koilo.train.losses.crest import choose_pseudo_labels, sampling_rates
from koilo.train.processes import from_first
from koilo.train.recipes.semi import SemiConfig, SemiRecipe
from koilo.train.stored_cells import KnownCells, labelled_cells, store_files, write_cell_model
from koilo.train.swift_model import read_cells


def train_semi(config: SemiConfig) -> None:
    """Train a cell classifier on labelled and unlabelled cells and say what it measures.

    Raises:
        ManifestError: there is no whole crop store.
        ConfigError: the encoder is unknown.
        TrainingError: labels or bags are missing, the start does not fit, or training stops.
        OutputError: ``config.out`` cannot be written.
    """
    store = open_crop_store(config.store)
    if config.method == "crest":
        recipe, result = _train_generations(config, store)
        summary = {"metrics": result.metrics, "steps": config.generations * result.steps}
        write_json(config.out / "metrics.json", summary)
    else:
        recipe = SemiRecipe(config, store)
        result = _fit(recipe, config, config.out)
    sizes = {"encoder": config.encoder, "encoder_config": dict(config.encoder_config)}
    weights = write_cell_model(config.out, recipe.cell_net, store, config.classes, sizes)
    for name, value in result.metrics.items():
        log.info("%s: %.4f", name, value)
    log.info("The cell network is in %s.", weights)


def _train_generations(config: SemiConfig, store: CropStore) -> tuple[SemiRecipe, FitResult]:
    """One network a generation, each on what the one before it labelled as well."""
    steps = config.loop.steps // config.generations
    counts = np.bincount(
        labelled_cells(store, config.classes).labels, minlength=len(config.classes)
    )
    rates = sampling_rates(counts, config.rate_power)
    pseudo: KnownCells | None = None
    for generation in range(config.generations):
        out = ensure_folder(config.out / f"generation_{generation}")
        files = [_write_pseudo_labels(out, pseudo, config.classes)]
        inner = replace(config, out=out, loop=replace(config.loop, steps=steps))
        recipe = SemiRecipe(inner, store, generation=generation, pseudo=pseudo)
        result = _fit(recipe, inner, out, generation=generation, files=files)
        if generation < config.generations - 1:
            pseudo = from_first(partial(_label_bags, recipe, rates))
            log.info("Generation %d labelled %d cells.", generation, len(pseudo))
    return recipe, result


@dataclass(frozen=True)
class _GenerationSettings:
    """What a run of one generation is known by."""

    config: SemiConfig
    generation: int


def _fit(
    recipe: SemiRecipe,
    config: SemiConfig,
    out: Path,
    *,
    generation: int = 0,
    files: list[Path] | None = None,
) -> FitResult:
    data = [*store_files(recipe.store), *(files or [])]
    if config.start is not None:
        data += start_files(config.start)
    # A teacher is an average already; the average of it would lag twice.
    loop = replace(config.loop, ema=0.0) if config.method == "mean_teacher" else config.loop
    return fit(recipe, loop, out, settings=_GenerationSettings(config, generation), data=data)


def _label_bags(recipe: SemiRecipe, rates: NDArray[np.float64]) -> KnownCells:
    """The pseudo-labels that a trained generation hands on."""
    _, p = read_cells(recipe.cell_net, recipe.store, recipe.rows)
    places, labels = choose_pseudo_labels(p, rates)
    return KnownCells(recipe.rows[places], labels)


def _write_pseudo_labels(out: Path, pseudo: KnownCells | None, classes: tuple[str, ...]) -> Path:
    """``pseudo_labels.csv``: what a generation was given beside the store, by the store's row."""
    cells = zip(pseudo.rows, pseudo.labels, strict=True) if pseudo else ()
    lines = ["row,label", *(f"{row},{classes[label]}" for row, label in cells)]
    path = out / "pseudo_labels.csv"
    write_text(path, "\n".join(lines) + "\n")
    return path
