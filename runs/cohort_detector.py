r"""Fit the cohort's detector model to a real detector on fully drawn slides.

    python runs/cohort_detector.py --work WORK [--model cytology] [--slides 24] [--size-px 4000]

Trains the bundle's detector further on slides of the two labelled centres, as a laboratory would
train it on its own labels: few mimics, a fifth of the lesions overlooked. Then draws slides of the
cohort's cells in the eight training centres, reads them with ``koilo screen``, and fits score and
misses of each kind. Leaves ``detector.json`` in the package and prints how the model's scores and
top-K recall agree with the detector's: each half of the slides is compared with the model that was
fitted on the other half.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from koilo.bundle import load_bundle, write_bundle
from koilo.detect import build_detector
from koilo.detect.augment import Scene as TrainingScene
from koilo.evaluate.detection import centre_distances
from koilo.files import ensure_folder
from koilo.manifest import SlideEntry, write_manifest
from koilo.phantom.arrangement import group_size, seats
from koilo.phantom.canvas import Placement
from koilo.phantom.multicentre import scores
from koilo.phantom.multicentre.bank import CellBank, bank_jobs, bank_of, draw_job
from koilo.phantom.multicentre.cells import SlideCells
from koilo.phantom.multicentre.centres import draw_centres
from koilo.phantom.multicentre.config import LABELLED_CENTRES, TRAINING_CENTRES, CohortConfig
from koilo.phantom.multicentre.crops import CropPainter, CropSize
from koilo.phantom.multicentre.kinds import COHORT_KINDS, LESIONS, MIMICS, NAMES, NORMAL
from koilo.phantom.scene import Scene, deposit_spot
from koilo.phantom.slide import SlideSize, place_deposit, write_scene
from koilo.progress import log, start_logging
from koilo.results import read_slide_result
from koilo.screen.run import ScreenConfig, screen
from koilo.slides import open_slide
from koilo.train import LoopConfig
from koilo.train.loop import fit as fit_recipe
from koilo.train.recipes.detector import DetectorRecipe, DetectorSettings
from koilo.train.record import git_commit

RESULT = Path(scores.__file__).parent / "detector.json"
ROLE_SHARES = {"normal": 0.5, "mimic": 0.35, "lesion": 0.15}
"""Of the slides that are read: mimics and lesions far more often than on any slide."""
LABELLED_SHARES = {"normal": 0.83, "mimic": 0.02, "lesion": 0.15}
"""Of the slides that the detector is trained on."""
SCENE_MPP, BOX_UM = 0.5, 20.5
BANK_CELLS = 420
HIT_UM = 7.0
RIDGE = 4.0
TOP = (8, 16, 32, 64)


@dataclass(frozen=True)
class Scored:
    """Cells of all slides with what the detector gave them: NaN where it has no box."""

    slide: NDArray[np.int64]
    kind: NDArray[np.int64]
    features: NDArray[np.float64]
    score: NDArray[np.float64]

    def of(self, slides: Sequence[int]) -> Scored:
        """Only the cells of these slides."""
        rows = np.isin(self.slide, slides)
        return Scored(self.slide[rows], self.kind[rows], self.features[rows], self.score[rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for slides and readings")
    parser.add_argument("--model", default="cytology", help="a bundle's name or folder")
    parser.add_argument("--slides", type=int, default=24)
    parser.add_argument("--size-px", type=int, default=4000)
    parser.add_argument("--training-slides", type=int, default=8)
    parser.add_argument("--steps", type=int, default=300, help="of the detector's training")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start_logging()
    bundle = train_detector(options)
    entries = draw_slides(
        options.work, options.slides, options.size_px, options.seed, TRAINING_CENTRES, ROLE_SHARES
    )
    results = options.work / "results"
    screen(ScreenConfig((options.work / "manifest.csv",), results, str(bundle)))
    scored, clutter = read_scores(options.work, results, entries)
    page = fit(scored, np.arange(options.slides) % TRAINING_CENTRES)
    agreement = compare(scored, options.slides)
    page["made"] = {
        "command": f"python runs/cohort_detector.py --work WORK --model {options.model} "
        f"--slides {options.slides} --size-px {options.size_px} --seed {options.seed} "
        f"--training-slides {options.training_slides} --steps {options.steps}",
        "commit": git_commit(),
        "cells": len(scored.kind),
        "slides": options.slides,
        "share_of_top_64_beside_cells": clutter,
        "agreement": agreement,
    }
    RESULT.write_text(json.dumps(page, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(page["made"], indent=1))


def train_detector(options: argparse.Namespace) -> Path:
    """The bundle's detector after training on slides of the labelled centres, as a bundle."""
    folder: Path = options.work / "bundle"
    if (folder / "bundle.json").exists():
        return folder
    work, seed = options.work / "training", options.seed + 1
    n_slides, size_px = options.training_slides, options.size_px
    entries = draw_slides(work, n_slides, size_px, seed, LABELLED_CENTRES, LABELLED_SHARES)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0xDE7]))
    scenes = [labelled_scene(rng, entry) for entry in entries]
    source = load_bundle(options.model)
    stage = source.stage("detector")
    net = build_detector(stage["model"], stage["config"])
    net.load_state_dict({n: torch.from_numpy(v) for n, v in source.tensors("detector").items()})
    settings = DetectorSettings(tile_px=160, batch=8)
    loop = LoopConfig(steps=options.steps, lr=3e-4, ema=0.98, clip=5.0, seed=seed, threads=1)
    fit_recipe(
        DetectorRecipe(net, scenes, settings, seed=seed), loop, work / "run", settings=settings
    )
    own = {name: value.numpy() for name, value in net.state_dict().items()}
    tensors = {stage: source.tensors(stage) for stage in source.spec["stages"]}
    spec = {key: value for key, value in source.spec.items() if key not in ("format", "sha256")}
    write_bundle(folder, spec | {"name": "cohort"}, tensors | {"detector": own}, source.card)
    return folder


def labelled_scene(rng: np.random.Generator, entry: SlideEntry) -> TrainingScene:
    """A drawn slide with a box on each cell; a fifth of the lesions passes for normal cells."""
    found = np.load(entry.path.with_suffix(".npz"))
    with open_slide(entry.path) as slide:
        side_px = round(slide.dimensions[0] * float(entry.mpp or 0) / SCENE_MPP)
        rgb = slide.read_at_mpp((0, 0), SCENE_MPP, (side_px, side_px))
    side = BOX_UM / SCENE_MPP
    corners = found["point_um"] / SCENE_MPP - side / 2
    boxes = np.hstack([corners, np.full_like(corners, side)]).astype(np.float32)
    role = np.array([COHORT_KINDS[name].role for name in NAMES])[found["kind"]]
    seen = rng.random(len(role)) >= CohortConfig().overlooked
    return TrainingScene(rgb, SCENE_MPP, boxes, (role == "lesion") & seen, name=entry.slide_id)


def draw_slides(
    work: Path,
    n_slides: int,
    size_px: int,
    seed: int,
    n_centres: int,
    shares: Mapping[str, float],
) -> list[SlideEntry]:
    """Draw the slides that are not there yet, each with its cells' truth beside it."""
    bank = None
    centres = draw_centres(replace(CohortConfig(), seed=seed), centre_spread=0.0)
    entries = []
    for index in range(n_slides):
        centre = centres[index % n_centres].centre
        path = work / "slides" / f"slide-{index + 1:02d}.tiff"
        if not path.exists():
            bank = bank or bank_of(map(draw_job, bank_jobs((seed, 9), BANK_CELLS, fine=True)))
            log.info("Drawing slide %d of %d", index + 1, n_slides)
            rng = np.random.default_rng(np.random.SeedSequence([seed, 0xDE, index]))
            deposit = place_deposit(rng, SlideSize(size_px), centre.mpp)
            side_um = size_px * centre.mpp
            n_cells = round(centre.cells_per_mm2 * (side_um / 1000) ** 2)
            cells = some_cells(rng, bank, n_cells, shares)
            spot = deposit_spot(rng, deposit, (side_um, side_um))
            placed, found = lay_out(rng, bank, cells, spot)
            film = (int(rng.integers(1 << 19)), int(rng.integers(1 << 19)))
            scene = Scene(centre, (size_px, size_px), deposit, placed, film)
            ensure_folder(path.parent)
            np.savez(path.with_suffix(".npz"), **found)
            write_scene(path, scene, {"synthetic": "phantom", "seed": seed, "slide": index})
        entries.append(SlideEntry(slide_id=path.stem, path=path, mpp=centre.mpp))
    write_manifest(work / "manifest.csv", entries)
    return entries


def some_cells(
    rng: np.random.Generator, bank: CellBank, n_cells: int, shares: Mapping[str, float]
) -> SlideCells:
    """Cells of all kinds, normal, mimic and lesion in these ``shares``."""
    rates = np.zeros(len(NAMES))
    for role, names in (("normal", NORMAL), ("mimic", MIMICS), ("lesion", LESIONS)):
        weights = np.array([COHORT_KINDS[name].weight if name in names else 0.0 for name in NAMES])
        rates += shares[role] * weights / weights.sum()
    kinds = np.sort(rng.choice(len(NAMES), n_cells, p=rates))
    rows = np.array([rng.choice(bank.rows_of[kind]) for kind in kinds])
    blur = np.where(rng.random(n_cells) < 0.1, rng.uniform(0.4, 1.3, n_cells), 0.0)
    always = np.array([not COHORT_KINDS[NAMES[kind]].focus for kind in kinds])
    blur[always] = rng.uniform(1.4, 2.2, int(always.sum()))
    scale = np.exp(rng.normal(0, 0.04, n_cells))
    return SlideCells(rows, scale, np.exp(rng.normal(0, 0.06, n_cells)), blur, np.zeros(n_cells))


def lay_out(
    rng: np.random.Generator, bank: CellBank, cells: SlideCells, spot: Any
) -> tuple[list[Placement], dict[str, NDArray[Any]]]:
    """Place cells, those of a kind in the kind's groups; gives where each cell's nuclei lie."""
    painter = CropPainter(bank, CropSize(64, 0.75))
    kinds = bank.kind[cells.row]
    placed: list[Placement] = []
    points = np.zeros((len(kinds), 2))
    entry = 0
    while entry < len(kinds):
        kind = COHORT_KINDS[NAMES[kinds[entry]]].kind
        n = min(group_size(rng, kind.group, 0.2), int((kinds[entry:] == kinds[entry]).sum()))
        x, y = spot(rng)
        lesion = kind.label != "NILM"
        for seat in seats(rng, kind.group, n, kind.cell_um.median, disordered=lesion):
            cell = painter.placed_cell(rng, cells, entry)
            cell = replace(cell, x_um=x + seat.dx_um, y_um=y + seat.dy_um, angle=seat.angle)
            middle = np.mean([outline.mean(0) for outline in cell.sprite.nuclei], axis=0)
            points[entry] = cell.outline_um(middle[None].astype(np.float32))[0]
            placed += [cell, *painter.laid_over(rng, int(kinds[entry]), cell)]
            entry += 1
    for name, often in (("neutrophil", 0.8), ("debris", 0.35)):
        for _ in range(rng.poisson(often * len(kinds))):
            placed += painter.placed_bystander(rng, name, spot(rng))
    measured = {name: values[cells.row] for name, values in bank.measured.items()}
    features = scores.features_of(measured, cells.scale, cells.gain, cells.defocus_um)
    return placed, {"kind": kinds, "features": features, "point_um": points}


def read_scores(work: Path, results: Path, entries: Sequence[SlideEntry]) -> tuple[Scored, float]:
    """Each cell with the best score of a box on it; the share of top boxes that lie on no cell."""
    parts, beside = [], []
    for index, entry in enumerate(entries):
        found = np.load(work / "slides" / f"{entry.slide_id}.npz")
        reading = read_slide_result(results / entry.slide_id)
        boxes = np.array([[c.x_px0, c.y_px0, c.w_px0, c.h_px0] for c in reading.cells])
        given = np.array([cell.detector_score for cell in reading.cells])
        points = np.column_stack([found["point_um"] / entry.mpp, np.zeros((len(found["kind"]), 2))])
        away = centre_distances(boxes.reshape(-1, 4), points) * float(entry.mpp or 0)
        nearest = away.argmin(axis=1)
        hit = away[np.arange(len(boxes)), nearest] <= HIT_UM
        score = np.full(len(points), np.nan)
        for box in np.flatnonzero(hit)[::-1]:  # best last: it overwrites
            score[nearest[box]] = given[box]
        beside.append(1 - hit[:64].mean())
        parts.append((np.full(len(points), index), found["kind"], found["features"], score))
    return Scored(*(np.concatenate(column) for column in zip(*parts, strict=True))), float(
        np.mean(beside)
    )


def fit(scored: Scored, centre_of: NDArray[np.int64]) -> dict[str, Any]:
    """Ridge regression of the logit on kind, attributes and centre; misses by kind, shrunk."""
    seen = ~np.isnan(scored.score)
    logit = np.log(scored.score[seen] / (1 - scored.score[seen]).clip(1e-6))
    middle = scored.features[seen].mean(0)
    kinds = np.eye(len(NAMES))[scored.kind[seen]]
    centres = np.eye(TRAINING_CENTRES)[centre_of[scored.slide[seen]]]
    design = np.hstack([np.ones((len(logit), 1)), kinds, scored.features[seen] - middle, centres])
    penalty = np.diag([0.0] + [RIDGE] * (design.shape[1] - 1))
    solved = np.linalg.solve(design.T @ design + penalty, design.T @ logit)
    level = solved[0] + solved[1 : 1 + len(NAMES)]
    weights = solved[1 + len(NAMES) : -TRAINING_CENTRES]
    overall = 1 - seen.mean()
    missed = [
        ((~seen[scored.kind == k]).sum() + 5 * overall) / ((scored.kind == k).sum() + 5)
        for k in range(len(NAMES))
    ]
    return {
        "level": dict(zip(NAMES, np.round(level, 4).tolist(), strict=True)),
        "missed": dict(zip(NAMES, np.round(missed, 4).tolist(), strict=True)),
        "weights": dict(zip(scores.FEATURES, np.round(weights, 4).tolist(), strict=True)),
        "middle": dict(zip(scores.FEATURES, np.round(middle, 4).tolist(), strict=True)),
        "spread": {
            "noise": round(float((logit - design @ solved).std()), 4),
            "centre": round(float(solved[-TRAINING_CENTRES:].std()), 4),
        },
    }


def compare(scored: Scored, n_slides: int) -> dict[str, Any]:
    """Detector against model, each half of the slides by the model of the other half."""
    rng = np.random.default_rng(0)
    drawn = np.full(len(scored.score), np.nan)
    centre_of = np.arange(n_slides) % TRAINING_CENTRES
    halves = [[i for i in range(n_slides) if i // TRAINING_CENTRES % 2 == half] for half in (0, 1)]
    for mine, others in (halves, halves[::-1]):
        model = scores.model_from(fit(scored.of(others), centre_of))
        rows = np.isin(scored.slide, mine)
        drawn[rows] = model.draw(rng, scored.kind[rows], scored.features[rows])
    role = np.array([COHORT_KINDS[name].role for name in NAMES])[scored.kind]
    out: dict[str, Any] = {}
    for name in ROLE_SHARES:
        mine = role == name
        out[name] = {
            "found": [share(scored.score[mine]), share(drawn[mine])],
            "quartiles": [quartiles(scored.score[mine]), quartiles(drawn[mine])],
        }
    for k in TOP:
        out[f"recall of lesions in the top {k}"] = [
            round(top_recall(scored.slide, role == "lesion", values, k), 3)
            for values in (scored.score, drawn)
        ]
    return out


def share(score: NDArray[np.float64]) -> float:
    """Share of cells that have a box."""
    return round(float((~np.isnan(score)).mean()), 3)


def quartiles(score: NDArray[np.float64]) -> list[float]:
    """Quartiles of the scores of cells that have a box."""
    return np.round(np.nanquantile(score, (0.25, 0.5, 0.75)), 3).tolist()


def top_recall(
    slide: NDArray[np.int64], lesion: NDArray[np.bool_], score: NDArray[np.float64], k: int
) -> float:
    """Share of the lesion cells that are among their slide's ``k`` best cells."""
    kept = np.zeros(len(slide), bool)
    for index in np.unique(slide):
        rows = np.flatnonzero(slide == index)
        kept[rows[np.argsort(-np.nan_to_num(score[rows], nan=-1.0), kind="stable")[:k]]] = True
    return float((kept & lesion & ~np.isnan(score)).sum() / lesion.sum())


if __name__ == "__main__":
    main()
