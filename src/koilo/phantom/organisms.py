"""Training pictures of organisms: crops of a phantom centre with what they hold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from koilo.phantom.bank import Bank
from koilo.phantom.canvas import Placement, Window, picture
from koilo.phantom.centre import Centre
from koilo.phantom.crops import Clutter, training_bank
from koilo.phantom.kinds_organism import ORGANISMS, draw_organism
from koilo.phantom.layout import draw_kinds, scatter_bystanders, scatter_cells

ORGANISM_NAMES = tuple(ORGANISMS)

_REACH_UM = 30.0
_FILM_RANGE = 1 << 19


def draw_organism_crops(
    rng: np.random.Generator,
    centre: Centre,
    *,
    n: int = 64,
    mpp: float = 0.5,
    size_px: int = 96,
    without: float = 0.35,
    second: float = 0.1,
    bank: Bank | None = None,
    clutter: Clutter | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Crops among cells and debris, some of which show an organism, a few two.

    Yeast that lies about as debris counts as Candida where its middle is in the crop.

    Args:
        rng: fixes everything for a given bank.
        centre: stain, optics and crowding.
        n: number of crops.
        mpp: µm a pixel.
        size_px: side of the crops.
        without: share of crops that no organism is put into.
        second: share of the others that show two kinds.
        bank: cells to place between; None takes `training_bank` of seed 0.
        clutter: crowding and mimics; None takes the values of `Clutter`.

    Returns:
        Crops uint8 RGB (N, P, P, 3) and what they hold (N, 5), columns as `ORGANISM_NAMES`.
    """
    bank, clutter = bank or training_bank(0), clutter or Clutter()
    crops = np.empty((n, size_px, size_px, 3), np.uint8)
    holds = np.zeros((n, len(ORGANISM_NAMES)), bool)
    half = size_px * mpp / 2
    window = Window(-half, -half, mpp, size_px, size_px)
    for i in range(n):
        placements = _surroundings(rng, centre, bank, half + _REACH_UM, clutter)
        if rng.random() >= without:
            count = 1 + int(rng.random() < second)
            for k, name in enumerate(rng.choice(ORGANISM_NAMES, count, replace=False)):
                placements.append(_organism(rng, str(name), 0.35 * half if k else 2.0))
        film = (int(rng.integers(_FILM_RANGE)), int(rng.integers(_FILM_RANGE)))
        crops[i] = picture(placements, centre, window, film)
        for placement in placements:
            name = {"yeast": "candida"}.get(placement.sprite.kind, placement.sprite.kind)
            if name in ORGANISMS and max(abs(placement.x_um), abs(placement.y_um)) < half:
                holds[i, ORGANISM_NAMES.index(name)] = True
    return crops, holds


def _surroundings(
    rng: np.random.Generator, centre: Centre, bank: Bank, reach_um: float, clutter: Clutter
) -> list[Placement]:
    """Cells, neutrophils and debris as they lie on the centre's slides."""

    def spot(draw: np.random.Generator) -> tuple[float, float]:
        x, y = draw.uniform(-reach_um, reach_um, 2)
        return float(x), float(y)

    density = centre.cells_per_mm2 * clutter.median * rng.lognormal(0, clutter.sigma)
    n_cells = int(rng.poisson(density * (2 * reach_um / 1000) ** 2))
    placements = scatter_bystanders(rng, bank, centre, n_cells, spot)
    kinds = draw_kinds(rng, centre, n_cells, {}, clutter.mimics)
    return placements + scatter_cells(rng, bank, centre, kinds, spot)


def _organism(rng: np.random.Generator, name: str, off_um: float) -> Placement:
    x, y = rng.normal(0, off_um, 2)
    return Placement(
        sprite=draw_organism(rng, name),
        x_um=float(x),
        y_um=float(y),
        angle=rng.uniform(0, 2 * np.pi),
        scale=rng.uniform(0.9, 1.1),
        gains=rng.lognormal(0, (0.1, 0.15, 0.15, 0.15)).astype(np.float32),
        defocus_um=float(rng.uniform(0.4, 1.2)) if rng.random() < 0.1 else 0.0,
    )
