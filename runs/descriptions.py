r"""Learn what is said of cells, measure it, and put it into a bundle.

    python runs/descriptions.py --data DATA/cric --folds CELLS --work WORK \
        --bundle src/koilo/bundles/cytology

CELLS holds fold0, fold1, fold2 with model.safetensors (`cric_cells.py`): what is said of CRIC's
cells is measured with cell models that never saw their block. Drawn cells, features and what each
fold says are kept in WORK under the hash of their cell model, so that a run that was stopped goes
on, and a bundle whose cell model was trained again needs only this command (some minutes of one
core). Without --bundle only docs/results is written.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.torch import load_file

from cric_cells import INPUT_PX, MPP, OUTPUTS, cached
from cric_cells import MODEL as CELL_MODEL
from cytology_bundle import write_card
from description_cells import CROPS_A_CENTRE, SETS, TEXTS, cric_cells, cric_targets, phantom_cells
from description_figures import (
    agreement_table,
    contradicted_share,
    controls,
    morphometry_table,
    paraphrase_figures,
    text_table,
)
from doubt import TITLE
from koilo.bundle import Bundle, add_stage, load_bundle
from koilo.cells import CellClassifier, load_classifier
from koilo.cells.predict import BACKGROUND, build_cell_net
from koilo.datasets.cric import CLASSES, N_FOLDS
from koilo.evaluate.descriptions import choose_one_threshold, choose_thresholds, text_macro_f1
from koilo.files import sha256_file, write_json
from koilo.language.predict import choose_query_threshold, load_descriptions
from koilo.taxonomy import may_be_said, outside_queries, read_vocabulary
from koilo.train import LoopConfig, fit
from koilo.train.recipes.alignment import (
    AlignmentRecipe,
    AlignmentSettings,
    DescribedCells,
    known_words,
    score_cells,
)
from koilo.train.record import git_commit

CRIC_SHARE = 0.3
"""Draws of CRIC's cells for each draw of a drawn one."""

VARIANTS = {
    "paper: no temperature, 1e-4": (AlignmentSettings(), LoopConfig(steps=1000, lr=1e-4)),
    "no temperature, 1e-3": (AlignmentSettings(), LoopConfig(steps=1000, lr=1e-3)),
    "learnt temperature, 1e-3": (
        AlignmentSettings(temperature=True), LoopConfig(steps=3000, lr=1e-3)
    ),
    "linear head, 1e-3": (AlignmentSettings(variant="head"), LoopConfig(steps=1000, lr=1e-3)),
}  # fmt: skip
SHIPPED = "learnt temperature, 1e-3"
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Trained:
    """A model with its thresholds, chosen on the validation cells."""

    model: torch.nn.Module
    one: float
    each: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="CRIC, in either layout")
    parser.add_argument("--folds", type=Path, required=True, help="folder of fold0, fold1, fold2")
    parser.add_argument("--work", type=Path, required=True, help="folder outside the repository")
    parser.add_argument("--bundle", type=Path, help="bundle that gets the part; default: none")
    parser.add_argument("--out", type=Path, default=Path("docs/results/descriptions.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    cells = {name: phantom_cells(args.work, name) for name in SETS}
    cells["cric"] = cric_cells(args.work, args.data)
    started = time.process_time()
    bundle = load_bundle(args.bundle or "cytology")
    page, trained = measure(bundle, cells, args)
    print(json.dumps(page["figures"], indent=1), flush=True)
    table, figures = on_cric(cells, args)
    page["tables"]["CRIC's held-out cells: texts against blind measures"] = table
    page["figures"] |= figures
    page["seconds"] = round(time.process_time() - started, 1)
    write_json(args.out, page)
    if args.bundle:
        stage = build_stage(trained, bundle.stage("cells")["classes"])
        tensors = {name: v.numpy() for name, v in trained.model.state_dict().items()}
        points = bundle.spec["operating_points"]
        card = write_card(points, args.out.parent)
        _, doubt, section = bundle.card.partition(TITLE)  # `doubt.py` writes the last section
        card = f"{card.rstrip()}\n\n{doubt}{section}" if doubt else card
        add_stage(args.bundle, "descriptions", stage, tensors, card)
        load_descriptions(load_bundle(args.bundle))


def build_stage(trained: Trained, classes: Sequence[str]) -> dict[str, Any]:
    """What bundle.json says; a text about a class that the cell model lacks is not said (AGC)."""
    settings = VARIANTS[SHIPPED][0]
    said = [i for i, o in enumerate(read_vocabulary()) if any(may_be_said(o, c) for c in classes)]
    texts = [TEXTS[i] for i in said]
    return {
        "encoder": settings.encoder,
        "words": list(known_words()),
        "config": {"width": settings.width},
        "temperature": settings.temperature,
        "texts": texts,
        "thresholds": [round(float(trained.each[i]), 5) for i in said],
        "one_threshold": round(trained.one, 5),
        "query_threshold": round(
            choose_query_threshold(trained.model, texts, outside_queries().set_with), 4
        ),
        "learnt_from": "phantom cells drawn by koilo; of CRIC only which texts its classes exclude",
        "commit": git_commit(),
        "script": "runs/descriptions.py",
    }


def measure(
    bundle: Bundle, cells: dict[str, Any], args: argparse.Namespace
) -> tuple[dict[str, Any], Trained]:
    """Train every variant with the shipped cell model; the page so far, and what ships."""
    classifier = load_classifier(bundle, CPU)
    seen = see(classifier, cells, args.work, bundle.spec["sha256"]["cells.safetensors"])
    features = {name: each[0] for name, each in seen.items()}
    said = {name: cells[name]["said"] for name in SETS}
    every = np.ones(len(cells["cric"]["label"]), bool)
    rows, trained = [], {}
    for name in VARIANTS:
        trained[name] = train(name, features, cells, every, args.work)
        scores = score_cells(trained[name].model, features["test"])
        figures = [text_macro_f1(scores > t, said["test"]) for t in _thresholds(trained[name])]
        rows.append([name, *figures])
        print(rows[-1], flush=True)
    shipped = trained[SHIPPED]
    called = score_cells(shipped.model, features["test"]) > shipped.each
    by_class, by_odds = controls(
        {name: each[1] for name, each in seen.items()}, classifier.classes, cells
    )
    page = head_of_page(len(cells["cric"]["label"]))
    page["figures"] = {
        "macro-F1 of 14 descriptions, drawn cells of unseen seeds and centres": text_macro_f1(
            called, said["test"]
        ),
        "the same, one threshold for all (the paper's)": dict((r[0], r[1]) for r in rows)[SHIPPED],
        **paraphrase_figures(
            shipped.model, shipped.each, features["test"], said["test"],
            choose_query_threshold(shipped.model, TEXTS, outside_queries().set_with),
        ),
    }  # fmt: skip
    page["controls"] = {
        "macro-F1, commonest texts of the predicted class": text_macro_f1(by_class, said["test"]),
        "macro-F1, texts by the class probabilities, a threshold each": text_macro_f1(
            by_odds, said["test"]
        ),
    }
    page["tables"] = {
        "variants: macro-F1 on drawn cells of unseen seeds and centres": {
            "columns": ["variant", "one threshold", "a threshold each"],
            "rows": rows,
        },
        "by description": text_table(called, by_class, by_odds, said["test"]),
        "morphometry of drawn cells against what was drawn": morphometry_table(cells["test"]),
    }
    return page, shipped


def on_cric(
    cells: dict[str, Any], args: argparse.Namespace
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is said of each CRIC cell by a fold that never saw its block, against its measures."""
    real = cells["cric"]
    said = np.zeros((len(real["label"]), len(TEXTS)), bool)
    scores = np.zeros(said.shape, np.float32)
    for fold in range(N_FOLDS):
        weights = args.folds / f"fold{fold}" / "model.safetensors"
        held_out = real["fold"] == fold
        told = cached(
            args.work / f"fold{fold}-{sha256_file(weights)[:12]}.npz",
            partial(say_of_fold, weights, cells, held_out, args.work),
        )[0]
        scores[held_out], said[held_out] = told["scores"], told["said"]
        print(f"fold {fold}: {said[held_out].mean(0).round(3).tolist()}", flush=True)
    table, figures = agreement_table(said, scores, real)
    return table, figures | contradicted_share(said, real)


def say_of_fold(
    weights: Path, cells: dict[str, Any], held_out: np.ndarray, work: Path
) -> tuple[dict[str, np.ndarray]]:
    """Cosines and texts of the CRIC cells held out, by a cell model that never saw their blocks."""
    names = ("train", "validation", "cric")
    parts = {name: cells[name] for name in names}
    seen = see(fold_classifier(weights), parts, work, sha256_file(weights))
    features = {name: each[0] for name, each in seen.items()}
    trained = train(SHIPPED, features, cells, ~held_out, work)
    scores = score_cells(trained.model, features["cric"][held_out])
    return ({"scores": scores, "said": scores > trained.each},)


def see(
    classifier: CellClassifier, cells: dict[str, Any], work: Path, sha256: str
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Features and class probabilities of each set's crops, computed once for a cell model."""
    seen = {}
    for name, part in cells.items():
        path = work / f"features-{sha256[:12]}-{name}.npz"
        stored = cached(path, partial(_predict, classifier, part["crop"]))[0]
        seen[name] = stored["features"], stored["p"]
    return seen


def _predict(classifier: CellClassifier, crops: np.ndarray) -> tuple[dict[str, np.ndarray]]:
    features, p = classifier.predict(crops)
    return ({"features": features, "p": p},)


def train(
    name: str, features: dict[str, np.ndarray], cells: dict[str, Any], rows: np.ndarray, work: Path
) -> Trained:
    """Train a variant on the drawn cells and some of CRIC's; choose its thresholds."""
    settings, loop = VARIANTS[name]
    labels = cells["cric"]["label"][rows]
    cric_said, cric_known = cric_targets(labels)
    drawn = cells["train"]["said"]
    odds = np.bincount(labels)[labels] ** -0.5
    odds *= CRIC_SHARE * len(drawn) / odds.sum()
    learnt = DescribedCells(
        np.concatenate([features["train"], features["cric"][rows]]),
        np.concatenate([drawn, cric_said]),
        np.concatenate([np.ones_like(drawn), cric_known]),
        np.concatenate([np.ones(len(drawn)), odds]),
    )
    truth = cells["validation"]["said"]
    known = np.ones_like(truth)
    validation = DescribedCells(features["validation"], truth, known, np.ones(len(truth)))
    recipe = AlignmentRecipe(settings, learnt, validation)
    with tempfile.TemporaryDirectory(dir=work) as run:
        fit(recipe, replace(loop, threads=1, device="cpu"), Path(run))
    scores = score_cells(recipe.model.eval(), features["validation"])
    one, each = choose_one_threshold(scores, truth), choose_thresholds(scores, truth)
    return Trained(recipe.model, one, each)


def fold_classifier(weights: Path) -> CellClassifier:
    net = build_cell_net("pooled", n_outputs=len(OUTPUTS), **CELL_MODEL)
    net.load_state_dict(load_file(weights))
    return CellClassifier(
        net, outputs=OUTPUTS, classes=CLASSES, folds={BACKGROUND: "NILM"}, mpp=MPP,
        input_px=INPUT_PX, device=CPU,
    )  # fmt: skip


def head_of_page(n_cric: int) -> dict[str, Any]:
    n = {name: centres * CROPS_A_CENTRE for name, (_, centres) in SETS.items()}
    return {
        "name": "descriptions",
        "title": "What is said of cells (learnt from drawn cells)",
        "command": "python runs/descriptions.py --data DATA/cric --folds CELLS --work WORK "
        "--bundle src/koilo/bundles/cytology",
        "commit": git_commit(),
        "data": f"drawn cells with exact texts: {n['train']:,} of {SETS['train'][1]} centres to "
        f"learn from, {n['validation']:,} of {SETS['validation'][1]} to choose thresholds on, "
        f"{n['test']:,} of {SETS['test'][1]} to measure on, all of other seeds; {n_cric:,} cells "
        "of CRIC Cervix (CC BY 4.0), of which only the class is known",
        "seed": [seed for seed, _ in SETS.values()],
        "notes": [
            "**Learnt from drawn cells.** No reader has described a real cell for this: figures on "
            "drawn cells say how well the module learns a drawing's rules, and nothing of real "
            "slides. The cell model's features are frozen and know no AGC: all 14 texts are learnt "
            "and measured, but the shipped bundle does not say AGC's.",
            "On CRIC each cell is described by a model that never saw its block (cell model and "
            "texts of the other two folds); the shipped one was trained on all. Its nucleus is "
            "measured without knowing what was said. AUC: how well the text's own cosine orders "
            "the cells as the measure does that the text speaks of; beside it within lesion cells "
            "alone, where the class helps less.",
        ],
    }


def _thresholds(trained: Trained) -> tuple[Any, Any]:
    return trained.one, trained.each


if __name__ == "__main__":
    main()
