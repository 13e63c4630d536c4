"""The slide's own yardstick: the median of its intermediate nuclei, 35 µm² where too few are seen.

Stain, preparation and scanner change what a nucleus measures, so a found cell is compared with
normal cells of the same slide: nuclei of mature squamous cells in tiles that are in focus, measured
as the found cells are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koilo.cells import read_crops
from koilo.cells.morphometry import measure_cells
from koilo.pipeline.assess import TileMeasure
from koilo.slides import Slide
from koilo.slides.squamous import squamous_probabilities
from koilo.taxonomy import load_table
from koilo.types import Tile

LEAST = 50
"""Nuclei that a median needs."""

_MOST_TILES, _ENOUGH = 8, 240
_SURE = 0.8
_LARGEST_NC, _BAND_UM2 = 0.1, (18.0, 80.0)


@dataclass(frozen=True)
class Reference:
    """What nuclei are compared with; ``nuclear_od`` is None where the slide gave too few, ``n``."""

    nucleus_um2: float
    nuclear_od: float | None
    n: int

    @property
    def facts(self) -> dict[str, Any]:
        """What result.json says of it; ``source`` is ``textbook`` where the slide gave too few."""
        source = "textbook" if self.nuclear_od is None else "slide"
        return {"source": source, **asdict(self)}


def find_reference(
    slide: Slide,
    tiles: Sequence[Tile],
    measures: Sequence[TileMeasure],
    glass: NDArray[np.floating],
    *,
    mpp: float,
    size_px: int,
) -> Reference:
    """Measure intermediate nuclei of a slide.

    Args:
        slide: an open slide with a pixel size.
        tiles: its tiles, at 1.0 µm/px.
        measures: one a tile; those that were counted, in focus, are looked at, fullest first.
        glass: grey levels (3,) of its clear glass.
        mpp: µm per pixel of the crops that found cells are measured on.
        size_px: side of these crops.

    Raises:
        SlideReadError: a tile cannot be decoded.
    """
    sharp = [
        (measure.n_squamous, -index)
        for index, measure in enumerate(measures)
        if measure.n_squamous and measure.quality.focus == "sharp"
    ]
    places: list[NDArray[np.float64]] = []
    for _, index in sorted(sharp, reverse=True)[:_MOST_TILES]:
        if sum(map(len, places)) >= _ENOUGH:
            break
        places.append(_squamous_px0(slide, tiles[-index], glass))
    centres_px0 = np.concatenate(places)[:_ENOUGH] if places else np.zeros((0, 2))
    measured = measure_cells(read_crops(slide, centres_px0, mpp, size_px), mpp, glass)
    low, high = _BAND_UM2
    areas = measured["nucleus_um2"]
    own = (measured["nc_area"] < _LARGEST_NC) & (areas > low) & (areas < high)
    if own.sum() < LEAST:
        textbook = float(load_table("descriptions")["intermediate_nucleus_um2"])
        return Reference(textbook, None, int(own.sum()))
    density = float(np.median(measured["nuclear_od"][own]))
    return Reference(float(np.median(areas[own])), density, int(own.sum()))


def _squamous_px0(slide: Slide, tile: Tile, glass: NDArray[np.floating]) -> NDArray[np.float64]:
    """Centres (N, 2) in level-0 pixels of the tile's nuclei that are surely squamous."""
    rgb = slide.read_at_mpp((tile.x_px0, tile.y_px0), tile.mpp, (tile.size_px, tile.size_px))
    places, p = squamous_probabilities(rgb, np.asarray(glass, np.float64))
    corner = np.array([tile.x_px0, tile.y_px0])
    return corner + (places[p > _SURE] + 0.5) * slide.downsample_at(tile.mpp)
