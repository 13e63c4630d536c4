"""Write the cohort: banks, centres, ranks and labels at once, then crops by slide, resumable."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from json import dumps, loads
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from koilo import __version__
from koilo.datasets.crop_store import CropStore, CropStoreWriter, StoredSlide, open_crop_store
from koilo.errors import ConfigError
from koilo.files import ensure_folder, folder_lock, write_json, write_text
from koilo.phantom.centre import Centre
from koilo.phantom.multicentre.bank import (
    CellBank,
    bank_jobs,
    bank_of,
    draw_job,
    read_bank,
    write_bank,
)
from koilo.phantom.multicentre.cells import draw_cells_of_slide
from koilo.phantom.multicentre.centres import (
    Canvas,
    CohortCentre,
    draw_centres,
    in_colours_of,
    move_unseen,
)
from koilo.phantom.multicentre.config import TRAINING_CENTRES, CohortConfig, checked
from koilo.phantom.multicentre.crops import CropPainter, CropSize, crops_of_slide, stained
from koilo.phantom.multicentre.labels import draw_labels
from koilo.phantom.multicentre.plan import plan_slides
from koilo.phantom.multicentre.ranked import BANK_OF, RankedSlide, rank_slides
from koilo.phantom.multicentre.rates import with_mimic_rates
from koilo.phantom.multicentre.rows import TWIN_SUFFIX, CropRows, lay_rows, stored_cells
from koilo.phantom.multicentre.scores import DetectorModel, fitted_model, sharpened
from koilo.phantom.multicentre.truth import write_truth
from koilo.progress import log, progress

_DRAWING = "drawing"
"""Folder of an unfinished cohort's banks and marks; gone when the cohort is whole."""
_CHUNK = 12
_CROPS_A_REFERENCE = 10


def write_cohort(out: Path, config: CohortConfig, *, workers: int = 2) -> CropStore:
    """Draw a cohort into a folder, or go on with one that was begun there.

    Args:
        out: the folder: a crop store, and ``truth/``.
        config: what to draw.
        workers: processes; the pictures are the same for any number.

    Raises:
        ConfigError: the configuration is unsound, or the folder holds another cohort.
        OutputError: the folder cannot be written, is full or in use.
    """
    checked(config)
    with folder_lock(ensure_folder(out)):
        _claim(out, config)
        if (out / "store.json").exists():
            log.info("%s is whole already", out)
            store = open_crop_store(out)
        else:
            store = _draw(out, config, workers)
        shutil.rmtree(out / _DRAWING, ignore_errors=True)
        return store


def _claim(out: Path, config: CohortConfig) -> None:
    """Write down what the folder is to hold, or refuse a folder that holds something else."""
    path = out / "cohort.json"
    wanted = loads(_json(config))
    if path.exists():
        held = _held(path)
        if held != wanted:
            differ = ", ".join(sorted(k for k in {*held, *wanted} if held.get(k) != wanted.get(k)))
            raise ConfigError(
                f"{out} holds another cohort (different: {differ}). "
                "Give a new folder, or the settings with which this one was begun."
            )
    elif any(path for path in out.iterdir() if not path.name.startswith(".")):
        raise ConfigError(f"{out} is not empty and holds no cohort. Give a new folder.")
    write_json(path, wanted)


def _held(path: Path) -> dict[str, Any]:
    try:
        held = loads(path.read_text(encoding="utf-8"))
        if not isinstance(held, dict):
            raise ValueError(f"it holds {type(held).__name__}")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} cannot be read ({error}). It says what the folder was begun for. "
            "Put it back, or give a new folder."
        ) from error
    return held


def _draw(out: Path, config: CohortConfig, workers: int) -> CropStore:
    model = sharpened(fitted_model(), config.sharpness)
    with _processes(workers) as each:
        banks = _banks(out / _DRAWING, config, each)
        centres = cohort_centres(config, banks, model)
        log.info("Ranking the cells of %d slides", sum(s.slides for s in config.splits.values()))
        slides = rank_slides(config, plan_slides(config), banks, centres, model)
        labels = draw_labels(config, slides)
        rows = lay_rows(slides, labels)
        writer = CropStoreWriter(out, n_crops=rows.total, crop_px=config.crop_px, mpp=config.mpp)
        if writer.begun_anew:  # marks of crops that are gone would leave them black
            shutil.rmtree(out / _DRAWING / "done", ignore_errors=True)
        jobs = list(_crop_jobs(out, config, slides, rows, centres))
        with progress("crops", rows.total) as advance:
            for n_crops in each(draw_chunk, jobs):
                advance(n_crops)
    write_truth(out / "truth", slides, rows, labels, banks, centres)
    facts = {
        "made_by": "runs/cohort.sh",
        "synthetic": "phantom",
        "version": __version__,
        "seed": config.seed,
        "config": loads(_json(config)),
    }
    return writer.finish(_stored_slides(slides, centres), stored_cells(slides, rows, labels), facts)


def cohort_centres(
    config: CohortConfig, banks: Mapping[str, CellBank], model: DetectorModel
) -> tuple[CohortCentre, ...]:
    """The centres with their mimics' rates, the unseen ones at their distances."""
    centres = [
        with_mimic_rates(config, number, centre, banks["train"], model)
        for number, centre in enumerate(draw_centres(config, centre_spread=model.centre_spread))
    ]
    canvases = [
        _reference(config, number, centre, banks[_bank_name(number)], model)
        for number, centre in enumerate(centres)
    ]
    return move_unseen(config, centres, canvases)


def _bank_name(centre: int) -> str:
    return BANK_OF["train" if centre < TRAINING_CENTRES else "unseen"]


def _reference(
    config: CohortConfig, number: int, centre: CohortCentre, bank: CellBank, model: DetectorModel
) -> Canvas:
    """Painted crops of negative slides side by side, on which a centre's colour is measured.

    The slides stray in stain alike in all centres: only what differs between centres is measured.
    """
    rng = np.random.default_rng(np.random.SeedSequence([config.seed, 0xEE, number]))
    straying = np.random.default_rng(np.random.SeedSequence([config.seed, 0xEF]))
    painter = CropPainter(bank, CropSize(config.crop_px, config.mpp))
    rows = []
    for _ in range(max(1, config.reference_crops // _CROPS_A_REFERENCE)):
        cells = draw_cells_of_slide(
            rng, bank, centre, model, n_cells=6_000, lesion_class="", n_lesions=0
        )
        entries = rng.choice(cells.best(config.top_k), _CROPS_A_REFERENCE)
        painted = [painter.canvas(rng, centre.centre, cells, int(entry))[0] for entry in entries]
        m = (painted[0].shape[0] - config.crop_px) // 2
        inner = [canvas[m : m + config.crop_px, m : m + config.crop_px] for canvas in painted]
        rows.append(np.concatenate(inner, axis=1) * stained(straying))
    return np.concatenate(rows, axis=0)


def _banks(folder: Path, config: CohortConfig, each: Each) -> dict[str, CellBank]:
    """The banks of training, validation and tests, drawn or kept from a run that was killed."""
    banks = {}
    for number, name in enumerate(dict.fromkeys(BANK_OF.values())):
        path = folder / f"bank-{name}.pickle"
        if not path.exists():
            log.info("Drawing the bank of cells for %s", name)
            jobs = bank_jobs((config.seed, number), config.bank_cells[name])
            write_bank(path, bank_of(each(draw_job, jobs, 32)))
        banks[name] = read_bank(path)
    return banks


def _crop_jobs(
    out: Path,
    config: CohortConfig,
    slides: Sequence[RankedSlide],
    rows: CropRows,
    centres: Sequence[CohortCentre],
) -> Iterator[dict[str, Any]]:
    """Chunks of slides of one bank each, with all that drawing them needs."""
    for name in dict.fromkeys(BANK_OF.values()):
        mine = [n for n, s in enumerate(slides) if BANK_OF[s.plan.split] == name]
        for start in range(0, len(mine), _CHUNK):
            chunk = mine[start : start + _CHUNK]
            yield {
                "out": out,
                "config": config,
                "bank": name,
                "slides": [slides[n] for n in chunk],
                "rows": [_rows_of(n, slides[n], rows) for n in chunk],
                "looks": [_looks(slides[n], centres) for n in chunk],
            }


def _rows_of(
    number: int, slide: RankedSlide, rows: CropRows
) -> tuple[list[tuple[int, int]], int | None]:
    """(entry, row) of the slide's crops, and the first row of its twin's bag."""
    places = [(cell, rows.of((number, cell))) for cell in range(len(slide.kind))]
    return [(cell, row) for cell, row in places if row >= 0], rows.twin.get(number)


def _looks(slide: RankedSlide, centres: Sequence[CohortCentre]) -> list[Centre]:
    own = centres[slide.plan.centre]
    if slide.plan.split != "unseen":
        return [own.centre]
    return [own.centre, in_colours_of(own.centre, centres[own.nearest].centre)]


def draw_chunk(job: dict[str, Any]) -> int:
    """Draw a chunk of slides into the store, unless that is done; gives the number of crops."""
    out, config = job["out"], job["config"]
    mark = out / _DRAWING / "done" / job["slides"][0].plan.slide_id
    n_crops = sum(
        len(own) * len(looks) for (own, _), looks in zip(job["rows"], job["looks"], strict=True)
    )
    if mark.exists():
        return n_crops
    painter = _painter(out / _DRAWING / f"bank-{job['bank']}.pickle", config.crop_px, config.mpp)
    store = np.lib.format.open_memmap(out / "crops.part.npy", mode="r+")
    for slide, (own, twin), looks in zip(job["slides"], job["rows"], job["looks"], strict=True):
        entries = np.array([cell for cell, _ in own])
        seed = (config.seed, 0xCD, slide.plan.index)
        pictures = crops_of_slide(seed, painter, looks, slide.cells, entries)
        store[[row for _, row in own]] = pictures[0]
        if twin is not None:
            store[twin : twin + len(pictures[1])] = pictures[1]
    store.flush()
    write_text(mark, "")
    return n_crops


@lru_cache(maxsize=1)
def _painter(bank: Path, px: int, mpp: float) -> CropPainter:
    cv2.setNumThreads(1)
    return CropPainter(read_bank(bank), CropSize(px, mpp))


def _stored_slides(
    slides: Sequence[RankedSlide], centres: Sequence[CohortCentre]
) -> list[StoredSlide]:
    """Rows of the manifest: every slide, then the colour twins of the unseen ones."""
    own = [
        StoredSlide(s.plan.slide_id, centres[s.plan.centre].name, s.plan.split, s.plan.label)
        for s in slides
    ]
    twins = [
        StoredSlide(s.slide_id + TWIN_SUFFIX, s.centre, "unseen_twin", s.label, s.slide_id)
        for s in own
        if s.split == "unseen"
    ]
    return own + twins


Each = Callable[..., Iterable[Any]]
"""Maps a function over a list, in order: by processes or here."""


@contextmanager
def _processes(workers: int) -> Iterator[Each]:
    if workers <= 1:
        yield lambda work, jobs, chunksize=1: map(work, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        yield lambda work, jobs, chunksize=1: pool.map(work, jobs, chunksize=chunksize)


def _json(config: CohortConfig) -> str:
    return dumps(asdict(config))
