"""Write the composed cohort: a pool at a time, its slides dealt, composed, ranked and stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from json import dumps, loads
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from koilo import __version__
from koilo.datasets.cric import CricField, read_cric
from koilo.datasets.crop_store import CropStore, CropStoreWriter, StoredCells, StoredSlide
from koilo.errors import ConfigError
from koilo.files import atomic_path, ensure_folder, folder_lock
from koilo.phantom.composed_cohort.config import ComposedConfig, checked
from koilo.phantom.composed_cohort.crops import compose_crops, darkness
from koilo.phantom.composed_cohort.deal import DealtSlide, deal_slides
from koilo.phantom.composed_cohort.grounds import grounds_of
from koilo.phantom.composed_cohort.pools import Pool, RealCell, open_pool
from koilo.phantom.multicentre.config import CELL_FOLDS
from koilo.progress import log, progress
from koilo.taxonomy import fold_members

SOURCE = "CRIC Cervix (Rezende et al. 2021, doi 10.1038/s41597-021-00933-8), CC BY 4.0"
CENTRES = {"real": "real ground", "phantom": "phantom ground"}


@dataclass(frozen=True)
class ComposedSlide:
    """A slide with its crops: the ``rank`` of each cell (-1: not kept), and what was drawn."""

    dealt: DealtSlide
    rank: NDArray[np.int64]
    score: NDArray[np.float32]
    given: NDArray[np.str_]
    ground: list[str]
    crops: NDArray[np.uint8]
    """(K, P, P, 3) of the kept cells, by rank"""


def write_composed_cohort(data: Path, out: Path, config: ComposedConfig) -> CropStore:
    """Compose a cohort of CRIC's cells into a new folder.

    Args:
        data: CRIC, in either layout.
        out: becomes a crop store, and ``truth/``.
        config: what to compose.

    Raises:
        ConfigError: the configuration is unsound, or the folder is not empty.
        ManifestError: the folder of data is not CRIC, or its cells do not suffice.
        OutputError: the folder cannot be written, is full or in use.
    """
    checked(config)
    fields = read_cric(data)
    with folder_lock(ensure_folder(out)):
        if any(path for path in out.iterdir() if not path.name.startswith(".")):
            raise ConfigError(f"{out} is not empty. A cohort is composed anew. Give a new folder.")
        cv2.setNumThreads(1)
        slides = list(_composed(config, fields))
        n_crops = sum(len(slide.crops) for slide in slides)
        writer = CropStoreWriter(out, n_crops=n_crops, crop_px=config.crop_px, mpp=config.mpp)
        writer.crops[:] = np.concatenate([slide.crops for slide in slides])
        _write_table(out / "truth" / "slides.parquet", [_slide_row(slide) for slide in slides])
        _write_table(out / "truth" / "cells.parquet", list(_cell_rows(slides)))
        facts = {
            "made_by": "python runs/composed_cohort.py CRIC",
            "synthetic": "composed",
            "source": SOURCE,
            "version": __version__,
            "seed": config.seed,
            "config": loads(dumps(asdict(config))),
        }
        return writer.finish([_stored(s.dealt) for s in slides], _stored_cells(slides), facts)


def fold_of(label: str) -> str:
    """The folded cell class of a Bethesda class; empty for a cell that CRIC does not label.

    >>> fold_of("SCC")
    'ASC-H+HSIL+SCC'
    """
    return next((fold for fold in CELL_FOLDS if label in fold_members(fold)), "")


def _composed(config: ComposedConfig, fields: Sequence[CricField]) -> Iterator[ComposedSlide]:
    """The slides of every split, one pool open at a time."""
    for split, fold in config.folds.items():
        with open_pool(fields, fold, config.mpp, config.seed) as pool:
            log.info("Pool of %s: %d fields, %d cells", split, len(pool.fields), len(pool.cells))
            known = _labelled(config, pool) if split == "train" else frozenset()
            grounds = grounds_of(config, split, pool)
            slides = deal_slides(config, split, pool.cells)
            with progress(f"{split} slides", len(slides)) as advance:
                for number, dealt in enumerate(slides):
                    seed = np.random.SeedSequence([config.seed, 0xC5, fold, number])
                    rng = np.random.default_rng(seed)
                    pictures = grounds[dealt.ground]
                    crops, names = compose_crops(rng, config, pool, dealt.cells, pictures)
                    yield _ranked(config, dealt, crops, names, known)
                    advance(1)


def _labelled(config: ComposedConfig, pool: Pool) -> frozenset[RealCell]:
    """Cells whose label a learner may see: a share of each class, one at least."""
    rng = np.random.default_rng(np.random.SeedSequence([config.seed, 0xC6]))
    known: list[RealCell] = []
    for fold in CELL_FOLDS:
        mine = pool.of(*fold_members(fold))
        n = min(len(mine), max(1, round(config.labelled * len(mine))))
        known += [mine[i] for i in rng.permutation(len(mine))[:n]]
    return frozenset(known)


def _ranked(
    config: ComposedConfig,
    dealt: DealtSlide,
    crops: NDArray[np.uint8],
    names: list[str],
    known: frozenset[RealCell],
) -> ComposedSlide:
    """Keep the best cells of a slide."""
    score = darkness(crops, config.mpp)
    best = np.argsort(-score, kind="stable")[: config.top_k]
    rank = np.full(len(crops), -1)
    rank[best] = np.arange(len(best))
    given = np.array([fold_of(cell.label) if cell in known else "" for cell in dealt.cells])
    return ComposedSlide(dealt, rank, score, given, names, crops[best])


def _stored(dealt: DealtSlide) -> StoredSlide:
    return StoredSlide(dealt.slide_id, CENTRES[dealt.ground], dealt.split, dealt.label)


def _stored_cells(slides: Sequence[ComposedSlide]) -> StoredCells:
    rows = [(slide, i) for slide in slides for i in _by_rank(slide)]
    return StoredCells(
        slide_id=np.array([slide.dealt.slide_id for slide, _ in rows]),
        rank=np.array([slide.rank[i] for slide, i in rows], np.int64),
        detector_score=np.array([slide.score[i] for slide, i in rows], np.float32),
        given=np.array([str(slide.given[i]) for slide, i in rows]),
        truth=np.array([fold_of(slide.dealt.cells[i].label) for slide, i in rows]),
    )


def _by_rank(slide: ComposedSlide) -> list[int]:
    """Places of the kept cells, best first."""
    order = np.argsort(slide.rank, kind="stable")
    return [int(i) for i in order[slide.rank[order] >= 0]]


def _slide_row(slide: ComposedSlide) -> Mapping[str, Any]:
    dealt, lesions = slide.dealt, slide.dealt.n_lesions
    return {
        "slide_id": dealt.slide_id,
        "split": dealt.split,
        "centre": CENTRES[dealt.ground],
        "truth": dealt.label,
        "label": dealt.label,
        "n_cells": len(dealt.cells),
        "n_lesions": lesions,
        "n_visible_lesions": int((slide.rank[:lesions] >= 0).sum()),
    }


def _cell_rows(slides: Sequence[ComposedSlide]) -> Iterator[Mapping[str, Any]]:
    """Every cell of every slide, kept or not, with the place of CRIC that it is from."""
    first = 0
    for slide in slides:
        for i, cell in enumerate(slide.dealt.cells):
            rank = int(slide.rank[i])
            yield {
                "slide_id": slide.dealt.slide_id,
                "split": slide.dealt.split,
                "rank": rank,
                "crop": first + rank if rank >= 0 else -1,
                "detector_score": float(slide.score[i]),
                "truth": fold_of(cell.label),
                "given": str(slide.given[i]),
                "bethesda": cell.label,
                "field_id": cell.field_id,
                "block": cell.block,
                "cell_id": cell.cell_id,
                "x_px0": cell.x_px0,
                "y_px0": cell.y_px0,
                "ground": slide.ground[i],
            }
        first += len(slide.crops)


def _write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with atomic_path(path) as part:
        pq.write_table(pa.Table.from_pylist(list(rows)), part, compression="zstd")
