"""Model size by magnification: the own detector in two sizes at 10x and 20x, one fold of CRIC.

    python runs/detector_sizes.py --data DATA/cric --work WORK [--start START] [--smoke]

Each of the four learns for the same number of steps from tiles of the same ground, phantoms mixed
in as in runs/cric_detector.py, whose code trains it; WORK keeps what is finished. Judged are the
fold's fields (nuclei marked by points) and phantom fields of an unseen seed, where boxes are exact
and COCO's mAP means something. ``--smoke`` takes a few fields and steps, claims nothing
and leaves its page in WORK.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from cric_detector import (
    CONFIG,
    HELD_OUT_SEED,
    LOOP,
    MODEL,
    PHANTOM_SEED,
    SETTINGS,
    draw_scene,
    load_phantom_scenes,
    start_model,
    to_scene,
)
from cric_detector_report import DATA, interval
from koilo.datasets.cric import BOX_UM, N_FOLDS, CricField, read_cric
from koilo.detect import Detector, Scene, build_detector
from koilo.evaluate.detection import (
    FieldFinds,
    coco_map,
    judge_field,
    random_finds,
    score_detection,
    score_judged,
)
from koilo.files import write_json
from koilo.train import fit
from koilo.train.recipes.detector import DetectorRecipe, DetectorSettings, find_in_scene
from koilo.train.record import git_commit
from stride_page import page_path

SIZES = {"small": {"n_stages": 2, "width": 24}, "shipped": CONFIG}
"""The small one has half the width and one stage of the trunk less, which holds most weights."""
MAGNIFICATIONS = {"10x": 1.0, "20x": 0.5}
"""Name -> pixel size in µm."""
SMOKE_STEPS, SMOKE_FIELDS, SMOKE_PHANTOMS = 3, 4, 2
Judged = tuple[str, str, list[FieldFinds], list[FieldFinds], dict[str, float]]


@dataclass(frozen=True)
class Material:
    """Scenes to learn from and to be judged on."""

    learnt: Sequence[Scene]
    phantoms: Sequence[Scene]
    fields: Sequence[CricField]
    """held out"""
    new_phantoms: Sequence[Scene]
    """of a seed that no training saw"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="CRIC, in either layout")
    parser.add_argument("--work", type=Path, required=True, help="folder outside the repository")
    parser.add_argument("--start", type=Path, help="nanodet_g.safetensors; none = random weights")
    parser.add_argument("--fold", type=int, choices=range(N_FOLDS), default=0)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="a few fields and steps")
    parser.add_argument("--page", type=Path, help="default: docs/results/detector_sizes.json")
    args = parser.parse_args()
    args.page = page_path(args.page, "detector_sizes", args.work, smoke=args.smoke)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if args.smoke:
        args.steps = SMOKE_STEPS
    started = time.time()
    material = gather(args)
    judged = [measure(args, material, size, name) for size in SIZES for name in MAGNIFICATIONS]
    write_json(args.page, page(args, judged, time.time() - started))


def gather(args: argparse.Namespace) -> Material:
    """The fields of the other folds, those of the fold, and phantoms of two seeds."""
    fields = read_cric(args.data)
    others = [each for each in fields if each.fold != args.fold]
    held_out = [each for each in fields if each.fold == args.fold]
    if not args.smoke:
        phantoms = [load_phantom_scenes(args.work, s) for s in (PHANTOM_SEED, HELD_OUT_SEED)]
        return Material([to_scene(each) for each in others], phantoms[0], held_out, phantoms[1])
    drawn = [
        [draw_scene(seed, index, index) for index in range(SMOKE_PHANTOMS)]
        for seed in (PHANTOM_SEED, HELD_OUT_SEED)
    ]
    return Material(
        [to_scene(each) for each in with_lesions(others)],
        drawn[0],
        with_lesions(held_out),
        drawn[1],
    )


def with_lesions(fields: Sequence[CricField]) -> list[CricField]:
    """The first few fields that hold a lesion cell."""
    found = [each for each in fields if any(cell.label != "NILM" for cell in each.cells)]
    return found[:SMOKE_FIELDS]


def measure(args: argparse.Namespace, material: Material, size: str, name: str) -> Judged:
    """Train one of the four, or take it from WORK, and let it find."""
    mpp = MAGNIFICATIONS[name]
    settings = settings_at(mpp)
    torch.manual_seed(args.seed)
    model = build_detector(MODEL, config_at(size, mpp))
    # By fold: what a fold's detector learnt from is what another's is judged on.
    folder = args.work / f"{size}-{name}-{args.steps}-fold{args.fold}-seed{args.seed}"
    if (folder / "metrics.json").exists():
        model.load_state_dict(load_file(folder / "model.safetensors"))
    else:
        recipe = DetectorRecipe(model, material.learnt, settings, second=material.phantoms,
                                seed=args.seed)  # fmt: skip
        if args.start:
            start_model(recipe, args.start)
        fit(recipe, dataclasses.replace(LOOP, steps=args.steps, seed=args.seed), folder,
            settings=settings)  # fmt: skip
    seconds = float(json.loads((folder / "metrics.json").read_text())["seconds"])
    detector = Detector(model, mpp=mpp)
    fields = [find_in_scene(detector, to_scene(each), block=each.block or 0)
              for each in material.fields]  # fmt: skip
    phantoms = [find_in_scene(detector, scene) for scene in material.new_phantoms]
    facts = {"thousand weights": count_weights(model) / 1000, "training s": seconds}
    print(size, name, score_detection(fields), facts)
    return size, name, fields, phantoms, facts


def settings_at(mpp: float) -> DetectorSettings:
    """Tiles of the same ground at another pixel size."""
    tile_px = round(SETTINGS.tile_px * SETTINGS.mpp / mpp)
    return dataclasses.replace(SETTINGS, mpp=mpp, tile_px=tile_px)


def config_at(size: str, mpp: float) -> dict[str, Any]:
    """The model's settings; its reference box is as wide on the glass at every pixel size."""
    return {**SIZES[size], "box_px": BOX_UM / mpp}


def count_weights(model: nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())


def page(args: argparse.Namespace, judged: Sequence[Judged], seconds: float) -> dict[str, Any]:
    measured = ("CRIC: centre_ap", "CRIC: recall@100", "CRIC: mAP50-95", "phantoms: centre_ap",
                "phantoms: mAP50-95")  # fmt: skip
    columns = ["size", "magnification", "thousand weights", "training s", *measured]
    rows: list[list[Any]] = []
    for size, name, fields, phantoms, facts in judged:
        each = [judge_field(field) for field in fields]
        blocks = [field.block for field in fields]
        rows.append(
            [size, name, *(round(value) for value in facts.values()),
             interval(each, blocks, "centre_ap"), interval(each, blocks, "recall@100"),
             *(round(v, 4) for v in (coco_map(fields)["map50_95"],
                                     score_detection(phantoms)["centre_ap"],
                                     coco_map(phantoms)["map50_95"]))]
        )  # fmt: skip
    return {
        "name": args.page.stem,
        "title": "Detector: two sizes at 10x and 20x, equal steps (S-14)",
        "command": f"python runs/detector_sizes.py --data DATA/cric --work WORK --start START "
        f"--fold {args.fold} --steps {args.steps}" + " --smoke" * args.smoke,
        "commit": git_commit(),
        "data": f"{DATA}; fold {args.fold} held out",
        "seed": args.seed,
        "seconds": round(seconds),
        "figures": {},
        "controls": controls(judged[0][2]),
        "tables": {"Size and magnification": {"columns": columns, "rows": rows}},
        "notes": [
            f"{args.steps} steps each (the shipped detector had 900), from tiles of the same "
            "ground: at 20x a step costs about four times as much. One training each, one fold.",
            "CRIC marks nuclei with points, and boxes are squares on them: mAP50-95 measures "
            "there how readers clicked, on phantoms how well places are found. Recall at a score "
            "of 0.001, the slide miss rate (1 - r)^n and the list of unlabelled finds (S-15) "
            "stand with the detector on CRIC.",
        ],
    }


def controls(fields: Sequence[FieldFinds]) -> dict[str, float]:
    """Boxes thrown at random on the same fields."""
    rng = np.random.default_rng(0)
    thrown = [random_finds(field, rng) for field in fields]
    figures = score_judged([judge_field(field) for field in thrown])
    return {
        "random boxes: centre_ap": round(figures["centre_ap"], 4),
        "random boxes: recall@100": round(figures["recall@100"], 4),
        "random boxes: mAP50-95": round(coco_map(thrown)["map50_95"], 4),
    }


if __name__ == "__main__":
    main()
