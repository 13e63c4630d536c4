"""A slide's results folder as a screening leaves it, from the made results of these tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from koilo.files import write_text
from koilo.report.drawn import draw, write_drawn
from koilo.report.render import render_page
from koilo.results import REPORT, write_slide_result
from koilo.types import SlideResult

from .conftest import FRAME, make_crops, make_overview


def write_slide(out: Path, result: SlideResult, spec: dict[str, Any]) -> Path:
    """Write all files of one slide below ``out``; its folder."""
    folder = out / result.slide_id
    folder.mkdir(parents=True, exist_ok=True)
    if result.status == "done":
        drawn = draw(
            result,
            bundle_spec=spec,
            overview_rgb=make_overview(),
            overview_frame=FRAME,
            crops=make_crops(len(result.cells)),
            crop_mpp=0.5,
            quality_map=(np.random.default_rng(3).random((6, 8)), FRAME),
        )
        write_drawn(folder, drawn)
        write_text(folder / REPORT, render_page(result, drawn))
    write_slide_result(folder, result)
    return folder
