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

from koilo.errors import SlideError
from koilo.manifest import SlideEntry
from koilo.pipeline.assess import QualityMap, assess_slide, build_meter, draw_quality_map
from koilo.pipeline.carry import add_reasons
from koilo.pipeline.find import OVERLAP_PX, FoundCells, find_cells
from koilo.pipeline.judged import Judged, count_organisms, judge_cells
from koilo.pipeline.models import Models
from koilo.pipeline.pixel_size import mpp_flags, open_to_read
from koilo.pipeline.reasons import explain_cells
from koilo.pipeline.reference import Reference, find_reference
from koilo.pipeline.workers import Workers, open_workers, usable_cores
from koilo.slides import Slide, tile_grid
from koilo.slides.foreground import Foreground, foreground
from koilo.types import Cell, SlideResult, Tile

Watch = Callable[[int], AbstractContextManager[Callable[[float], None]]]
"""Called with the number of tiles; gives what is called with each number done."""

Frame = tuple[float, float, float, float]

_OVERVIEW_PX = 1400

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
    judged = judge_cells(slide, found, models, workers, timer)
    with timer("descriptions"):
        cells, reference = _describe(slide, tiles, found, judged, models, meter.glass, workers)
    with timer("quality"):
        flags = mpp_flags(entry, settings.mpp, slide.file_mpp)
        quality, adequacy = assess_slide(
            found.measures,
            slide,
            area,
            n_cells=len(cells),
            suspicious=judged.positive is True,
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
        label=judged.call.label if judged.call else None,
        probabilities=judged.probabilities,
        p_positive=judged.call.p_positive if judged.call else None,
        positive=judged.positive,
        threshold=models.threshold(slide.kind),
        n_cells=len(cells),
        cells=cells,
        image_quality=quality,
        adequacy=adequacy,
        organisms=count_organisms(cells, models.organisms),
        slide=_slide_facts(slide, entry, area) | {"nuclear_reference": reference.facts},
    )
    with timer("reasons"):
        result = add_reasons(
            result, judged.call, models, judged.boxes, judged.features, judged.crops
        )
    result = replace(result, seconds=timer.total())
    return Reading(result, overview, frame, judged.crops, quality_map, found.busy_s)


def _describe(
    slide: Slide,
    tiles: Sequence[Tile],
    found: FoundCells[Any],
    judged: Judged,
    models: Models,
    glass: NDArray[np.floating],
    workers: Workers,
) -> tuple[tuple[Cell, ...], Reference]:
    """The kept cells with measures and texts, and the nuclei that they are measured against."""
    mpp, size_px = models.classifier.mpp, models.classifier.input_px
    reference = find_reference(slide, tiles, found.measures, glass, mpp=mpp, size_px=size_px)
    cells = explain_cells(
        judged.cells,
        judged.crops,
        judged.features,
        mpp=mpp,
        glass=glass,
        reference=reference,
        describer=models.describer,
        workers=workers,
    )
    return cells, reference


def _overview(slide: Slide) -> tuple[NDArray[np.uint8], Frame]:
    """The scanned part of the slide, small, and its frame in level-0 pixels."""
    x, y, width, height = slide.bounds_px0
    downsample = max(width / _OVERVIEW_PX, height / _OVERVIEW_PX, 1.0)
    size = max(1, round(width / downsample)), max(1, round(height / downsample))
    return slide.read_at_downsample((x, y), downsample, size), (x, y, width, height)


def excluded_area(area: Foreground) -> BaseGeometry:
    """Pen, bubbles, rims and missing areas as one geometry."""
    return unary_union(list(area.excluded.values()))


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
