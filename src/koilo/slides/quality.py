"""Judge whether a slide's picture is fit to be read: focus a tile, stain, pen, missing areas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from koilo.slides.artefacts import optical_density
from koilo.slides.foreground import Foreground, Glass, glass_colour
from koilo.types import ImageQuality

BLUR_LIMIT_UM = 1.25
"""Edges wider than this (sigma) are out of focus. Calibrated on blurred real fields
(docs/log.md): sharp tiles lie at 0.2-0.85, a blur of 2 µm at 1.3-1.9."""

_REBLUR_PX = 1.2
_WINDOW_PX = 15
_LEAST_CONTRAST = 30.0  # grey levels across an edge: less is noise or haze
_LEAST_EDGES = 20
_STAIN_OD = 0.06
_FAINT_STAIN = 0.04

_RESCAN_BLURRED = 0.5
_FLAG_BLURRED = 0.1
_RESCAN_PEN = 0.3
_RESCAN_MISSING = 0.02
_LEAST_JUDGED = 4


@dataclass(frozen=True, slots=True)
class TileQuality:
    """Measures of one tile at 1.0 µm a pixel.

    ``blur_um`` is the width (sigma, µm) of its sharper edges, NaN where the tile has none to judge.
    ``stained`` is the share denser than glass, ``stain_od`` the median density of that part,
    ``hue`` its colourfulness (greatest less least density); ``black`` and ``white`` are the shares
    of pure black and pure white.
    """

    blur_um: float
    stained: float
    stain_od: float
    hue: float
    black: float
    white: float

    @property
    def focus(self) -> Literal["sharp", "blurred", "blank"]:
        """``blank`` where there is no edge to judge: undefined, not blurred."""
        if np.isnan(self.blur_um):
            return "blank"
        return "blurred" if self.blur_um > BLUR_LIMIT_UM else "sharp"


def measure_tile(rgb: NDArray[np.uint8], glass: Glass | None = None) -> TileQuality:
    """Measure one tile.

    Args:
        rgb: uint8 (H, W, 3) at 1.0 µm a pixel.
        glass: colour of blank glass (`Foreground.glass`); by default taken from the tile.
    """
    shares = np.ascontiguousarray(rgb[::2, ::2])  # a quarter of the pixels is enough for shares
    density = optical_density(shares, glass_colour(shares) if glass is None else glass)
    stain = density.high > _STAIN_OD
    r, g, b = cv2.split(shares)
    least, most = cv2.min(cv2.min(r, g), b), cv2.max(cv2.max(r, g), b)
    colour = (density.high - density.low)[stain]
    return TileQuality(
        blur_um=edge_width(rgb),
        stained=float(stain.mean()),
        stain_od=float(np.median(density.high[stain])) if colour.size else 0.0,
        hue=float(np.median(colour)) if colour.size else 0.0,
        black=float((most <= 6).mean()),
        white=float((least >= 254).mean()),
    )


def edge_width(rgb: NDArray[np.uint8]) -> float:
    """Width (sigma, pixels) of the sharper edges of a picture; NaN where it has too few edges.

    Blurring an edge of width s once more with t divides its steepness by sqrt(s² + t²) / s,
    whatever the contrast: so the ratio of both gradients at an edge's ridge tells s. The lower
    quartile over the strongest edge of each neighbourhood is taken, for a tile in focus may hold
    soft cells, but a tile out of focus holds no sharp edge. Saturates at about 3.

    Args:
        rgb: uint8 (H, W, 3).
    """
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    window = np.ones((_WINDOW_PX, _WINDOW_PX), np.uint8)
    contrast = cv2.dilate(grey, window) - cv2.erode(grey, window)
    steep = _steepness(grey)
    ridge = steep >= cv2.dilate(steep, np.ones((3, 3), np.uint8)) * 0.999
    edges = ridge & (contrast > _LEAST_CONTRAST) & (steep > 0.7 * cv2.dilate(steep, window))
    if int(edges.sum()) < _LEAST_EDGES:
        return float("nan")
    softer = _steepness(cv2.GaussianBlur(grey, (0, 0), _REBLUR_PX))
    ratio = np.clip(softer[edges] / np.maximum(steep[edges], 1e-6), 0.01, 0.999)
    return float(np.percentile(_REBLUR_PX * ratio / np.sqrt(1 - ratio**2), 25))


def judge_image_quality(
    qualities: Sequence[TileQuality],
    foreground: Foreground,
    *,
    n_cells: int | None = None,
    flags: Sequence[str] = (),
) -> ImageQuality:
    """Judge the picture; a rescan is advice and withholds no number.

    Args:
        qualities: of the tiles of the foreground, or of an even sample of them.
        foreground: of the same slide.
        n_cells: cells that the detector kept; 0 asks for a rescan, None was not counted.
        flags: findings of other parts to carry along, as ``mpp mismatch``.

    Returns:
        ``ok``, or ``rescan: <reason>`` with the gravest reason first, and the measures behind it.
    """
    measures = _measures(qualities, foreground)
    reasons = _reasons(measures, foreground, n_cells)
    verdict = f"rescan: {'; '.join(reasons)}" if reasons else "ok"
    return ImageQuality(verdict, (*_flags(measures, foreground), *flags), measures)


def _steepness(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    return cv2.magnitude(
        cv2.Sobel(grey, cv2.CV_32F, 1, 0, scale=0.125),
        cv2.Sobel(grey, cv2.CV_32F, 0, 1, scale=0.125),
    )


def _places(values: Sequence[int]) -> tuple[int, NDArray[np.intp]]:
    distinct, place = np.unique(values, return_inverse=True)
    return len(distinct), place


def _measures(qualities: Sequence[TileQuality], foreground: Foreground) -> dict[str, float]:
    """Numbers behind the verdict, each named with its unit; shares are of the specimen."""
    judged = [q.blur_um for q in qualities if q.focus != "blank"]
    stained = [q for q in qualities if q.stained > 0.01]
    hull = foreground.polygons_px0.convex_hull
    measures = {
        "tiles_measured": float(len(qualities)),
        "tiles_judged_for_focus": float(len(judged)),
        "missing_share": float(np.mean([q.black for q in qualities])) if qualities else 0.0,
    }
    if judged:
        measures["blurred_share"] = float(np.mean(np.array(judged) > BLUR_LIMIT_UM))
        measures["blur_um_median"] = float(np.median(judged))
    if stained:
        measures["stain_od_median"] = float(np.median([q.stain_od for q in stained]))
        measures["stain_colour_od_median"] = float(np.median([q.hue for q in stained]))
    for kind, name in (("pen", "pen_share"), ("missing", "missing_share")):
        if kind in foreground.excluded and hull.area > 0:
            share = foreground.excluded[kind].intersection(hull).area / hull.area
            measures[name] = max(measures.get(name, 0.0), float(share))
    return measures


def _reasons(measures: dict[str, float], foreground: Foreground, n_cells: int | None) -> list[str]:
    """Why the slide should be scanned again, gravest first; empty where it should not."""
    if foreground.empty:
        return [f"no cells found ({foreground.reason})"]
    reasons = []
    if n_cells == 0:
        reasons.append("no cells found")
    blurred = measures.get("blurred_share", 0.0)
    if measures["tiles_judged_for_focus"] >= _LEAST_JUDGED and blurred > _RESCAN_BLURRED:
        reasons.append(f"out of focus over {blurred:.0%} of the specimen")
    if measures["missing_share"] > _RESCAN_MISSING:
        reasons.append(f"areas missing from the scan ({measures['missing_share']:.0%})")
    if measures.get("pen_share", 0.0) > _RESCAN_PEN:
        reasons.append(f"pen covers {measures['pen_share']:.0%} of the specimen")
    if measures["tiles_measured"] > 0 and not _has_stain(measures):
        reasons.append("no stain")
    return reasons


def _has_stain(measures: dict[str, float]) -> bool:
    return measures.get("stain_colour_od_median", 0.0) >= _FAINT_STAIN


def _flags(measures: dict[str, float], foreground: Foreground) -> tuple[str, ...]:
    """Short findings for slides.csv, also where no rescan is asked for."""
    found = [kind for kind in ("pen", "bubbles", "edge", "missing") if kind in foreground.excluded]
    if measures.get("blurred_share", 0.0) > _FLAG_BLURRED:
        found.append("blur")
    if measures["missing_share"] > _RESCAN_MISSING and "missing" not in found:
        found.append("missing")
    return tuple(found)
