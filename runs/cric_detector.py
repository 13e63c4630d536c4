"""Train and measure the detector on CRIC: three folds, D-FINE beside it, then the shipped one.

    python runs/fetch_pretrained.py --out CACHE
    python runs/cric_detector.py fold --fold 0 --data DATA/cric --work WORK --start START
    python runs/cric_detector.py final --data DATA/cric --work WORK --start START
    python runs/cric_detector.py compare --fold 0 --minutes 8 --data DATA/cric --work WORK
    python runs/cric_detector.py report --data DATA/cric --work WORK

START is CACHE/nanodet_g.safetensors; fold by fold 0, 1, 2. Fold models never saw the blocks they
are judged on. Phantom fields are mixed in, since the shipped detector must read phantom slides
too; ``--no-phantoms`` leaves them out, to see what they cost. ``compare`` starts both contenders
from random weights and gives both the same processor time, of which a quarter goes to phantoms.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from cric_detector_report import report, save_finds, write_comparison
from koilo.datasets.cric import BOX_UM, N_FOLDS, CricField, read_cric
from koilo.detect import Detector, Scene, build_detector
from koilo.encoders.pretrained import calibrate_batchnorm
from koilo.evaluate.detection import FieldFinds, score_detection
from koilo.phantom import draw_centre, draw_field, training_bank
from koilo.train import LoopConfig, fit
from koilo.train.recipes.detector import (
    DetectorRecipe,
    DetectorSettings,
    find_in_scene,
    start_trunk,
)

SCENE_MPP = 0.5
MODEL = "centre"
CONFIG = {"n_stages": 3, "width": 48}
SETTINGS = DetectorSettings(tile_px=160, batch=8, positive_share=0.6, second_share=0.15)
LOOP = LoopConfig(lr=1e-3, ema=0.99, clip=5.0, threads=1, device="cpu", checkpoint_every=300)
LESION_GROUND, NORMAL_GROUND = (0.5, 0.2), (1.0, 0.2)
"""Weights of unlabelled ground (positive channel, nucleus channel): a field with lesions may hold
unlabelled ones, a field without holds none; both hold nuclei that nobody marked."""
PHANTOM_SEED, PHANTOM_FIELDS, PHANTOM_CENTRES = 0, 32, 8
HELD_OUT_SEED, HELD_OUT_FIELDS, HELD_OUT_CENTRES = 991, 18, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("fold", "final", "compare", "report"))
    parser.add_argument("--data", type=Path, required=True, help="CRIC, in either layout")
    parser.add_argument("--work", type=Path, required=True, help="folder outside the repository")
    parser.add_argument("--start", type=Path, help="nanodet_g.safetensors; none = random weights")
    parser.add_argument("--fold", type=int, choices=range(N_FOLDS), default=0)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument(
        "--minutes", type=float, default=8.0, help="compare: processor time of each"
    )
    parser.add_argument("--no-phantoms", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--docs", type=Path, default=Path("docs/results"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    fields = read_cric(args.data)
    if args.what == "report":
        truth = [truth_of(each) for each in fields]
        phantoms = load_phantom_scenes(args.work, HELD_OUT_SEED)
        report(args.work, args.docs, fields, truth, phantoms)
    elif args.what == "compare":
        compare(args, fields)
    else:
        train(args, fields)


def train(args: argparse.Namespace, fields: Sequence[CricField]) -> None:
    """One model of the shipped kind; of a fold, also its finds on the blocks it never saw."""
    final = args.what == "final"
    name = "final" if final else f"fold{args.fold}" + ("-cric" if args.no_phantoms else "")
    scenes = [to_scene(each) for each in fields if final or each.fold != args.fold]
    phantoms = [] if args.no_phantoms else load_phantom_scenes(args.work, PHANTOM_SEED)
    torch.manual_seed(args.seed)
    model = build_detector(MODEL, CONFIG)
    recipe = DetectorRecipe(model, scenes, SETTINGS, second=phantoms, seed=args.seed)
    if args.start:
        start_model(recipe, args.start)
    loop = dataclasses.replace(LOOP, steps=args.steps, seed=args.seed)
    started = time.process_time()
    result = fit(recipe, loop, args.work / name, settings=SETTINGS)
    seconds = time.process_time() - started
    print(f"{name}: {result.steps} steps, {seconds:.0f} s of one core")
    if not final:
        held_out = [each for each in fields if each.fold == args.fold]
        finds = detect(Detector(model), held_out)
        save_finds(args.work / name / "finds.npz", held_out, finds)
        print(score_detection(finds))


def start_model(recipe: DetectorRecipe, start: Path) -> None:
    """Give a recipe's model pretrained weights in its trunk, and BatchNorm the tiles' values."""
    start_trunk(recipe.model, load_file(start))
    calibration = (recipe.batches(10**6)[index][0] for index in range(30))
    calibrate_batchnorm(recipe.model.get_submodule("trunk"), calibration)


def compare(args: argparse.Namespace, fields: Sequence[CricField]) -> None:
    """Both contenders from random weights: equal data, tiles, processor time and measures."""
    scenes = [to_scene(each) for each in fields if each.fold != args.fold]
    phantoms = load_phantom_scenes(args.work, PHANTOM_SEED)
    held_out = [each for each in fields if each.fold == args.fold]
    # D-FINE's 300 queries need 256 px; batches are as large as each learns best from in this time.
    settings = dataclasses.replace(SETTINGS, tile_px=256, batch=4, second_share=0.0)
    results = {}
    for name, config, lr in ((MODEL, CONFIG, 1e-3), ("dfine", {}, 4e-4)):
        torch.manual_seed(args.seed)
        model = build_detector(name, config)
        weights = args.work / f"compare-{name}-cric" / "model.safetensors"
        if not weights.exists():
            loop = dataclasses.replace(LOOP, lr=lr, clip=1.0, seed=args.seed)
            train_contender(model, name, loop, settings, (phantoms, scenes), args)
        model.load_state_dict(load_file(weights))
        steps = json.loads((weights.parent / "metrics.json").read_text())["steps"]
        results[name] = (detect(Detector(model), held_out), steps, tile_seconds(model))
    write_comparison(args.docs / "detector_comparison.json", results, args)


def train_contender(
    model: nn.Module,
    name: str,
    loop: LoopConfig,
    settings: DetectorSettings,
    scenes: tuple[Sequence[Scene], Sequence[Scene]],
    args: argparse.Namespace,
) -> None:
    """Phantoms for a quarter of the processor time, then CRIC, from the model's random weights."""
    cost = seconds_a_step(DetectorRecipe(model, scenes[0], settings))
    for stage, share, some in zip(("phantom", "cric"), (0.25, 0.75), scenes, strict=True):
        stage_loop = dataclasses.replace(loop, steps=max(int(args.minutes * 60 * share / cost), 10))
        started = time.process_time()
        recipe = DetectorRecipe(model, some, settings)
        fit(recipe, stage_loop, args.work / f"compare-{name}-{stage}", settings=settings)
        seconds = time.process_time() - started
        print(f"{name} on {stage}: {stage_loop.steps} steps, {seconds:.0f} s of one core")


def detect(detector: Detector, fields: Sequence[CricField]) -> list[FieldFinds]:
    """Each field read at 1.0 µm/px and searched as a whole; all in the detector's pixels."""
    return [find_in_scene(detector, to_scene(each), block=each.block or 0) for each in fields]


def truth_of(field: CricField) -> FieldFinds:
    """The field's truth at 1.0 µm/px, without finds."""
    scene = to_scene(field)
    factor = np.float32(SCENE_MPP / 1.0)
    size = (round(scene.rgb.shape[1] * factor), round(scene.rgb.shape[0] * factor))
    boxes, positive = scene.boxes_px * factor, scene.positive
    nothing = np.zeros((0, 4), np.float32)
    return FieldFinds(
        nothing,
        np.zeros(0, np.float32),
        boxes[positive],
        boxes[~positive],
        1.0,
        size,
        scene.name,
        field.block or 0,
    )


def to_scene(field: CricField) -> Scene:
    """A field at `SCENE_MPP` with a box around each labelled nucleus."""
    rgb = cv2.cvtColor(cv2.imread(str(field.path)), cv2.COLOR_BGR2RGB)
    factor = field.mpp / SCENE_MPP
    size = (round(rgb.shape[1] * factor), round(rgb.shape[0] * factor))
    points = np.array([[cell.x_px0, cell.y_px0] for cell in field.cells])
    points *= np.array(size) / rgb.shape[1::-1]
    positive = np.array([cell.label != "NILM" for cell in field.cells])
    return Scene(
        np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8),
        SCENE_MPP,
        boxes_on(points),
        positive,
        LESION_GROUND if positive.any() else NORMAL_GROUND,
        str(field.field_id),
    )


def boxes_on(points_px: NDArray[np.float64]) -> NDArray[np.float32]:
    """Squares of 20.5 µm on points (N, 2) of a scene."""
    side = BOX_UM / SCENE_MPP
    points = points_px.reshape(-1, 2)
    return np.concatenate([points - side / 2, np.full_like(points, side)], 1).astype(np.float32)


def load_phantom_scenes(work: Path, seed: int) -> list[Scene]:
    """Phantom fields of a seed, kept in ``work``; each nucleus is a point, as in CRIC."""
    held_out = seed == HELD_OUT_SEED
    n_fields = HELD_OUT_FIELDS if held_out else PHANTOM_FIELDS
    n_centres = HELD_OUT_CENTRES if held_out else PHANTOM_CENTRES
    path = work / f"phantoms-{seed}.npz"
    if not path.exists():
        work.mkdir(parents=True, exist_ok=True)
        drawn = [draw_scene(seed, index, index % n_centres) for index in range(n_fields)]
        arrays = {}
        for index, scene in enumerate(drawn):
            arrays |= {f"rgb{index}": scene.rgb, f"boxes{index}": scene.boxes_px}
            arrays[f"positive{index}"] = scene.positive
        np.savez_compressed(path, **arrays)
    stored = np.load(path)
    return [
        Scene(
            stored[f"rgb{index}"],
            SCENE_MPP,
            stored[f"boxes{index}"],
            stored[f"positive{index}"],
            name=f"phantom-{seed}-{index}",
        )
        for index in range(n_fields)
    ]


def draw_scene(seed: int, index: int, centre: int) -> Scene:
    rng = np.random.default_rng([seed, index])
    size_px = 768
    rgb, truths = draw_field(
        rng, draw_centre(seed, centre), size_px, SCENE_MPP, bank=training_bank(seed)
    )
    nuclei = [(outline, truth.label) for truth in truths for outline in truth.nuclei_px]
    points = np.array([(outline.min(0) + outline.max(0)) / 2 for outline, _ in nuclei])
    points = points.reshape(-1, 2)
    positive = np.array([label != "NILM" for _, label in nuclei], bool)
    inside = ((points >= 0) & (points < size_px)).all(axis=1)
    return Scene(rgb, SCENE_MPP, boxes_on(points[inside]), positive[inside])


def seconds_a_step(recipe: DetectorRecipe) -> float:
    """Processor time of a training step, batch included: the least of three."""
    recipe.model.train()
    times = []
    for index in range(3):
        started = time.process_time()
        images, truths = recipe.batches(0)[index]
        losses = recipe.model.losses(images, truths)
        torch.stack(list(losses.values())).sum().backward()
        times.append(time.process_time() - started)
    recipe.model.zero_grad(set_to_none=True)
    return min(times)


def tile_seconds(model: nn.Module) -> float:
    """Processor time of one 512 px tile through `Detector`: the least of five."""
    detector = Detector(model)
    tile = np.random.default_rng(0).integers(0, 255, (1, 512, 512, 3), dtype=np.uint8)
    times = []
    for _ in range(5):
        started = time.process_time()
        detector.predict(tile)
        times.append(time.process_time() - started)
    return min(times)


if __name__ == "__main__":
    main()
