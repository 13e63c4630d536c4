"""What can be said of a drawn cohort without training: counts, labels, attributes, colours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from koilo.datasets.crop_store import CropStore
from koilo.errors import ManifestError
from koilo.evaluate.scores import auc
from koilo.phantom.multicentre.config import CELL_FOLDS, LABELLED_CENTRES, TRAINING_CENTRES
from koilo.phantom.multicentre.kinds import COHORT_KINDS

ATTRIBUTES = (
    "nucleus_um2", "cell_um2", "nc_area", "n_nuclei", "contour", "elongation", "nuclear_density",
    "chromatin", "halo_um2", "nucleoli", "vacuoles",
)  # fmt: skip
LABELLED = tuple(f"T{i + 1}" for i in range(LABELLED_CENTRES))

Columns = dict[str, NDArray[Any]]


def facts_of(store: CropStore) -> Iterator[str]:
    """Lines to print: slides, labels, swaps, mimics, single attributes, colours."""
    slides = read_columns(store, "slides")
    cells = read_columns(store, "cells")
    for split in dict.fromkeys(slide.split for slide in store.slides):
        mine = store.of_split(split)
        counts = Counter(slide.label for slide in mine)
        yield f"{split}: {len(mine)} slides, labels {dict(counts)}"
    given = Counter(store.cells.given[store.cells.given != ""].tolist())
    overlooked = int((cells["mark"] == "overlooked").sum())
    yield f"labelled cells: {dict(given)}, of the NILM {overlooked} overlooked lesions"
    swapped = Counter(slides["split"][slides["swapped"]].tolist())
    yield f"swapped slide labels: {dict(swapped)} (allowed in train only)"
    yield from _visible(slides)
    yield from _mimics(slides, cells)
    yield from _single_attributes(cells)
    yield from _colours(store)


def read_columns(store: CropStore, name: str) -> Columns:
    """A table of the cohort's truth as arrays.

    Raises:
        ManifestError: there is none, or it is damaged.
    """
    path = store.folder / "truth" / f"{name}.parquet"
    try:
        table = pq.read_table(path).to_pydict()
    except (OSError, pa.ArrowException) as error:
        raise ManifestError(
            f"{path} cannot be read ({error}). Allowed: a folder that runs/cohort.sh or "
            "runs/composed_cohort.py finished. Check the path or draw the cohort again."
        ) from error
    return {column: np.array(values) for column, values in table.items()}


def _visible(slides: Columns) -> Iterator[str]:
    for truth in dict.fromkeys(slides["truth"].tolist()):
        mine = (slides["truth"] == truth) & (slides["n_lesions"] > 0)
        if mine.any():
            seen, all_ = slides["n_visible_lesions"][mine], slides["n_lesions"][mine]
            yield (
                f"{truth}: median {np.median(all_):.0f} lesion cells a slide, "
                f"{seen.sum() / all_.sum():.2f} of them visible, none in {(seen == 0).mean():.3f}"
            )


def _mimics(slides: Columns, cells: Columns) -> Iterator[str]:
    role = np.array([COHORT_KINDS[kind].role for kind in cells["kind"]])
    centre = centre_of_cells(slides, cells)
    top = cells["visible"] & (role != "lesion")
    shares = {name: (role[top & (centre == name)] == "mimic").mean() for name in np.unique(centre)}
    listed = ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
    yield f"mimics among the top cells that are no lesions: {listed}"


def centre_of_cells(slides: Columns, cells: Columns) -> NDArray[np.str_]:
    """The centre of each row of the cells' truth."""
    of = dict(zip(slides["slide_id"].tolist(), slides["centre"].tolist(), strict=True))
    return np.array([of[slide_id] for slide_id in cells["slide_id"].tolist()])


def _single_attributes(cells: Columns) -> Iterator[str]:
    """The best that any one attribute does for any class among the top cells (bar: 0.85)."""
    normal = cells["visible"] & (cells["truth"] == "NILM")
    for fold in CELL_FOLDS[1:]:
        mine = cells["visible"] & (cells["truth"] == fold)
        if not mine.any():
            continue
        target = np.concatenate([np.ones(mine.sum(), bool), np.zeros(normal.sum(), bool)])
        areas = {}
        for name in ATTRIBUTES:
            value = auc(target, np.concatenate([cells[name][mine], cells[name][normal]]))
            areas[name] = max(value, 1 - value)
        best = sorted(areas, key=lambda name: -areas[name])[:3]
        listed = ", ".join(f"{name} {areas[name]:.3f}" for name in best)
        yield f"best single attributes for {fold}: {listed}"


def _colours(store: CropStore) -> Iterator[str]:
    means = centre_colours(store)
    known = np.stack([means[f"T{i + 1}"] for i in range(TRAINING_CENTRES)])
    for name in sorted(name for name in means if name.startswith("U")):
        distance = np.linalg.norm(known - means[name], axis=1)
        yield f"{name}: mean RGB {distance.min():.3f} from T{distance.argmin() + 1}, the nearest"


def centre_colours(store: CropStore) -> dict[str, NDArray[np.float64]]:
    """Mean colour (3,) in 0-1 of each centre's crops: training slides, or unseen ones."""
    sums: dict[str, list[NDArray[np.float64]]] = {}
    for slide in store.of_split("train", "unseen"):
        crops = store.crops[store.bag(slide.slide_id)[::4]]
        sums.setdefault(slide.centre, []).append(crops.mean((0, 1, 2)) / 255)
    return {name: np.mean(values, axis=0) for name, values in sums.items()}
