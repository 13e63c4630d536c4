"""Train and measure the cell classifier on CRIC: three folds, then the shipped model on all fields.

    python runs/fetch_pretrained.py --out CACHE
    python runs/cric_cells.py fold --fold 0 --data DATA/cric --work WORK --start START
    python runs/cric_cells.py final --data DATA/cric --work WORK --start START
    python runs/cric_cells.py report --data DATA/cric --work WORK

START is CACHE/nanodet_g.safetensors. Fold models never saw the blocks they are judged on. Phantom
crops and background places are mixed in; AGC phantoms are not, since the model has no such class.
Everything is a function of --seed.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file

from koilo.cells.augment import Augmentation
from koilo.cells.crops import read_crops
from koilo.cells.model import PooledCellNet
from koilo.cells.predict import BACKGROUND, CellClassifier
from koilo.datasets.background import BackgroundPlaces, find_background
from koilo.datasets.cric import CLASSES, N_FOLDS, CricField, read_cric
from koilo.encoders.pretrained import calibrate_batchnorm
from koilo.phantom import draw_cells, draw_centre, training_bank
from koilo.slides import open_slide
from koilo.train import LoopConfig, fit
from koilo.train.recipes.supervised import CellSet, SupervisedRecipe, SupervisedSettings

MPP, INPUT_PX, PATCH_PX = 0.5, 96, 160
OUTPUTS = (*CLASSES, BACKGROUND)
HIGH = {"ASC-H", "HSIL", "SCC"}
SHARES = {"cric": 0.77, "background": 0.08, "phantom": 0.15}
MODEL = {"encoder": "nanodet", "encoder_config": {"n_stages": 3}, "n_maps": 2, "dropout": 0.2}
FROZEN = 1
SETTINGS = SupervisedSettings(
    augmentation=Augmentation(scale=(0.88, 1.15), strength=0.6, blur_px=0.9, noise=3.0, jpeg=55)
)
PHANTOM_TRAINING = (1, 3200, 16)
"""Seed, crops and centres."""
PHANTOM_TEST = (2, 480, 4)
PHANTOM_BANK = 900


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("fold", "final", "report"))
    parser.add_argument("--data", type=Path, required=True, help="CRIC, in either layout")
    parser.add_argument("--work", type=Path, required=True, help="folder outside the repository")
    parser.add_argument("--start", type=Path, help="nanodet_g.safetensors")
    parser.add_argument("--fold", type=int, choices=range(N_FOLDS))
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/results/cric_cells.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    if args.what == "report":
        from cric_cells_report import report

        report(args.work, args.out, args.data, MODEL)
        return
    fold = args.fold if args.what == "fold" else None
    train(args.data, args.work, args.start, fold, args.steps, args.seed)


def train(data: Path, work: Path, start: Path, fold: int | None, steps: int, seed: int) -> None:
    name = "final" if fold is None else f"fold{fold}"
    cells, background = cached(work / "cric.npz", lambda: read_patches(read_cric(data)))
    phantom = cached(work / "phantom.npz", lambda: draw_phantoms(*PHANTOM_TRAINING))[0]
    keep = {
        key: np.ones(len(each["label"]), bool)
        for key, each in (("cric", cells), ("background", background))
    }
    if fold is not None:
        keep = {"cric": cells["fold"] != fold, "background": background["fold"] != fold}
    sets = [
        cell_set(cells, keep["cric"], SHARES["cric"]),
        cell_set(background, keep["background"], SHARES["background"]),
        cell_set(phantom, np.ones(len(phantom["label"]), bool), SHARES["phantom"]),
    ]
    validation = None if fold is None else cell_set(cells, ~keep["cric"], 1.0)
    torch.manual_seed(seed)
    net = PooledCellNet(len(OUTPUTS), frozen=FROZEN, **MODEL)
    recipe = SupervisedRecipe(net, sets, SETTINGS, validation=validation, seed=seed)
    start_from(net, start, recipe)
    loop = LoopConfig(steps=steps, lr=1e-3, ema=0.99, clip=5.0, seed=seed, threads=1)
    started = time.time()
    result = fit(recipe, loop, work / name, settings=SETTINGS, data=[start])
    print(name, result.metrics, f"{time.time() - started:.0f} s", flush=True)
    if fold is not None:
        np.savez(
            work / f"oof{fold}.npz",
            **read_out(net, cells, ~keep["cric"], "cell"),
            **read_out(net, background, ~keep["background"], "background"),
        )


def start_from(net: PooledCellNet, start: Path, recipe: SupervisedRecipe) -> None:
    own = net.trunk.state_dict()
    net.trunk.load_state_dict({k: v for k, v in load_file(start).items() if k in own})
    # An epoch that training never reaches gives the crops that BatchNorm is calibrated on.
    calibrate_batchnorm(net.trunk, [recipe.batches(10**6)[index][0] for index in range(6)])


def read_out(
    net: PooledCellNet, cells: dict[str, np.ndarray], rows: np.ndarray, prefix: str
) -> dict[str, np.ndarray]:
    """Out-of-fold features, probabilities of all outputs (1 view), classes (1 and 8 views)."""
    margin = (PATCH_PX - INPUT_PX) // 2
    crops = np.ascontiguousarray(
        cells["patch"][rows][:, margin : margin + INPUT_PX, margin : margin + INPUT_PX]
    )
    plain = dict(mpp=MPP, input_px=INPUT_PX, device=torch.device("cpu"))
    fresh = PooledCellNet(len(OUTPUTS), **MODEL)
    fresh.load_state_dict(net.state_dict())
    raw = CellClassifier(fresh, outputs=OUTPUTS, classes=OUTPUTS, folds={}, **plain)
    features, p_outputs = raw.predict(crops)
    raw.views = 8
    p_views = raw.predict(crops)[1]
    return {
        f"{prefix}_row": np.flatnonzero(rows),
        f"{prefix}_features": features.astype(np.float16),
        f"{prefix}_p_outputs": p_outputs,
        f"{prefix}_p_outputs_8views": p_views,
        **{f"{prefix}_{key}": cells[key][rows] for key in cells if key != "patch"},
    }


def cached(path: Path, make: object) -> tuple[dict[str, np.ndarray], ...]:
    """What ``make`` gives, kept in an uncompressed npz beside the runs."""
    if not path.exists():
        parts = make()  # type: ignore[operator]
        flat = {f"{i}/{key}": value for i, part in enumerate(parts) for key, value in part.items()}
        np.savez(path, **flat)
    stored = np.load(path)
    n = 1 + max(int(key.split("/")[0]) for key in stored)
    return tuple(
        {key.split("/")[1]: stored[key] for key in stored if key.startswith(f"{i}/")}
        for i in range(n)
    )


def cell_set(cells: dict[str, np.ndarray], rows: np.ndarray, share: float) -> CellSet:
    return CellSet(cells["patch"][rows], cells["label"][rows].astype(np.int64), share)


def read_patches(fields: tuple[CricField, ...]) -> tuple[dict[str, np.ndarray], ...]:
    """Labelled cells and background places of every field, as patches with their origin."""
    rng = np.random.default_rng(0)
    cells: list[dict[str, np.ndarray]] = []
    background: list[dict[str, np.ndarray]] = []
    for each in fields:
        centres = np.array([(cell.x_px0 + 0.5, cell.y_px0 + 0.5) for cell in each.cells])
        labels = np.array([CLASSES.index(cell.label) for cell in each.cells])
        with open_slide(each.path, mpp=each.mpp) as slide:
            cells.append(_part(each, read_crops(slide, centres, MPP, PATCH_PX), labels, centres))
            size = np.floor(np.asarray(slide.dimensions) * each.mpp / MPP).astype(int)
            image = slide.read_at_mpp((0, 0), MPP, (int(size[0]), int(size[1])))
            high = HIGH & {cell.label for cell in each.cells}
            places = BackgroundPlaces(n_dark=0) if high else BackgroundPlaces()
            found = find_background(image, MPP, centres * each.mpp / MPP, rng, places)
            found_px0 = found * MPP / each.mpp
            outputs = np.full(len(found), OUTPUTS.index(BACKGROUND))
            patches = read_crops(slide, found_px0, MPP, PATCH_PX)
            background.append(_part(each, patches, outputs, found_px0))
    return tuple(
        {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        for parts in (cells, background)
    )


def _part(
    each: CricField, patches: np.ndarray, labels: np.ndarray, centres_px0: np.ndarray
) -> dict[str, np.ndarray]:
    n = len(labels)
    return {
        "patch": patches,
        "label": labels,
        "field_id": np.full(n, each.field_id),
        "block": np.full(n, each.block),
        "fold": np.full(n, each.fold),
        "x_px0": centres_px0[:, 0] - 0.5,
        "y_px0": centres_px0[:, 1] - 0.5,
    }


def draw_phantoms(seed: int, n: int, n_centres: int) -> tuple[dict[str, np.ndarray], ...]:
    """Crops of six classes from several centres, NILM (mimics among it) three times as often."""
    rng = np.random.default_rng(seed)
    bank = training_bank(seed, PHANTOM_BANK)
    patches, labels = [], []
    for index in range(n_centres):
        crops, truths = draw_cells(
            rng,
            draw_centre(1000 + seed, index),
            [*CLASSES, "NILM", "NILM"],
            mpp=MPP,
            size_px=PATCH_PX,
            n=n // n_centres,
            bank=bank,
        )
        patches.append(crops)
        labels += [CLASSES.index(truth.label) for truth in truths]
    return ({"patch": np.concatenate(patches), "label": np.array(labels)},)


if __name__ == "__main__":
    main()
