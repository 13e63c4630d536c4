"""The slide's own yardstick."""

from __future__ import annotations

import numpy as np
import pytest

from koilo.pipeline.assess import build_meter
from koilo.pipeline.reference import LEAST, find_reference
from koilo.slides import open_slide, tile_grid
from koilo.slides.foreground import foreground
from tests.pipeline import toys


def reference_of(path):
    with open_slide(path) as slide:
        tiles = tile_grid(slide, foreground(slide), size_px=512, mpp=1.0, overlap_px=48)
        overview = slide.thumbnail((700, 700))
        meter = build_meter(tiles, overview, 464)
        read = [slide.read_at_mpp((t.x_px0, t.y_px0), t.mpp, (t.size_px, t.size_px)) for t in tiles]
        measures = [meter(tile, rgb) for tile, rgb in zip(tiles, read, strict=True)]
        return find_reference(slide, tiles, measures, meter.glass, mpp=0.5, size_px=96)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_median_nucleus_of_a_slide_is_its_yardstick(tmp_path, seed):
    image = toys.draw_cells((2400, 2400), 260, 0, seed=seed)
    reference = reference_of(toys.write_slide(tmp_path / "s.tiff", image))
    assert reference.facts["source"] == "slide"
    assert reference.n >= LEAST
    assert reference.nucleus_um2 == pytest.approx(np.pi * 4.5**2, rel=0.12)
    assert reference.nuclear_od == pytest.approx(0.5, abs=0.25)


def test_too_few_nuclei_leave_the_textbooks_size_and_say_so(tmp_path):
    image = toys.draw_cells((1200, 1200), 12, 0)
    reference = reference_of(toys.write_slide(tmp_path / "s.tiff", image))
    assert reference.n < LEAST
    assert reference.facts == {
        "source": "textbook", "nucleus_um2": 35.0, "nuclear_od": None, "n": reference.n
    }  # fmt: skip
