"""What is written of one slide: its report and files, or the one line that says why it failed."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from koilo.errors import KoiloError
from koilo.files import remove_file, write_text
from koilo.manifest import SlideEntry
from koilo.results import REPORT, RESULT, remove_exports, write_slide_result
from koilo.types import SlideResult

if TYPE_CHECKING:
    from koilo.pipeline import Models, Reading


def write_reading(folder: Path, reading: Reading, models: Models) -> SlideResult:
    """Write a slide's report and result files; result.json goes first and comes last.

    Returns:
        the result as it was written, without its cells.

    Raises:
        OutputError: the disk is full or the folder cannot be written.
    """
    from koilo.report import QualityMap
    from koilo.report.drawn import draw, write_drawn
    from koilo.report.laboratory import read_laboratory
    from koilo.report.render import render_page

    remove_file(folder / RESULT)
    remove_exports(folder)
    started = time.monotonic()
    focus = None if reading.quality_map is None else QualityMap(*reading.quality_map)
    drawn = draw(
        reading.result,
        bundle_spec=models.bundle.spec,
        overview_rgb=reading.overview_rgb,
        overview_frame=reading.overview_frame,
        crops=list(reading.crops),
        crop_mpp=models.classifier.mpp,
        quality_map=focus,
        lesion_maps=_lesion_maps(reading, models),
    )
    laboratory = read_laboratory(folder.parent)
    page = render_page(reading.result, drawn, laboratory=laboratory, language=laboratory.language)
    report_s = time.monotonic() - started
    seconds = dict(reading.result.seconds)
    seconds["total"] = seconds.pop("total", 0.0) + report_s
    seconds = {**seconds, "report": report_s, "total": seconds["total"]}
    seconds = {stage: round(value, 3) for stage, value in seconds.items()}
    result = replace(reading.result, seconds=seconds)
    write_drawn(folder, drawn)
    write_text(folder / REPORT, page)
    write_slide_result(folder, result)
    return replace(result, cells=())


def _lesion_maps(reading: Reading, models: Models) -> dict[int, NDArray[np.float32]]:
    """Where the crops that the report shows look like a lesion, by row of the cell."""
    from koilo.report.gallery import shown_cells

    rows = list(shown_cells(reading.result.cells, len(reading.crops)))
    found = models.classifier.lesion_maps(reading.crops[rows]) if rows else None
    return {} if found is None else dict(zip(rows, found, strict=True))


def failed(folder: Path, entry: SlideEntry, key: str, error: str) -> SlideResult:
    """Write down that a slide could not be read, and why."""
    result = SlideResult(entry.slide_id, str(entry.path), "failed", error=error, fingerprint=key)
    remove_exports(folder)
    write_slide_result(folder, result)
    return result


def one_line(error: Exception) -> str:
    """An error as the one line of result.json and of the terminal."""
    if isinstance(error, KoiloError):
        return str(error)
    text = " ".join(str(error).split())[:300]
    return (
        f"Unexpected {type(error).__name__}: {text or 'no message'}. "
        "A whole, readable slide is needed. Copy it again; run.log has the traceback."
    )


def describe(result: SlideResult) -> str:
    """A slide's outcome in a few words for the terminal."""
    if result.status == "failed":
        return f"failed: {result.error}"
    if result.p_positive is None:
        quality = result.image_quality
        return f"no result: {quality.verdict if quality else 'no cell found'}"
    call = f"review advised, {result.label}" if result.positive else "below the review threshold"
    seconds = result.seconds.get("total", 0.0)
    return f"{call} (p_positive {result.p_positive:.3f}), {result.n_cells} cells, {seconds:.1f} s"
