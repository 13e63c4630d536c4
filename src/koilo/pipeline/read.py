"""Read one slide: find the specimen and its cells, classify them, call the slide, judge quality.

Nothing here knows of folders or of other slides: a reading is a SlideResult and the pictures that
its report shows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry
from shapely.ops import unary_union

from koilo.cells import read_crops
from koilo.errors import SlideError
from koilo.manifest import SlideEntry
from koilo.mil.removal import Boxes
from koilo.pipeline.assess import QualityMap, assess_slide, build_meter, draw_quality_map
from koilo.pipeline.carry import add_reasons, share_out
from koilo.pipeline.find import OVERLAP_PX, FoundCells, find_cells
from koilo.pipeline.models import Models
from koilo.pipeline.one_a_cell import one_row_a_cell
from koilo.pipeline.pixel_size import mpp_flags, open_to_read
from koilo.pipeline.reasons import explain_cells
from koilo.pipeline.reference import find_reference
from koilo.pipeline.verdict import Call, judge_slide
from koilo.pipeline.workers import Workers, open_workers, usable_cores
from koilo.slides import Slide, tile_grid
from koilo.slides.foreground import Foreground, foreground
from koilo.taxonomy import NEGATIVE
from koilo.types import Cell, SlideResult

Watch = Callable[[int], AbstractContextManager[Callable[[float], None]]]
"""Called with the number of tiles; gives what is called with each number done."""

Frame = tuple[float, float, float, float]

_OVERVIEW_PX = 1400

_CHUNK = 64
"""Crops that a worker classifies at a time."""

_MOST_READERS = 8
"""Reader threads at most, where none are asked for: decoding is not what takes the time."""


@dataclass(frozen=True)
class ReadSettings:
    """What the user may say about a reading.

    ``mpp``: µm per pixel where the manifest gives none. ``threads``: reader threads; 0 chooses.
    ``limits``: a laboratory's own least number of squamous cells by preparation.
    """

    mpp: float | None = None
    threads: int = 0
    limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """A slide's result with the pictures of its report.

    ``overview_rgb`` uint8 (H, W, 3) shows ``overview_frame`` (x, y, w, h in level-0 pixels);
    ``crops`` uint8 (N, P, P, 3) are those of ``result.cells``, at the cell model's pixel size;
    ``busy_s`` what the search's threads spent their seconds on, all of them together.
    """

    result: SlideResult
    overview_rgb: NDArray[np.uint8]
    overview_frame: Frame
    crops: NDArray[np.uint8]
    quality_map: QualityMap | None
    busy_s: Mapping[str, float]


def read_one(
    entry: SlideEntry,
    models: Models,
    settings: ReadSettings | None = None,
    watch: Watch | None = None,
) -> Reading:
    """Read one slide.

    A slide without specimen or cells is done all the same: it asks for a rescan and has no call.

    Args:
        entry: the slide's line of the manifest.
        models: the bundle's models.
        settings: pixel size and reader threads.
        watch: shows how far the tiles are.

    Raises:
        SlideError: the slide cannot be read; the message is one line.
    """
    settings = settings or ReadSettings()
    timer = _Timer()
    with timer("open"):
        slide = open_to_read(entry, settings.mpp, models.classifier.mpp)
    with slide, open_workers(models.device) as workers:
        if slide.kind not in models.kinds:
            raise SlideError(
                f"{entry.path} is a {slide.kind}, and bundle {models.bundle.name} has a threshold "
                f"locked for {' and '.join(models.kinds)}s only. Choose another one with --model."
            )
        return _read(slide, entry, models, workers, settings, watch or _silent, timer)


def _read(
    slide: Slide,
    entry: SlideEntry,
    models: Models,
    workers: Workers,
    settings: ReadSettings,
    watch: Watch,
    timer: _Timer,
) -> Reading:
    with timer("foreground"):
        overview, frame = _overview(slide)
        area = foreground(slide)
        detector = models.detector
        tiles = tile_grid(slide, area, size_px=detector.tile_px, mpp=detector.mpp,
                          overlap_px=OVERLAP_PX)  # fmt: skip
    step_px = detector.tile_px - OVERLAP_PX
    meter = build_meter(tiles, overview, step_px)
    with timer("search"), watch(len(tiles)) as advance:
        found = find_cells(
            slide,
            tiles,
            detector,
            workers,
            top_k=models.top_k,
            measure=meter,
            excluded_px0=excluded_area(area),
            threads=settings.threads or min(usable_cores(), _MOST_READERS),
            advance=advance,
        )
    centres_px0 = found.boxes_px0[:, :2] + found.boxes_px0[:, 2:] / 2
    classifier = models.classifier
    with timer("crops"):
        crops = read_crops(slide, centres_px0, classifier.mpp, classifier.input_px)
    with timer("cells"):
        features, p_cells = _classify(models, crops, workers)
    with timer("head"):
        call, probabilities, attention = _call(models, slide, features, p_cells)
        centres_um = centres_px0 / slide.downsample_at(1.0)
        kept, row = one_row_a_cell(centres_um, _suspicion(p_cells, classifier.classes))
        if attention is not None:
            attention = np.bincount(row, attention, len(kept)).astype(np.float32)
        boxes = Boxes(features, p_cells, row)
        shares = share_out(models, boxes)
    cells = tuple(_cells(found, p_cells, classifier.classes, kept, attention, shares))
    with timer("descriptions"):
        reference = find_reference(
            slide,
            tiles,
            found.measures,
            meter.glass,
            mpp=classifier.mpp,
            size_px=classifier.input_px,
        )
        cells = explain_cells(
            cells,
            crops[kept],
            features[kept],
            mpp=classifier.mpp,
            glass=meter.glass,
            reference=reference,
            describer=models.describer,
            workers=workers,
        )
    with timer("quality"):
        flags = mpp_flags(entry, settings.mpp, slide.file_mpp)
        quality, adequacy = assess_slide(
            found.measures,
            slide,
            area,
            n_cells=len(kept),
            suspicious=bool(call and call.positive),
            preparation=entry.preparation,
            limits=settings.limits,
            flags=flags,
        )
        step_px0 = step_px * slide.downsample_at(detector.mpp)
        quality_map = draw_quality_map(tiles, found.measures, step_px0)
    result = SlideResult(
        slide_id=entry.slide_id,
        path=str(entry.path),
        status="done",
        label=call.label if call else None,
        probabilities=probabilities,
        p_positive=call.p_positive if call else None,
        positive=call.positive if call else None,
        threshold=models.threshold(slide.kind),
        n_cells=len(kept),
        cells=cells,
        image_quality=quality,
        adequacy=adequacy,
        slide=_slide_facts(slide, entry, area) | {"nuclear_reference": reference.facts},
    )
    with timer("reasons"):
        result = add_reasons(result, call, models, boxes, features[kept], crops[kept])
    result = replace(result, seconds=timer.total())
    return Reading(result, overview, frame, crops[kept], quality_map, found.busy_s)


def _overview(slide: Slide) -> tuple[NDArray[np.uint8], Frame]:
    """The scanned part of the slide, small, and its frame in level-0 pixels."""
    x, y, width, height = slide.bounds_px0
    downsample = max(width / _OVERVIEW_PX, height / _OVERVIEW_PX, 1.0)
    size = max(1, round(width / downsample)), max(1, round(height / downsample))
    return slide.read_at_downsample((x, y), downsample, size), (x, y, width, height)


def excluded_area(area: Foreground) -> BaseGeometry:
    """Pen, bubbles, rims and missing areas as one geometry."""
    return unary_union(list(area.excluded.values()))


def _classify(
    models: Models, crops: NDArray[np.uint8], workers: Workers
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features (N, D) and probabilities (N, C) of crops (N, P, P, 3)."""
    chunks = [crops[start : start + _CHUNK] for start in range(0, max(len(crops), 1), _CHUNK)]
    parts = list(workers.map_in_order(models.classifier.predict, chunks))
    return np.concatenate([f for f, _ in parts]), np.concatenate([p for _, p in parts])


def _call(
    models: Models, slide: Slide, features: NDArray[np.float32], p_cells: NDArray[np.float32]
) -> tuple[Call | None, dict[str, float], NDArray[np.float32] | None]:
    """The slide's call, its class probabilities and each cell's attention; none without cells."""
    if not len(features):
        return None, {}, None
    p, attention = models.head.predict(features, p_cells)
    probabilities = {n: float(v) for n, v in zip(models.head.classes, p, strict=True)}
    return judge_slide(probabilities, models.threshold(slide.kind)), probabilities, attention


def _cells(
    found: FoundCells[Any],
    p_cells: NDArray[np.float32],
    classes: Sequence[str],
    kept: NDArray[np.int64],
    attention: NDArray[np.float32] | None,
    shares: NDArray[np.float32] | None,
) -> Iterator[Cell]:
    """The boxes ``kept``, best detector score first; ``attention`` and ``shares`` are of these."""
    for row, index in enumerate(kept.tolist()):
        p = p_cells[index]
        x_px0, y_px0, w_px0, h_px0 = (float(value) for value in found.boxes_px0[index])
        yield Cell(
            x_px0,
            y_px0,
            w_px0,
            h_px0,
            detector_score=float(found.scores[index]),
            probabilities={name: float(v) for name, v in zip(classes, p, strict=True)},
            label=classes[int(np.argmax(p))],
            attention=None if attention is None else float(attention[row]),
            contribution=None if shares is None or np.isnan(shares[row]) else float(shares[row]),
        )


def _suspicion(p_cells: NDArray[np.float32], classes: Sequence[str]) -> NDArray[np.float32]:
    """Probability of any class but NILM, (N,)."""
    return 1 - p_cells[:, classes.index(NEGATIVE)]


def _slide_facts(slide: Slide, entry: SlideEntry, area: Foreground) -> dict[str, Any]:
    """What result.json says of the slide itself."""
    return {
        "dimensions": list(slide.dimensions),
        "mpp": slide.mpp,
        "mpp_source": _mpp_source(slide, entry),
        "file_mpp": slide.file_mpp,
        "objective": slide.objective,
        "vendor": slide.vendor,
        "backend": slide.backend,
        "bounds_px0": list(slide.bounds_px0),
        "kind": slide.kind,
        "synthetic": slide.synthetic,
        "foreground_mm2": area.area_mm2,
        "case": entry.case_facts,
    }


def _mpp_source(slide: Slide, entry: SlideEntry) -> str:
    if slide.mpp_source != "given":
        return slide.mpp_source
    return "manifest" if entry.mpp is not None else "given"


class _Timer:
    """Wall-clock seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._started = time.monotonic()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        before = time.monotonic()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - before

    def total(self) -> dict[str, float]:
        """Seconds by stage, and ``total`` since the slide was begun."""
        return self.seconds | {"total": time.monotonic() - self._started}


def _silent(_: int) -> AbstractContextManager[Callable[[float], None]]:
    return nullcontext(lambda _amount: None)
