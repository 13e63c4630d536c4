"""Measure tiles while they stream; judge picture and cellularity from it, as two results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from koilo.slides import Slide
from koilo.slides.adequacy import estimate_adequacy, estimate_total, sample_tiles
from koilo.slides.foreground import Foreground, glass_colour
from koilo.slides.quality import BLUR_LIMIT_UM, TileQuality, judge_image_quality, measure_tile
from koilo.slides.squamous import count_squamous
from koilo.types import Adequacy, ImageQuality, Tile

NO_CELLS = "rescan: no cells found"


class TileMeasure(NamedTuple):
    """What was measured of one tile; ``n_squamous`` is None where it was not in the sample."""

    quality: TileQuality
    n_squamous: int | None


class QualityMap(NamedTuple):
    """Width of each tile's edges (rows, columns) in µm, the lower the sharper; NaN: not judged.

    ``frame_px0``: what the map covers, in level-0 pixels. Wider than ``limit_um`` is out of focus.
    """

    blur_um: NDArray[np.float32]
    frame_px0: tuple[float, float, float, float]
    limit_um: float


@dataclass(frozen=True)
class TileMeter:
    """Measures focus and stain of every tile, and counts squamous cells in a sample of them.

    It is called from several threads at once. ``glass`` is the slide's own blank colour (3,);
    ``step_px`` is what a tile does not share with the next one.
    """

    tiles: Sequence[Tile]
    glass: NDArray[np.float64]
    step_px: int
    sample: frozenset[Tile]

    def __call__(self, tile: Tile, rgb: NDArray[np.uint8]) -> TileMeasure:
        """Measure ``tile``, whose pixels within the slide are ``rgb`` uint8 (H, W, 3)."""
        quality = measure_tile(rgb, self.glass)
        if tile not in self.sample:
            return TileMeasure(quality, None)
        if quality.focus == "blurred":
            return TileMeasure(quality, 0)  # what is out of focus is not well visualised
        own = rgb[: self.step_px, : self.step_px]
        return TileMeasure(quality, count_squamous(own, tile.mpp, self.glass))


def build_meter(tiles: Sequence[Tile], overview_rgb: NDArray[np.uint8], step_px: int) -> TileMeter:
    """The meter of one slide, whose overview is uint8 (H, W, 3)."""
    sample = frozenset(tiles[index] for index in sample_tiles(len(tiles)))
    return TileMeter(tiles, glass_colour(overview_rgb), step_px, sample)


def assess_slide(
    measures: Sequence[TileMeasure],
    slide: Slide,
    area: Foreground,
    *,
    n_cells: int,
    suspicious: bool,
    preparation: str | None,
    limits: Mapping[str, int],
    flags: Sequence[str],
) -> tuple[ImageQuality, Adequacy]:
    """Judge the picture and estimate the specimen's cells; neither withholds a number.

    Args:
        measures: of the slide's tiles.
        slide: the slide.
        area: its foreground.
        n_cells: cells that the detector kept.
        suspicious: whether the slide was called positive.
        preparation: as the manifest says.
        limits: a laboratory's own, by preparation; the table's where it has none.
        flags: findings of other parts, as ``mpp mismatch``.
    """
    qualities = [measure.quality for measure in measures]
    quality = judge_image_quality(qualities, area, n_cells=n_cells, flags=flags)
    if not n_cells:
        why = [area.reason] if area.reason else []
        quality = replace(quality, verdict=NO_CELLS, flags=(*quality.flags, *why))
    counts = [measure.n_squamous for measure in measures if measure.n_squamous is not None]
    adequacy = estimate_adequacy(
        estimate_total(counts, len(measures)) if counts else None,
        preparation=preparation,
        limits=limits,
        kind=slide.kind,
        suspicious=suspicious,
        reason=area.reason or "no foreground",
    )
    return quality, adequacy


def draw_quality_map(
    tiles: Sequence[Tile], measures: Sequence[TileMeasure], step_px0: float
) -> QualityMap | None:
    """Blur of each tile in its place; None without tiles.

    Args:
        tiles: of one grid.
        measures: one a tile.
        step_px0: from one tile of the grid to the next, in level-0 pixels.
    """
    if not tiles:
        return None
    corners = np.array([(tile.x_px0, tile.y_px0) for tile in tiles], np.float64)  # (N, 2)
    left, top = corners.min(axis=0)
    column, row = np.rint((corners - (left, top)) / step_px0).astype(int).T
    blur_um = np.full((row.max() + 1, column.max() + 1), np.nan, np.float32)
    blur_um[row, column] = [measure.quality.blur_um for measure in measures]
    width_px0, height_px0 = blur_um.shape[1] * step_px0, blur_um.shape[0] * step_px0
    return QualityMap(blur_um, (left, top, width_px0, height_px0), BLUR_LIMIT_UM)
