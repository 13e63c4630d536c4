"""Find the cell deposit or the tissue, leaving out ink, rims, bubbles and blank glass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon, box
from shapely.ops import unary_union
from shapely.validation import make_valid

from koilo.slides.artefacts import (
    Density,
    Mask,
    closed,
    dilated,
    find_bubbles,
    find_coverslip_edges,
    find_missing,
    find_pen,
    optical_density,
)

if TYPE_CHECKING:
    from koilo.slides.slide import Slide

Glass = NDArray[np.float64] | tuple[float, float, float]
"""Colour of blank glass, (3,)."""

Kind = Literal["deposit", "tissue", "field", "none"]

NOMINAL_MPP = 0.25
"""Scale of structuring elements where the pixel size is unknown; no result is built on it."""

_OVERVIEW_MPP = 8.0  # finest pixel an overview needs: an intermediate cell is 5 pixels wide
_OVERVIEW_MOST_PX = 2048
_OVERVIEW_LEAST_PX = 1024  # small scans are looked at more closely than that
_STAIN_OD = 0.06
_STAIN_CHROMA = 0.025
_TISSUE_PIECE_MM2 = 0.1
_TISSUE_SHARE = 0.7
_TISSUE_GAP_UM = 60.0
_TISSUE_FILL = 0.6  # real H&E slides: .78 and .89; dense phantom deposits: .35 to .43
_BLOCK_UM = 100.0
_SPREAD_UM = (400.0, 1500.0)
_DUST_UM2 = 25.0
_LEAST_BLOCKS = 3
_CUT = 0.15
_DEPOSIT_GAP_UM = 1000.0
_HOLE_MM2 = 0.05
_CELL_UM2 = 300.0
_TISSUE_MARGIN_UM = 30.0


@dataclass(frozen=True)
class Foreground:
    """Where the specimen lies on a slide.

    ``polygons_px0`` in level-0 pixels; ``mask`` bool (H, W) is the same at ``mask_downsample``
    level-0 pixels a mask pixel, its top left corner at ``mask_origin_px0``. ``excluded`` maps
    ``pen``, ``edge``, ``bubbles``, ``missing`` to what was left out (a kind not found is absent).
    ``area_mm2`` is None without a pixel size. ``reason`` says why there is none. ``glass`` is the
    colour of the slide's blank glass, against which its tiles are measured; None for a field.
    """

    polygons_px0: MultiPolygon
    mask: Mask
    mask_downsample: float
    mask_origin_px0: tuple[int, int]
    kind: Kind
    reason: str = ""
    excluded: Mapping[str, MultiPolygon] = field(default_factory=dict)
    area_mm2: float | None = None
    glass: tuple[float, float, float] | None = None

    @property
    def empty(self) -> bool:
        """True where nothing was found to read."""
        return self.polygons_px0.is_empty

    @property
    def area_px0(self) -> float:
        """Area in square level-0 pixels."""
        return float(self.polygons_px0.area)

    def shares(self, boxes_px0: NDArray[np.floating]) -> NDArray[np.float64]:
        """Share of each box that is foreground.

        Args:
            boxes_px0: (N, 4) as x, y, width, height in level-0 pixels.

        Returns:
            (N,) between 0 and 1, to the mask's resolution.
        """
        boxes = np.asarray(boxes_px0, np.float64).reshape(-1, 4)
        table = cv2.integral(self.mask.astype(np.uint8))  # (H + 1, W + 1)
        height, width = self.mask.shape
        start = (boxes[:, :2] - self.mask_origin_px0) / self.mask_downsample
        end = start + boxes[:, 2:] / self.mask_downsample
        x0, y0 = np.floor(start).astype(int).T
        x1, y1 = np.maximum(np.ceil(end).astype(int), np.floor(start).astype(int) + 1).T
        whole = (x1 - x0) * (y1 - y0)
        x0, x1 = np.clip(x0, 0, width), np.clip(x1, 0, width)
        y0, y1 = np.clip(y0, 0, height), np.clip(y1, 0, height)
        inside = table[y1, x1] - table[y0, x1] - table[y1, x0] + table[y0, x0]
        return np.asarray(inside / whole, np.float64)


def foreground(slide: Slide) -> Foreground:
    """Find the cell deposit or the tissue of ``slide`` on one small overview.

    A plain image (``kind`` ``field``) is all foreground. A sparse deposit of scattered cells is
    one region, not each cell; empty glass around it is out. Tissue is followed closely.

    Raises:
        SlideReadError: the overview cannot be read.
    """
    x, y, width, height = slide.bounds_px0
    if slide.kind == "field":
        whole = MultiPolygon([box(x, y, x + width, y + height)])
        area = None if slide.mpp is None else width * height * slide.mpp**2 / 1e6
        return Foreground(whole, np.ones((1, 1), bool), max(width, height), (x, y), "field", "",
                          {}, area)  # fmt: skip
    mpp = slide.mpp or NOMINAL_MPP
    longest = max(width, height)
    coarse_enough = min(_OVERVIEW_MPP / mpp, longest / _OVERVIEW_LEAST_PX)
    downsample = max(longest / _OVERVIEW_MOST_PX, coarse_enough, 1.0)
    size = max(1, round(width / downsample)), max(1, round(height / downsample))
    rgb = slide.read_at_downsample((x, y), downsample, size)
    glass = glass_colour(rgb)
    mask, kind, reason, found = segment(rgb, downsample * mpp, glass)
    frame = box(x, y, x + width, y + height)
    polygons = _polygons(mask, downsample, (x, y), frame)
    return Foreground(
        polygons_px0=polygons,
        mask=mask,
        mask_downsample=downsample,
        mask_origin_px0=(x, y),
        kind=kind,
        reason=reason,
        excluded={k: _polygons(m, downsample, (x, y), frame) for k, m in found.items()},
        area_mm2=None if slide.mpp is None else polygons.area * slide.mpp**2 / 1e6,
        glass=(float(glass[0]), float(glass[1]), float(glass[2])),
    )


def segment(
    rgb: NDArray[np.uint8], um: float, glass: Glass | None = None
) -> tuple[Mask, Kind, str, dict[str, Mask]]:
    """Split an overview into specimen and what was left out.

    Args:
        rgb: uint8 (H, W, 3).
        um: micrometres a pixel (nominal where unknown).
        glass: colour of blank glass; by default taken from the overview.

    Returns:
        The mask (H, W), what it is, why it is empty (else ""), and the masks left out by kind.
    """
    glass = glass_colour(rgb) if glass is None else glass
    od = optical_density(rgb, glass)
    missing = find_missing(rgb, glass, um)
    found = {
        "missing": missing,
        "pen": find_pen(od, um, missing),
        "edge": find_coverslip_edges(od, um),
        "bubbles": find_bubbles(od, um),
    }
    out = np.any(list(found.values()), axis=0)
    found = {kind: mask for kind, mask in found.items() if mask.any()}
    stained = _is_stained(od) & ~out
    mask, kind = _region(stained, out, um)
    mask &= ~out
    if mask.any():
        return mask, kind, "", found
    reason = f"only {' and '.join(found)} on the slide" if found else "the slide is blank"
    return mask, "none", reason, found


def glass_colour(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Colour of blank glass (3,): the usual bright neutral pixel, white where there is none."""
    r, g, b = cv2.split(rgb)
    low, high = cv2.min(cv2.min(r, g), b), cv2.max(cv2.max(r, g), b)
    neutral = (low >= 190) & (high - low <= 18)
    unsaturated = neutral & (low < 253)
    for chosen in (unsaturated, neutral):
        if chosen.mean() >= 0.02:
            return np.percentile(rgb[chosen], 60, axis=0).astype(np.float64)
    return np.array([250.0, 250.0, 250.0])


def _is_stained(od: Density) -> Mask:
    """Denser than glass, and coloured or dark: pale grey haze and dried medium are not."""
    return (od.high > _STAIN_OD) & ((od.high - od.low > _STAIN_CHROMA) | (od.low > 0.3))


def _region(stained: Mask, out: Mask, um: float) -> tuple[Mask, Kind]:
    """The tissue where most of the stain lies in large, solid pieces, else the deposit's region."""
    joined = closed(stained, _TISSUE_GAP_UM / um)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(joined.astype(np.uint8))
    area = stats[:, cv2.CC_STAT_AREA].astype(np.float64)
    stain = np.bincount(labels[stained], minlength=len(stats)).astype(np.float64)
    large = area * um * um >= _TISSUE_PIECE_MM2 * 1e6
    large[0] = False
    in_large = stain[large].sum()
    solid = in_large >= _TISSUE_FILL * area[large].sum() > 0
    if solid and in_large >= _TISSUE_SHARE * stain.sum():
        return _tissue(stained, um), "tissue"
    return _deposit(stained, out, um), "deposit"


def _tissue(stained: Mask, um: float) -> Mask:
    """Pieces of a cell's size and more, their small holes filled, with a margin."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        closed(stained, 15.0 / um).astype(np.uint8)
    )
    keep = stats[:, cv2.CC_STAT_AREA] * um * um >= max(_CELL_UM2, 4 * um * um)
    keep[0] = False
    return _without_holes(dilated(keep[labels], _TISSUE_MARGIN_UM / um), _HOLE_MM2, um)


def _deposit(stained: Mask, out: Mask, um: float) -> Mask:
    """The region where cells lie scattered.

    Blocks of 0.1 mm that hold any stain are counted, not the stain itself, so that one fibre or
    clump weighs no more than one cell. Their density is smoothed so widely that some eight of them
    lie under the kernel (0.4 to 1.5 mm), and cut low, at 0.15 of what is usual in the deposit: an
    empty tile costs less than a cell that was left out.
    """
    step = max(1, round(_BLOCK_UM / um))
    least = max(1.0, _DUST_UM2 / (um * um))
    occupied = (_block_sums(stained, step) >= least).astype(np.float32)
    if occupied.sum() < min(_LEAST_BLOCKS, occupied.size):
        return np.zeros(stained.shape, bool)
    valid = _block_sums(~out, step) / np.float32(step * step)
    narrow, wide = (spread / (step * um) for spread in _SPREAD_UM)
    usual = float(np.median(_smoothed(occupied, valid, narrow)[occupied > 0]))
    sigma = float(np.clip(np.sqrt(8 / (4 * np.pi * usual)), narrow, wide))
    density = _smoothed(occupied, valid, sigma)
    core = density >= _CUT * float(np.median(density[occupied > 0]))
    core = _hulls(closed(_main_pieces(core, occupied), _DEPOSIT_GAP_UM / (step * um)))
    full = cv2.resize(core.astype(np.float32), None, fx=step, fy=step,
                      interpolation=cv2.INTER_LINEAR)  # fmt: skip
    height, width = stained.shape
    return full[:height, :width] >= 0.5


def _smoothed(
    occupied: NDArray[np.float32], valid: NDArray[np.float32], sigma: float
) -> NDArray[np.float32]:
    """Share of occupied blocks round each block, of those that can be judged."""
    weight = cv2.GaussianBlur(valid, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    return cv2.GaussianBlur(occupied, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT) / np.maximum(
        weight, 0.05
    )


def _block_sums(mask: Mask, step: int) -> NDArray[np.float32]:
    """Number of true pixels in each block of ``step`` x ``step``; the last ones are padded."""
    height, width = mask.shape
    padded = np.pad(mask, ((0, -height % step), (0, -width % step)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // step, step, padded.shape[1] // step, step)
    return blocks.sum(axis=(1, 3)).astype(np.float32)


def _main_pieces(core: Mask, occupied: NDArray[np.float32]) -> Mask:
    """Pieces that hold at least a fiftieth of all occupied blocks."""
    count, labels = cv2.connectedComponents(core.astype(np.uint8))
    held = np.bincount(labels.ravel(), weights=occupied.ravel(), minlength=count)
    held[0] = 0
    return (held >= 0.02 * held.sum())[labels] & core


def _hulls(core: Mask) -> Mask:
    """Each piece with its bays and holes filled: cells also lie, fewer, where a deposit is thin."""
    contours, _ = cv2.findContours(core.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hulls = np.zeros(core.shape, np.uint8)
    for contour in contours:
        cv2.fillConvexPoly(hulls, cv2.convexHull(contour), 1)
    return hulls.astype(bool)


def _without_holes(mask: Mask, least_mm2: float, um: float) -> Mask:
    """``mask`` with its holes smaller than ``least_mm2`` filled."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), None, 4)
    small = stats[:, cv2.CC_STAT_AREA] * um * um < least_mm2 * 1e6
    small[0] = False
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    small[np.unique(edge)] = False
    return mask | small[labels]


def _polygons(
    mask: Mask, downsample: float, origin_px0: tuple[int, int], frame: Polygon
) -> MultiPolygon:
    """Outlines of ``mask`` with their holes, in level-0 pixels, within ``frame``."""
    big = cv2.resize(np.pad(mask, 1).astype(np.uint8), None, fx=2, fy=2,
                     interpolation=cv2.INTER_NEAREST)  # fmt: skip
    contours, tree = cv2.findContours(big, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    shells = [index for index in range(len(contours)) if tree[0][index][3] < 0]
    pieces = []
    for shell in shells:
        holes = [c for c, node in zip(contours, tree[0], strict=True) if node[3] == shell]
        outline = _ring(contours[shell], downsample, origin_px0)
        rings = [_ring(hole, downsample, origin_px0) for hole in holes if len(hole) >= 3]
        if outline is not None:
            pieces.append(make_valid(Polygon(outline, [r for r in rings if r is not None])))
    joined = unary_union(pieces).intersection(frame)
    parts = getattr(joined, "geoms", [joined])
    return MultiPolygon([p for p in parts if isinstance(p, Polygon) and not p.is_empty])


def _ring(
    contour: NDArray[np.int32], downsample: float, origin_px0: tuple[int, int]
) -> NDArray[np.float64] | None:
    """Contour of the doubled, padded mask as level-0 points (N, 2), a quarter pixel too tight."""
    if len(contour) < 3:
        return None
    points = (contour[:, 0, :].astype(np.float64) + 0.5) / 2 - 1  # (N, 2) in mask pixels
    return points * downsample + np.asarray(origin_px0, np.float64)
