"""Where the time of one SWIFT step goes at the CPU twin's sizes: to the model, or to loading.

    python benchmarks/swift_step.py [--steps 12] [--threads 1] [--store COHORT] [--encoder NAME]

Without --store crops are random numbers on disk: what a step costs does not depend on the picture.
Shares of one run are held, not seconds: they do not move with the machine's load.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from koilo.datasets.crop_store import (
    CropStore,
    CropStoreWriter,
    StoredCells,
    StoredSlide,
    open_crop_store,
)
from koilo.train import Progress, batch_rng
from koilo.train.joint import Classes, JointSampler
from koilo.train.recipes.swift import SwiftRecipe, SwiftSettings
from koilo.train.swift_model import build_swift_model
from record import leave

SIDE, CELLS = 64, 48
SETTINGS = SwiftSettings(n_cells=32, n_slides=4, top_k=CELLS, teacher_decay=0.99)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--encoder", default="nanodet_frozen_norm", help="that of runs/stride.sh")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    started = time.time()
    with tempfile.TemporaryDirectory() as folder:
        store = open_crop_store(options.store) if options.store else random_store(Path(folder))
        seconds = time_steps(store, options.steps, options.encoder)
    total = sum(seconds.values())
    model = sum(seconds[name] for name in ("forward", "backward", "optimizer"))
    figures = {f"share of {name}": value / total for name, value in seconds.items()}
    figures["share of the model (bar 0.85)"] = model / total
    figures["seconds a step"] = total / options.steps
    for name, value in figures.items():
        print(f"{name}: {value:.3f}")
    leave(
        "swift_step",
        title="Where a SWIFT step's time goes, CPU twin",
        command=f"python benchmarks/swift_step.py --steps {options.steps} "
        f"--threads {options.threads} --encoder {options.encoder}",
        data="phantom cohort" if options.store else "random crops of 64 px on disk",
        seconds=time.time() - started,
        figures={name: round(value, 4) for name, value in figures.items()},
        notes=[
            f"{SETTINGS.n_cells} labelled cells and {SETTINGS.n_slides} slides of {CELLS} crops a "
            f"step, {options.threads} thread(s). Views are made on the device within the step; "
            "loading is the crop store's. The teacher's forward counts as the model's."
        ],
    )


def time_steps(store: CropStore, n_steps: int, encoder: str) -> dict[str, float]:
    """Seconds by part over ``n_steps`` steps, after two that are not counted."""
    classes = Classes()
    torch.manual_seed(0)
    model = build_swift_model(classes, encoder=encoder)
    sampler = JointSampler(
        store, classes, n_cells=SETTINGS.n_cells, n_slides=SETTINGS.n_slides, top_k=CELLS
    )
    recipe = SwiftRecipe(model, sampler, SETTINGS)
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), 1e-4)
    seconds = dict.fromkeys(("loading", "views", "forward", "backward", "optimizer"), 0.0)
    model.train()
    for number in range(n_steps + 2):
        if number == 2:
            seconds = dict.fromkeys(seconds, 0.0)
        clock = time.perf_counter()
        batch = sampler.draw(batch_rng(0, 0, number))
        clock = _lap(seconds, "loading", clock)
        recipe._view(batch, batch.bags.float() / 255, torch.default_generator)
        views = time.perf_counter() - clock
        clock = time.perf_counter()
        losses = recipe.losses(batch, Progress(number, n_steps + 2, 0))
        forward = time.perf_counter() - clock
        seconds["views"] += views
        seconds["forward"] += forward - views  # losses() makes the same views once more
        clock = time.perf_counter()
        optimizer.zero_grad()
        torch.stack([loss for loss in losses.values() if loss.requires_grad]).sum().backward()
        clock = _lap(seconds, "backward", clock)
        optimizer.step()
        recipe.after_step(Progress(number + 1, n_steps + 2, 0))
        _lap(seconds, "optimizer", clock)
    return seconds


def _lap(seconds: dict[str, float], name: str, since: float) -> float:
    now = time.perf_counter()
    seconds[name] += now - since
    return now


def random_store(folder: Path, n_slides: int = 40) -> CropStore:
    """A store of the cohort's shape: slides of 64 crops, half of them positive."""
    rng = np.random.default_rng(0)
    n = n_slides * 64
    writer = CropStoreWriter(folder, n_crops=n, crop_px=SIDE, mpp=0.75)
    for start in range(0, n, 256):
        block = writer.crops[start : start + 256]
        block[:] = rng.integers(0, 256, block.shape, dtype=np.uint8)
    labels = ["LSIL" if number % 2 else "NILM" for number in range(n_slides)]
    slides = [StoredSlide(f"s{i}", "C", "train", label) for i, label in enumerate(labels)]
    cells = StoredCells(
        np.repeat([slide.slide_id for slide in slides], 64),
        np.tile(np.arange(64), n_slides),
        np.ones(n, np.float32),
        np.repeat(labels, 64),
        np.repeat(labels, 64),
    )
    return writer.finish(slides, cells, {"synthetic": True})


if __name__ == "__main__":
    main()
