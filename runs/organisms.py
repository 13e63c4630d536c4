"""The head for organisms: trained on drawn ones, measured on unseen centres and on real cells.

    python runs/organisms.py --out WORK --data DATA/cric [--seed 0]

What it misses can be measured on drawn crops alone: no real cell here has a label of an organism.
What it raises in vain is also measured on CRIC's cells, whose readers named no organism: each cell
over a threshold there is likely a false alarm, and none is proved to be one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from description_cells import cut_cric
from koilo.bundle import load_bundle
from koilo.cells.organisms import OrganismReader, load_organisms
from koilo.cells.predict import load_classifier
from koilo.datasets.cric import read_cric
from koilo.errors import KoiloError
from koilo.evaluate.proportions import share_interval
from koilo.evaluate.scores import auc
from koilo.files import write_json
from koilo.phantom.organisms import ORGANISM_NAMES
from koilo.progress import start_logging
from koilo.runtime import choose_device
from koilo.taxonomy import CYTOLOGY, NEGATIVE
from koilo.train.recipes.organisms import (
    OrganismCells,
    OrganismsConfig,
    draw_organism_cells,
    score_organisms,
    sets_of_centres,
    train_organisms,
)
from koilo.train.record import git_commit


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder outside the repository")
    parser.add_argument("--data", type=Path, required=True, help="CRIC, in either layout")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--page", type=Path, default=Path("docs/results/organisms.json"))
    options = parser.parse_args()
    start_logging()
    started = time.time()
    config = OrganismsConfig(out=options.out, world=options.seed)
    loop = replace(config.loop, seed=options.seed, threads=options.threads)
    config = replace(config, loop=loop)
    try:
        train_organisms(config)
        bundle = load_bundle(config.out / "bundle")
        reader = load_organisms(bundle)
        classifier = load_classifier(bundle, choose_device("cpu"))
        unseen = draw_organism_cells(classifier, config, sets_of_centres(config)[2])
        cells = cut_cric(read_cric(options.data))
        p_cric = reader.predict(classifier.predict(cells["crop"])[0])
        page = page_of(config, reader, unseen, alarms(reader, p_cric, cells["label"]))
        write_json(options.page, page | {"seconds": round(time.time() - started)})
    except KoiloError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def drawn_rows(reader: OrganismReader, unseen: OrganismCells) -> list[list[Any]]:
    """An organism a row: AUC, sensitivity and specificity on drawn crops, and the control's AUC."""
    figures = score_organisms(reader.predict(unseen.features), unseen.holds, reader.thresholds)
    rows = []
    for column, name in enumerate(ORGANISM_NAMES):
        truth = unseen.holds[:, column]
        measured = [figures.get(f"{name}_{m}") for m in ("auc", "sensitivity", "specificity")]
        control = None if truth.all() or not truth.any() else auc(truth, unseen.suspicion)
        rows.append([name, int(truth.sum()), *map(_rounded, [*measured, control])])
    return rows


def alarms(
    reader: OrganismReader, p: NDArray[np.float32], labels: NDArray[np.integer]
) -> list[list[Any]]:
    """An organism a row: share of real cells over its threshold, NILM and lesions, 95 % Wilson."""
    negative = labels == CYTOLOGY.index(NEGATIVE)
    rows = []
    for column, (name, threshold) in enumerate(zip(reader.names, reader.thresholds, strict=True)):
        over = p[:, column] >= threshold
        rows.append([name, *(_share(over[group]) for group in (negative, ~negative))])
    return rows


def page_of(
    config: OrganismsConfig,
    reader: OrganismReader,
    unseen: OrganismCells,
    real: list[list[Any]],
) -> Mapping[str, Any]:
    """The result file, but for its seconds."""
    drawn = drawn_rows(reader, unseen)
    return {
        "name": "organisms",
        "title": "The head for organisms (learnt from drawn ones)",
        "command": "python runs/organisms.py --out WORK --data DATA/cric",
        "commit": git_commit(),
        "data": f"{len(unseen.features)} drawn crops of {config.unseen_centres} unseen centres; "
        "CRIC Cervix (CC BY 4.0): its labelled cells",
        "seed": config.world,
        "figures": {f"{row[0]}: AUC on drawn crops of unseen centres": row[2] for row in drawn},
        "controls": {f"{row[0]}: AUC of the cell model's p of a lesion": row[5] for row in drawn},
        "tables": {
            "drawn crops of unseen centres": {
                "columns": ["organism", "crops with it", "AUC", "sensitivity", "specificity",
                            "control's AUC"],
                "rows": drawn,
            },
            "real cells (CRIC) over the threshold": {
                "columns": ["organism", "NILM cells", "lesion cells"],
                "rows": real,
            },
        },
        "notes": [
            f"Thresholds keep {config.specificity:.0%} of the crops without an organism under "
            f"them, on {config.locking_centres} further drawn centres. No real cell here has a "
            "label of an organism: sensitivity on real slides is not known. CRIC's readers named "
            "no organism, so what is over a threshold there is likely, not surely, raised in vain. "
            "The head ships in no bundle; `koilo train organisms` makes one."
        ],
    }  # fmt: skip


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 3)


def _share(over: NDArray[np.bool_]) -> str:
    share = share_interval(int(over.sum()), len(over))
    return f"{share.estimate:.3f} ({share.low:.3f} – {share.high:.3f})"


if __name__ == "__main__":
    sys.exit(main())
