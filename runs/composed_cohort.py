r"""Compose the secondary cohort of real cells: CRIC's, set into real and phantom ground.

    python runs/composed_cohort.py DATA DIR [--seed S] [--smoke]

DATA is CRIC in either layout (CC BY 4.0). DIR becomes a crop store with truth/, as runs/cohort.sh
leaves one, of the splits train, validation and test. Then what can be said without training is
printed: slides, cells, their use, and what colour, number of cells and rank say of the label.
runs/stride.sh trains on it; give it a --start that has not seen CRIC (docs/cohort.md).
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cohort_checks import nothing
from cohort_facts import Columns, read_columns
from koilo.datasets.crop_store import CropStore
from koilo.errors import KoiloError
from koilo.phantom.composed_cohort.config import ComposedConfig, smoke
from koilo.phantom.composed_cohort.write import write_composed_cohort
from koilo.progress import start_logging


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, metavar="DATA", help="CRIC, in either layout")
    parser.add_argument("folder", type=Path, metavar="DIR", help="a new folder")
    parser.add_argument("--seed", type=int, help="default: the committed one")
    parser.add_argument("--smoke", action="store_true", help="a tenth of the size; claims nothing")
    options = parser.parse_args()
    start_logging()
    config = ComposedConfig()
    if options.seed is not None:
        config = replace(config, seed=options.seed)
    if options.smoke:
        config = smoke(config)
    try:
        store = write_composed_cohort(options.data, options.folder, config)
    except KoiloError as error:
        print(error, file=sys.stderr)
        return 2
    for line in facts_of(store):
        print(line)
    for name, value in nothing(store).items():
        print(f"label from {name}: AUC {value:.3f}")
    return 0


def facts_of(store: CropStore) -> Iterator[str]:
    """Lines to print: slides and cells by split, how often a cell is used, labelled cells."""
    slides, cells = read_columns(store, "slides"), read_columns(store, "cells")
    for split in dict.fromkeys(slides["split"].tolist()):
        mine = slides["split"] == split
        positive = mine & (slides["label"] != "NILM")
        labels = Counter(slides["label"][mine].tolist())
        yield f"{split}: {mine.sum()} slides, labels {dict(labels)}"
        yield (
            f"{split}: median {np.median(slides['n_lesions'][positive]):.0f} lesion cells a "
            f"positive slide, {_share(slides, positive):.2f} of them among the best, none in "
            f"{(slides['n_visible_lesions'][positive] == 0).sum()} of {positive.sum()}"
        )
        yield from _use(split, cells)
    given = Counter(cells["given"][cells["given"] != ""].tolist())
    yield f"crops of labelled cells: {dict(given)}"
    yield f"{len(store.cells)} crops, {store.crops.nbytes / 1e6:.0f} MB"


def _share(slides: Columns, positive: NDArray[np.bool_]) -> float:
    return float(slides["n_visible_lesions"][positive].sum() / slides["n_lesions"][positive].sum())


def _use(split: str, cells: Columns) -> Iterator[str]:
    """How many different cells a split shows, and on how many slides one lies at most."""
    here = cells["split"] == split
    columns = (cells[name][here].tolist() for name in ("bethesda", "field_id", "cell_id"))
    used = Counter(zip(*columns, strict=True))
    lesions = [n for (label, _, _), n in used.items() if label not in ("", "NILM")]
    yield (
        f"{split}: {len(used)} cells used, {len(lesions)} of them lesions; a cell lies on at most "
        f"{max(used.values())} slides, a lesion on {max(lesions)}"
    )


if __name__ == "__main__":
    sys.exit(main())
