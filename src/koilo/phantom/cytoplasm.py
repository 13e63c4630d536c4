"""Cytoplasm: thickness, folds, halo, vacuoles and granules, in the dyes of its tint."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from koilo.phantom.outlines import Outline, area, moved, nucleus_outline
from koilo.phantom.raster import Map, Raster

TINTS = {  # amounts of haematoxylin, light green, eosin, orange G for one unit of cytoplasm
    "cyan": (0.06, 0.95, 0.14, 0.04),
    "pink": (0.04, 0.24, 0.56, 0.48),
    "orange": (0.03, 0.14, 0.32, 0.98),
}


@dataclass(frozen=True)
class CytoplasmLook:
    """What to paint: amounts and counts drawn from a kind."""

    tint: str
    second_tint: str
    second_share: float
    amount: float
    dome: float
    folds: int
    granules: bool
    vacuoles: int
    pale_centre: float
    halo: Outline | None
    halo_clearing: float
    halo_rim: float
    flat: bool


def halo_outline(
    rng: np.random.Generator, nuclei: tuple[Outline, ...], ratio: float, widest_um: float
) -> Outline:
    """A clear zone ``ratio`` times as wide as the nuclei together, a little eccentric.

    Its radius stays under ``widest_um`` so that a rim of cytoplasm is left, but never under 1.15
    times the nuclei's reach.
    """
    points = np.concatenate(nuclei)
    middle = (points.max(0) + points.min(0)) / 2
    reach = np.linalg.norm(points - middle, axis=1).max()
    radius = max(min(reach * ratio, widest_um), 1.15 * reach)
    zone = nucleus_outline(rng, np.pi * radius**2, rng.uniform(1.0, 1.4), 0.045)
    shift = rng.normal(0, 0.16 * (radius - reach), 2)
    return moved(zone, float(middle[0] + shift[0]), float(middle[1] + shift[1]))


def paint_cytoplasm(
    rng: np.random.Generator, raster: Raster, cover: Map, nuclei_cover: Map, look: CytoplasmLook
) -> NDArray[np.float32]:
    """Dye amounts (H, W, 4) of a cell's body; thinner where the nuclei lie."""
    depth = raster.depth_um(cover)
    thickness = _thickness(rng, raster, depth, look)
    for _ in range(look.folds):
        thickness += _fold(rng, raster, depth)
    if look.pale_centre:
        thickness *= 1 - look.pale_centre * _core(raster, depth)
    if look.halo is not None:
        thickness = _with_halo(raster, thickness, depth, look)
    for _ in range(look.vacuoles):
        thickness = _with_vacuole(rng, raster, thickness, depth)
    thickness *= cover * (1 - 0.45 * nuclei_cover)
    dyes = _tinted(
        rng, raster, (thickness.clip(0, None) * look.amount).astype(np.float32), depth, look
    )
    if look.granules:
        dyes += _granules(rng, raster, cover, depth)
    return dyes


def _thickness(rng: np.random.Generator, raster: Raster, depth: Map, look: CytoplasmLook) -> Map:
    half = float(depth.max()) + 1e-3
    ball = np.sqrt((1 - (1 - (depth / half).clip(0, 1)) ** 2).clip(0, 1))
    thickness = (1 - look.dome) + look.dome * 1.35 * ball
    cloud = 0.13 * raster.noise(rng, 7.0) + 0.07 * raster.noise(rng, 2.2)
    grain = 0.07 * raster.noise(rng, 0.75) + 0.06 * raster.noise(rng, 0.3)
    thickness *= (1 + cloud + grain).clip(0.2, None)
    if look.flat:
        thickness *= 1 + 0.05 * raster.noise(rng, 0.8, stretch=5.0)
    edge = rng.uniform(0.15, 0.7) if look.flat else rng.uniform(0.0, 0.35)
    return thickness + edge * np.exp(-((depth / 0.55) ** 2))


def _fold(rng: np.random.Generator, raster: Raster, depth: Map) -> Map:
    """A crease: dense on the line, fading to one side, or a flap doubling the cell's edge."""
    reach = float(depth.max())
    at = rng.normal(0, 0.55 * reach, 2)
    across = raster.line(at[0], at[1], rng.uniform(0, np.pi), rng.normal(0, 0.012))
    strength = rng.uniform(0.3, 1.0)
    if rng.random() < 0.35:
        width = rng.uniform(2.0, 6.0)
        flap = ((across > 0) & (across < width)).astype(np.float32)
        return strength * 0.7 * flap * (1 - across / (width * 1.6)).clip(0, 1)
    width = rng.uniform(0.25, 0.7)
    crease = np.exp(-((across / width) ** 2)) + 0.35 * np.exp(-np.abs(across) / 2.0) * (across > 0)
    along = (0.5 + 0.5 * raster.noise(rng, 9.0)).clip(0, 1)
    return strength * crease * along


def _core(raster: Raster, depth: Map) -> Map:
    half = float(depth.max()) + 1e-3
    return 1 / (1 + np.exp(-((depth / half) - 0.42) * 14))


def _with_halo(raster: Raster, thickness: Map, depth: Map, look: CytoplasmLook) -> Map:
    assert look.halo is not None
    zone = raster.fill(look.halo) * (depth > 1.2)
    outside = raster.depth_um(1 - zone)
    rim = look.halo_rim * np.exp(-outside / 2.2) * (1 - zone)
    return thickness * (1 + rim) * (1 - look.halo_clearing * zone)


def _with_vacuole(rng: np.random.Generator, raster: Raster, thickness: Map, depth: Map) -> Map:
    radius = rng.uniform(0.5, 1.9)
    rows, columns = np.nonzero(depth > radius * 0.8)
    if not len(rows):
        return thickness
    pick = int(rng.integers(len(rows)))
    x, y = raster.x_um[0, columns[pick]], raster.y_um[rows[pick], 0]
    disc = raster.disc(x, y, radius)
    rim = raster.disc(x, y, radius + 0.4) - disc
    return thickness * (1 - rng.uniform(0.5, 0.85) * disc) + 0.25 * rim


def _tinted(
    rng: np.random.Generator, raster: Raster, amount: Map, depth: Map, look: CytoplasmLook
) -> NDArray[np.float32]:
    first = np.array(TINTS[look.tint], np.float32)
    if look.second_share <= 0:
        return amount[..., None] * first
    blend = _core(raster, depth) + 0.25 * raster.noise(rng, 6.0)
    second_amount = amount * (look.second_share * blend.clip(0, 1)).astype(np.float32)
    second = np.array(TINTS[look.second_tint], np.float32)
    both = np.stack([amount - second_amount, second_amount], axis=-1)
    return cv2.transform(both, np.stack([first, second], axis=1))


def _granules(
    rng: np.random.Generator, raster: Raster, cover: Map, depth: Map
) -> NDArray[np.float32]:
    """Keratohyalin: dark dots of 0.3-0.6 µm, denser towards the middle."""
    dots = np.zeros_like(cover)
    rows, columns = np.nonzero(depth > 0.15 * depth.max())
    for pick in rng.integers(len(rows), size=int(rng.integers(8, 60))):
        r, c = rows[pick], columns[pick]
        dots[r : r + int(rng.integers(1, 4)), c : c + int(rng.integers(1, 4))] = rng.uniform(
            0.2, 0.6
        )
    return dots[..., None] * np.array([0.8, 0.05, 0.4, 0.1], np.float32)


def halo_area_um2(halo: Outline | None, nuclei: tuple[Outline, ...]) -> float:
    """Area of the clear zone less the nuclei in it; 0 without one."""
    return 0.0 if halo is None else max(area(halo) - sum(area(n) for n in nuclei), 0.0)
