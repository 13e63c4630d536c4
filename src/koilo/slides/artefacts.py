"""Find what lies on a slide and is no specimen: ink, bubbles, coverslip edges, missing areas.

All functions work on a small overview: its optical densities against the blank glass, with ``um``
micrometres per overview pixel. Masks are bool (H, W).
Colour rules were set on the green pen of a real Papanicolaou slide (OD .75/.40/.50) and checked
on the 189 CRIC fields, where no patch of 100 µm follows any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Channel = NDArray[np.float32]

INK_COLOURS = ("green", "blue", "black", "red")

_PEN_RADIUS_UM = 50.0  # a stroke is at least 0.1 mm wide where it is seen whole
_PEN_LEAST_MM2 = 0.04
_INK_GAP_UM = 30.0  # cells under ink look like holes in it
_PEN_REACH_UM = 500.0  # how far a pale fringe may stretch from solid ink
_PEN_MARGIN_UM = 80.0
_BUBBLE_LEAST_UM = 250.0
_EDGE_LEAST_UM = 1500.0
_EDGE_MOST_WIDE_UM = 400.0
_RIM_GREY = 0.30  # a refraction rim's chroma is less than this share of its density
_FAINT_OD = 0.06
_MISSING_LEAST_UM = 100.0


@dataclass(frozen=True)
class Density:
    """Base-10 optical density of each channel, their least and their greatest, float32 (H, W)."""

    r: Channel
    g: Channel
    b: Channel
    low: Channel
    high: Channel


def optical_density(
    rgb: NDArray[np.uint8], glass: Sequence[float] | NDArray[np.float64]
) -> Density:
    """Density of ``rgb`` uint8 (H, W, 3) against blank ``glass`` (3,), never below 0."""
    levels = np.arange(256, dtype=np.float64)
    tables = [np.maximum(-np.log10((levels + 1) / (g + 1)), 0).astype(np.float32) for g in glass]
    r, g, b = (
        cv2.LUT(channel, table) for channel, table in zip(cv2.split(rgb), tables, strict=True)
    )
    return Density(r, g, b, cv2.min(cv2.min(r, g), b), cv2.max(cv2.max(r, g), b))


def find_pen(od: Density, um: float, missing: Mask) -> Mask:
    """Ink of a felt pen, its pale fringe included.

    Solid ink is recognised by colour and by being wider than any cell; the fringe is what hangs
    together with it, is of like colour and lies within half a millimetre. ``missing`` areas, as
    black as ink, are none.
    """
    found = np.zeros(od.high.shape, bool)
    for colour in INK_COLOURS:
        solid = _large(_is_ink(od, colour) & ~missing, _PEN_LEAST_MM2, um)
        whole = closed(solid, _INK_GAP_UM / um) & ~missing
        seed = _large(opened(whole, _PEN_RADIUS_UM / um), _PEN_LEAST_MM2, um)
        if seed.any():
            found |= _with_fringe(seed, od, colour, um)
    return dilated(found, _PEN_MARGIN_UM / um) if found.any() else found


def find_bubbles(od: Density, um: float) -> Mask:
    """Air bubbles: closed, thin, grey, round rims; the whole disc is returned.

    A bubble is at least 0.25 mm wide, its rim is near a circle, and it is mostly pale inside.
    """
    rim = closed(_is_rim(od), 30.0 / um)
    found = np.zeros(rim.shape, np.uint8)
    contours, _ = cv2.findContours(rim.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for contour in contours:
        if len(contour) >= 5 and _is_round_ring(contour, od.high, um):
            cv2.drawContours(found, [contour], -1, 1, thickness=cv2.FILLED)
    return dilated(found.astype(bool), 30.0 / um) if found.any() else found.astype(bool)


def find_coverslip_edges(od: Density, um: float) -> Mask:
    """Edges of the coverslip: straight grey lines of 1.5 mm and more, with a margin."""
    rim = closed(_is_rim(od), 30.0 / um).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(rim, connectivity=8)
    found = np.zeros(rim.shape, bool)
    for index in range(1, count):
        x, y, w, h = (int(v) for v in stats[index, :4])
        if np.hypot(w, h) * um < _EDGE_LEAST_UM:
            continue
        piece = labels[y : y + h, x : x + w] == index
        if _is_straight(piece, um):
            found[y : y + h, x : x + w] |= piece
    return dilated(found, 60.0 / um) if found.any() else found


def find_missing(
    rgb: NDArray[np.uint8], glass: Sequence[float] | NDArray[np.float64], um: float
) -> Mask:
    """Rectangles of pure black or pure white left by failed stitching.

    White counts only where the glass itself is darker than white; small overviews of a blank frame
    are therefore never missing.
    """
    r, g, b = cv2.split(rgb)
    black = cv2.max(cv2.max(r, g), b) <= 6
    white = cv2.min(cv2.min(r, g), b) >= 254 if max(glass) < 252 else np.zeros(black.shape, bool)
    found = np.zeros(black.shape, bool)
    for flat in (black, white):
        count, labels, stats, _ = cv2.connectedComponentsWithStats(flat.astype(np.uint8), None, 4)
        for index in range(1, count):
            x, y, w, h, area = (int(v) for v in stats[index])
            if min(w, h) * um >= _MISSING_LEAST_UM and area >= 0.85 * w * h:
                found[y : y + h, x : x + w] |= labels[y : y + h, x : x + w] == index
    return found


def disc(radius_px: float) -> NDArray[np.uint8]:
    """A round structuring element; a radius under half a pixel is the single pixel."""
    size = 2 * max(0, round(radius_px)) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))


def dilated(mask: Mask, radius_px: float) -> Mask:
    """``mask`` grown by a disc; by distance, so that a large radius costs no more than a small."""
    if not mask.any():
        return mask.copy()
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5) <= radius_px


def eroded(mask: Mask, radius_px: float) -> Mask:
    """``mask`` shrunk by a disc; beyond the border it goes on as at the border."""
    if mask.all():
        return mask.copy()
    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5) > radius_px


def closed(mask: Mask, radius_px: float) -> Mask:
    """``mask`` with gaps up to two radii closed; beyond the border lies nothing."""
    pad = max(1, round(radius_px) + 1)
    return eroded(dilated(np.pad(mask, pad), radius_px), radius_px)[pad:-pad, pad:-pad]


def opened(mask: Mask, radius_px: float) -> Mask:
    """``mask`` without what is thinner than two radii; what touches the border goes on beyond."""
    pad = max(1, round(radius_px) + 1)
    big = np.pad(mask, pad, mode="edge")
    return dilated(eroded(big, radius_px), radius_px)[pad:-pad, pad:-pad] & mask


def _is_ink(od: Density, colour: str, scale: float = 1.0) -> Mask:
    """Pixels of one ink colour; ``scale`` below 1 lets paler ink in."""
    r, g, b = od.r, od.g, od.b
    if colour == "green":
        return (r > 0.30 * scale) & (r > 1.25 * g) & (b >= g)
    if colour == "blue":
        return (r > 0.50 * scale) & (r > 1.2 * g) & (b < 0.4 * r)
    if colour == "red":
        return (g > 0.70 * scale) & (b > 0.50 * scale) & (r < 0.25 * g)
    return (od.low > 0.60 * scale) & (od.high - od.low < 0.25 + 0.2 * (1 - scale))


def _with_fringe(seed: Mask, od: Density, colour: str, um: float) -> Mask:
    """``seed`` and the like-coloured, paler pixels that hang together with it."""
    fringe = (_is_ink(od, colour, 0.2) | _is_ink(od, "black", 0.4)) & dilated(
        seed, _PEN_REACH_UM / um
    )
    _, labels = cv2.connectedComponents((fringe | seed).astype(np.uint8), connectivity=8)
    touching = np.unique(labels[seed])
    return np.isin(labels, touching[touching > 0])


def _large(mask: Mask, least_mm2: float, um: float) -> Mask:
    """Components of at least ``least_mm2``."""
    if not mask.any():
        return mask
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    keep = stats[:, cv2.CC_STAT_AREA] * um * um / 1e6 >= least_mm2
    keep[0] = False
    return keep[labels]


def _is_rim(od: Density) -> Mask:
    """Grey, not pale: refraction at an edge takes all colours alike, stain does not."""
    return (od.high > _FAINT_OD) & (od.high - od.low < _RIM_GREY * od.high)


def _is_round_ring(contour: NDArray[np.int32], density: Channel, um: float) -> bool:
    x, y, w, h = cv2.boundingRect(contour)
    area, length = cv2.contourArea(contour), cv2.arcLength(contour, True)
    if min(w, h) * um < _BUBBLE_LEAST_UM or area <= 0 or min(w, h) < 9:
        return False
    if 4 * np.pi * area / length**2 < 0.7 or min(w, h) < 0.6 * max(w, h):
        return False
    inner = np.zeros((h, w), np.uint8)
    cv2.drawContours(inner, [contour], -1, 1, thickness=cv2.FILLED, offset=(-x, -y))
    inside = cv2.erode(inner, disc(0.12 * min(w, h))) > 0
    if not inside.any():
        return False
    x_slice, y_slice = slice(x, x + w), slice(y, y + h)
    return float((density[y_slice, x_slice][inside] < _FAINT_OD).mean()) > 0.7


def _is_straight(piece: Mask, um: float) -> bool:
    """Whether the pixels of ``piece`` lie along one line, at most 0.4 mm wide."""
    rows, columns = np.nonzero(piece)
    points = np.stack([columns, rows], axis=1).astype(np.float32)  # (N, 2)
    (_, _), (a, b), _ = cv2.minAreaRect(points)
    long_um, wide_um = max(a, b) * um, (min(a, b) + 1) * um
    return long_um >= _EDGE_LEAST_UM and wide_um <= min(_EDGE_MOST_WIDE_UM, 0.15 * long_um)
