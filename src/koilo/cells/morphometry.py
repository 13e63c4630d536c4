"""Measure found cells by classical means: nuclear area, N/C, contour, darkness and halo of a crop.

A crop is turned to optical density and laid out in rays from its middle. The nucleus is the closed
line on which density drops most, outwards, from ray to ray (the best path through all rays); the
cell's border is the same beyond the nucleus, in the stain of cytoplasm. No network takes part, so
what a network says of a cell can be held against it. Rays end 22 µm from the middle: a larger cell
is cut, and its N/C is then too high. Errors against drawn cells, whose sizes are exact, are in
docs/results.md.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from koilo.types import CELL_MEASURES

Image = NDArray[np.uint8]
Values = NDArray[np.float32]

MEASURES = CELL_MEASURES[:5]
"""What a crop alone tells; the ratios to the slide's intermediate nuclei need the slide."""

_RAYS = 48
_STEP_UM = 0.3
_REACH_UM = 22.0
_SMOOTH_UM = 0.5
_EDGE_UM = 0.9
_NUCLEUS_UM = (1.5, 12.0)
_SHARP_OD = 0.08
_RISE_WEIGHT = 3.0
_LEAST_EDGE, _LEAST_BORDER = 0.25, 0.3
_GAP_UM = 1.2
_NEAR_UM, _WIDE_UM = 3.0, 14.0
_STAIN_OD = 0.05
_SHARP_SHARE = 0.4
_RIM_SCORE = 0.12
_PALE = 0.65
_HALO_FROM_UM, _LEAST_HALO_UM, _HALO_SHARE = 0.9, 1.3, 0.6
_BLOCK = 64


def measure_cells(
    crops: Image, mpp: float, glass: NDArray[np.floating]
) -> dict[str, NDArray[np.float32]]:
    """Measures of the cells in the middle of crops, by the names of `MEASURES`.

    Args:
        crops: uint8 RGB (N, P, P, 3), each with its cell in the middle; N may be 0.
        mpp: µm per pixel of the crops.
        glass: grey levels (3,) of the slide's clear glass.

    Returns:
        float32 (N,) each; NaN where no nucleus stands out, N/C also where no border does.
    """
    blocks = [
        _measure_block(crops[start : start + _BLOCK], mpp, glass)
        for start in range(0, len(crops), _BLOCK)
    ]
    columns = np.concatenate(blocks) if blocks else np.zeros((0, len(MEASURES)), np.float32)
    return dict(zip(MEASURES, columns.T.astype(np.float32), strict=True))


def optical_density(crop: Image, glass: NDArray[np.floating]) -> Values:
    """Base-10 optical density (H, W, 3) of uint8 RGB over clear glass (3,), 0 or more."""
    levels = np.maximum(np.arange(256, dtype=np.float32), 2)
    table = np.log10(np.asarray(glass, np.float32) / levels[:, None]).clip(0, None)  # (256, 3)
    return np.asarray(cv2.LUT(crop, table[None].astype(np.float32)), np.float32)


def _measure_block(crops: Image, mpp: float, glass: NDArray[np.floating]) -> Values:
    """Measures (N, M) of a few crops; NaN where no nucleus stands out."""
    densities = [cv2.split(optical_density(crop, glass)) for crop in crops]
    # A nucleus is dark in every colour; cytoplasm lets at least one pass, whatever its dye.
    dark = [_soft(cv2.min(cv2.min(r, g), b), mpp) for r, g, b in densities]
    stain = [_soft(cv2.max(cv2.max(r, g), b), mpp) for r, g, b in densities]
    middles = np.full((len(crops), 2), (crops.shape[1] - 1) / 2, np.float32)
    first, _ = _nuclei(_rays(dark, middles, mpp))
    middles += _centroids(first) / mpp  # a nucleus is seen best from its own middle
    rays = _rays(dark, middles, mpp)
    nuclei, edge = _nuclei(rays)
    stain_rays = _rays(stain, middles, mpp)
    halos = _halos(stain_rays, nuclei)
    cells, clear = _cells(stain_rays, rays, nuclei, halos)
    inside = _within(nuclei)
    areas = _areas(nuclei)
    mean = _rays([(r + g + b) / 3 for r, g, b in densities], middles, mpp)
    measures = np.stack(
        [
            areas,
            areas / np.maximum(_areas(cells), areas),
            _irregularities(nuclei),
            _mean_over(mean, inside),
            _halo_um2(nuclei, halos) / areas,
        ],
        axis=1,
    )
    measures[edge < _LEAST_EDGE] = np.nan
    measures[~clear, MEASURES.index("nc_area")] = np.nan
    return np.asarray(measures, np.float32)


def _soft(density: Values, mpp: float) -> Values:
    return np.asarray(cv2.GaussianBlur(density, (0, 0), _SMOOTH_UM / mpp), np.float32)


def _rays(maps: list[Values], middles: Values, mpp: float) -> Values:
    """Maps (H, W) laid out in rays (N, rays, radii) from each middle (N, 2), x before y."""
    n_radii = round(_REACH_UM / _STEP_UM)
    angle = np.arange(_RAYS, dtype=np.float32) * (2 * np.pi / _RAYS)
    radius = (np.arange(n_radii, dtype=np.float32) + 0.5) * (_STEP_UM / mpp)
    x, y = np.cos(angle)[:, None] * radius, np.sin(angle)[:, None] * radius
    return np.stack(
        [
            cv2.remap(one, x + cx, y + cy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for one, (cx, cy) in zip(maps, middles.tolist(), strict=True)
        ]
    )


def _nuclei(dark: Values) -> tuple[Values, Values]:
    """Radii (N, rays) of the nuclei in µm, and how steep their edge is (N,), 0 to 1."""
    drop = _drop(dark)
    # A line beyond a rise in density would take in a neighbour.
    rise = np.cumsum(np.maximum(-drop, 0), axis=2) * _STEP_UM
    score = np.tanh(drop / _SHARP_OD) - _RISE_WEIGHT * rise
    first, last = (round(limit / _STEP_UM) for limit in _NUCLEUS_UM)
    path = _closed_path(score[:, :, first:last]) + first
    edge = np.take_along_axis(np.tanh(drop / _SHARP_OD), path[:, :, None], axis=2).mean((1, 2))
    return _radii(path), edge


def _halos(stain: Values, nuclei: Values) -> Values:
    """Radii (N, rays) in µm to which a pale zone reaches from the nucleus; 0 where there is none.

    Pale from the nucleus on, and dense after it: else the cell just ends. A cell has a halo where
    most of its rays show one.
    """
    away_um = _places_um(stain) - nuclei[:, :, None]
    around = (away_um > _HALO_FROM_UM) & (away_um < _WIDE_UM)
    rim = _PALE * _upper(stain, around, 75)[:, None, None]
    dense = around & (stain >= np.maximum(rim, _STAIN_OD))
    ends = dense.argmax(axis=2) * np.float32(_STEP_UM)  # (N, rays)
    pale = dense.any(axis=2) & (ends > nuclei + _LEAST_HALO_UM)
    return np.where(pale & (pale.mean(1, keepdims=True) > _HALO_SHARE), ends, 0).astype(np.float32)


def _cells(
    stain: Values, dark: Values, nuclei: Values, halos: Values
) -> tuple[Values, NDArray[np.bool_]]:
    """Radii (N, rays) of the cells in µm, a gap or more beyond nucleus and halo.

    With (N,) whether a border stands out, or the cell is larger than what is seen of it.
    """
    start = np.maximum(nuclei, halos)
    away_um = _places_um(stain) - start[:, :, None]
    near = _upper(stain, (away_um > _GAP_UM) & (away_um < _NEAR_UM), 60)
    level = np.maximum(near, _STAIN_OD)[:, None, None]
    # The nucleus brought down to its cytoplasm leaves one drop: to the glass.
    drop = _drop(np.minimum(stain, level)) / level
    beyond = away_um > _GAP_UM
    neighbour = np.cumsum(np.where(beyond, np.maximum(-_drop(dark), 0), 0), axis=2) * _STEP_UM
    edge = np.tanh(drop / _SHARP_SHARE)
    score = edge - _RISE_WEIGHT * neighbour
    score[:, :, -1] = np.maximum(score[:, :, -1], _RIM_SCORE)  # no border within reach
    path = _closed_path(np.where(beyond, score, -2.0))
    steep = np.take_along_axis(edge, path[:, :, None], axis=2).mean((1, 2))
    cut = (path == stain.shape[2] - 1).mean(1)
    clear = (steep > _LEAST_BORDER) | (cut > 0.5)
    return np.maximum(_radii(path), start + _GAP_UM), clear


def _upper(rays: Values, where: NDArray[np.bool_], percent: float) -> Values:
    """A percentile (N,) of a map over some places; 0 where there is none."""
    return np.array(
        [np.percentile(one[own], percent) if own.any() else 0.0
         for one, own in zip(rays, where, strict=True)], np.float32
    )  # fmt: skip


def _drop(rays: Values) -> Values:
    """How much denser the stretch before each place is than the one after it."""
    n = round(_EDGE_UM / _STEP_UM)
    padded = np.concatenate(
        [rays[:, :, :1].repeat(n, 2), rays, rays[:, :, -1:].repeat(n, 2)], axis=2
    )
    sums = np.cumsum(padded, axis=2, dtype=np.float64)
    means = (sums[:, :, n:] - sums[:, :, :-n]) / n  # mean over the n places from each on
    size = rays.shape[2]
    return (means[:, :, :size] - means[:, :, n : n + size]).astype(np.float32)


def _closed_path(score: Values) -> NDArray[np.int64]:
    """The best line (N, rays) through all rays, a step of one place at most between neighbours.

    Twice around, of which the middle turn is kept: so it closes.
    """
    n, rays, radii = score.shape
    turns = np.concatenate([score[:, rays // 2 :], score, score[:, : rays // 2]], axis=1)
    total = turns[:, 0]
    came = np.zeros((2 * rays, n, radii), np.int8)
    low = np.full((n, 1), -np.inf, np.float32)
    for ray in range(1, 2 * rays):
        down, up = np.hstack([low, total[:, :-1]]), np.hstack([total[:, 1:], low])
        best = np.maximum(np.maximum(down, up), total)
        came[ray] = np.where(total >= best, 0, np.where(down >= best, -1, 1))
        total = best + turns[:, ray]
    path = np.empty((n, 2 * rays), np.int64)
    path[:, -1] = total.argmax(1)
    for ray in range(2 * rays - 1, 0, -1):
        path[:, ray - 1] = path[:, ray] + came[ray, np.arange(n), path[:, ray]]
    return path[:, rays - rays // 2 : 2 * rays - rays // 2]


def _radii(path: NDArray[np.int64]) -> Values:
    """Places on rays as radii in µm, smoothed a little along the line: steps are no contour."""
    radii = (path + 0.5) * np.float32(_STEP_UM)
    return np.asarray((np.roll(radii, 1, 1) + 2 * radii + np.roll(radii, -1, 1)) / 4, np.float32)


def _points(radii: Values) -> tuple[Values, Values]:
    angle = np.arange(_RAYS, dtype=np.float32) * (2 * np.pi / _RAYS)
    return radii * np.cos(angle), radii * np.sin(angle)


def _areas(radii: Values) -> Values:
    """Areas (N,) in µm² of outlines given by their radii."""
    return np.asarray(
        (radii * np.roll(radii, -1, 1)).sum(1) * np.sin(2 * np.pi / _RAYS) / 2, np.float32
    )


def _centroids(radii: Values) -> Values:
    """Centroids (N, 2) in µm of outlines, x before y, from where the rays begin."""
    angle = np.arange(_RAYS, dtype=np.float32) * (2 * np.pi / _RAYS)
    cubes, squares = radii**3, (radii**2).sum(1)
    return np.stack(
        [(cubes * f(angle)).sum(1) / squares * 2 / 3 for f in (np.cos, np.sin)], axis=1
    ).astype(np.float32)


def _irregularities(radii: Values) -> Values:
    """Excess (N,) of the perimeter over that of the ellipse of equal second moments; 0 or about."""
    x, y = _points(radii)
    perimeter = np.hypot(x - np.roll(x, -1, 1), y - np.roll(y, -1, 1)).sum(1)
    values = []
    for outline, edge in zip(np.stack([x, y], axis=2), perimeter, strict=True):
        m = cv2.moments(outline.reshape(-1, 1, 2))
        spread = np.array([[m["mu20"], m["mu11"]], [m["mu11"], m["mu02"]]]) / max(m["m00"], 1e-6)
        b, a = 2 * np.sqrt(np.linalg.eigvalsh(spread).clip(1e-9, None))
        ellipse = np.pi * (3 * (a + b) - np.sqrt((3 * a + b) * (a + 3 * b)))  # Ramanujan
        values.append(edge / ellipse - 1)
    return np.array(values, np.float32)


def _within(radii: Values) -> NDArray[np.bool_]:
    """Places (N, rays, radii) within an outline."""
    return _places_um(np.empty(round(_REACH_UM / _STEP_UM))) < radii[:, :, None]


def _places_um(rays: NDArray[np.floating]) -> Values:
    """How far from the middle the places of a ray are."""
    return (np.arange(rays.shape[-1], dtype=np.float32) + np.float32(0.5)) * np.float32(_STEP_UM)


def _mean_over(rays: Values, inside: NDArray[np.bool_]) -> Values:
    """Mean (N,) of a map over an area: places count by the ground they stand for."""
    weight = inside * (np.arange(rays.shape[2]) + 0.5)
    return np.asarray(
        (rays * weight).sum((1, 2)) / np.maximum(weight.sum((1, 2)), 1e-6), np.float32
    )


def _halo_um2(nuclei: Values, halos: Values) -> Values:
    """Area (N,) between the nucleus and where its halo ends."""
    squares = (np.where(halos > 0, halos**2 - nuclei**2, 0)).sum(1)
    return np.asarray(squares * np.pi / _RAYS, np.float32)
