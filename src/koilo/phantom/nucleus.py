"""Nuclei: chromatin, membrane, nucleoli, grooves; tinted as their cytoplasm is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from koilo.phantom.raster import Map, Raster


@dataclass(frozen=True)
class NucleusLook:
    """What to paint: ``darkness`` mean haematoxylin, ``coarseness`` 0 fine to 1 clumped.

    ``grain`` multiplies the size of the clumps.
    """

    darkness: float
    coarseness: float
    vesicular: bool
    smudged: bool
    grooved: bool
    nucleoli: int
    warm: float
    grain: float = 1.0


def paint_nucleus(
    rng: np.random.Generator, raster: Raster, cover: Map, look: NucleusLook
) -> NDArray[np.float32]:
    """Dye amounts (H, W, 4) of one nucleus; its mean over the mask is ``darkness`` ± 5 %.

    ``warm`` (0-1) shifts the tint towards eosin, as nuclei of orange cells show (PMID 6207638).
    """
    depth = raster.depth_um(cover)
    chromatin = _chromatin(rng, raster, look)
    membrane = _membrane(rng, raster, depth, look)
    body = (1 + chromatin).clip(0.12, None)
    if look.vesicular:
        body *= 0.82 + 0.18 * np.exp(-depth / 1.4)
    amount = body + membrane
    if look.grooved:
        amount += _groove(rng, raster, cover)
    inside = cover > 0.5
    amount *= look.darkness / max(float(amount[inside].mean()), 1e-3)
    dyes = np.zeros((*cover.shape, 4), np.float32)
    for _ in range(look.nucleoli):
        dot = _nucleolus(rng, raster, depth)
        amount += dot * 0.45 * look.darkness
        dyes[..., 2] += 0.35 * dot
    dyes[..., 0] = amount
    dyes[..., 2] += amount * (0.05 + 0.22 * look.warm)
    dyes[..., 3] += amount * 0.08 * look.warm
    dyes[..., 1] += amount * 0.07 * (1 - look.warm)
    return dyes * cover[..., None]


def _chromatin(rng: np.random.Generator, raster: Raster, look: NucleusLook) -> Map:
    strength = 0.25 if look.smudged else 1.0
    scale = (0.36 + 0.6 * look.coarseness) * look.grain
    clumps = raster.noise(rng, scale) + 0.6 * raster.noise(rng, 2.4 * scale)
    clumps = np.tanh(1.3 * clumps - 0.5 * look.coarseness)  # dark clumps on a paler ground
    fine = raster.noise(rng, 0.3)
    cloud = raster.noise(rng, 3.0)
    return strength * ((0.08 + 0.6 * look.coarseness) * clumps + 0.1 * fine) + 0.05 * cloud


def _membrane(rng: np.random.Generator, raster: Raster, depth: Map, look: NucleusLook) -> Map:
    width = rng.uniform(0.28, 0.42) + 0.18 * look.coarseness
    beads = (1 + (0.25 + 0.5 * look.coarseness) * raster.noise(rng, 1.1)).clip(0, None)
    strength = (0.12 if look.smudged else 0.36) + 0.3 * look.coarseness
    return strength * np.exp(-((depth / width) ** 2)) * beads


def _groove(rng: np.random.Generator, raster: Raster, cover: Map) -> Map:
    rows, columns = np.nonzero(cover > 0.5)
    x, y = raster.x_um[0, columns], raster.y_um[rows, 0]
    spread = np.cov(np.stack([x, y]))
    direction = np.linalg.eigh(spread)[1][:, 1]
    angle = float(np.arctan2(direction[1], direction[0])) + rng.normal(0, 0.15)
    across = raster.line(float(x.mean()), float(y.mean()), angle, rng.normal(0, 0.02))
    return rng.uniform(0.3, 0.6) * np.exp(-((across / 0.28) ** 2))


def _nucleolus(rng: np.random.Generator, raster: Raster, depth: Map) -> Map:
    rows, columns = np.nonzero(depth > 0.35 * depth.max())
    pick = int(rng.integers(len(rows)))
    x, y = raster.x_um[0, columns[pick]], raster.y_um[rows[pick], 0]
    return raster.disc(x, y, rng.uniform(0.45, 0.95), 0.2)
