"""Crops of a composed slide: each real cell cut out, laid over its slide's ground, and ranked.

A cell's patch is its field over that field's glass, faded out at the border; it multiplies the
ground (densities add: `koilo.phantom.patch`). The nucleus lies in the middle, as detectors put it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from koilo.phantom.composed_cohort.config import ComposedConfig
from koilo.phantom.composed_cohort.grounds import Ground
from koilo.phantom.composed_cohort.pools import LEAST_REACH_UM, Pool, RealCell
from koilo.phantom.patch import Cut, cut_patch, lay_over

GROUNDS_A_SLIDE = 3
_REACH_UM = (14.0, 22.0)
_JITTER_UM = 1.2
_MIDDLE_UM = 6.0


def compose_crops(
    rng: np.random.Generator,
    config: ComposedConfig,
    pool: Pool,
    cells: Sequence[RealCell],
    grounds: Sequence[Ground],
) -> tuple[NDArray[np.uint8], list[str]]:
    """Crops (n, P, P, 3) of a slide's cells, and the name of the ground of each.

    The ground is of a few pictures of ``grounds``, the same few for all cells of the slide.
    """
    few = [grounds[i] for i in rng.permutation(len(grounds))[:GROUNDS_A_SLIDE]]
    crops = np.empty((len(cells), config.crop_px, config.crop_px, 3), np.uint8)
    names = []
    for number, cell in enumerate(cells):
        ground = few[int(rng.integers(len(few)))]
        crops[number] = _set_into(rng, config, pool, cell, ground.crop(rng, config.crop_px))
        names.append(ground.name)
    return crops, names


def darkness(crops: NDArray[np.uint8], mpp: float) -> NDArray[np.float32]:
    """The rule by which cells are ranked: red light lost within 6 µm of the middle, 0 to 1 (n,).

    Nuclei are darkest in red; a large dark nucleus fills the disc. It stands in for a detector's
    score, since the shipped detector has seen all of CRIC.
    """
    side = crops.shape[1]
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    disc = np.hypot(x, y) * mpp <= _MIDDLE_UM
    return np.asarray(1 - crops[:, disc, 0].mean(1) / 255, np.float32)


def _set_into(
    rng: np.random.Generator,
    config: ComposedConfig,
    pool: Pool,
    cell: RealCell,
    ground: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    field = pool.fields[cell.field_id]
    wanted = rng.uniform(*_REACH_UM, 2)
    reach_um = np.clip(wanted, LEAST_REACH_UM, cell.reach_um)
    dx, dy = (reach_um / field.source.mpp).tolist()
    box = (cell.x_px0 - dx, cell.y_px0 - dy, 2 * dx, 2 * dy)
    turns, mirrored = int(rng.integers(4)), bool(rng.random() < 0.5)
    cut = Cut(str(cell.field_id), box, turns, mirrored)
    patch, _ = cut_patch(field.slide, cut, (), config.mpp, field.glass, rng)
    middle = config.crop_px / 2 + rng.normal(0, _JITTER_UM / config.mpp, 2)
    height, width = patch.light.shape[:2]
    corner = round(float(middle[0] - width / 2)), round(float(middle[1] - height / 2))
    return lay_over(ground, 0, 0, [patch.at(*corner)])
