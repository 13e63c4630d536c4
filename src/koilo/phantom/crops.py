"""Training pictures without slides: single-cell crops and detector fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from koilo.phantom.arrangement import group_size
from koilo.phantom.bank import Bank, cached_bank
from koilo.phantom.canvas import Placement, Window, picture
from koilo.phantom.centre import Centre
from koilo.phantom.kinds import KINDS, kinds_of
from koilo.phantom.layout import (
    Spot,
    background_kinds,
    draw_kinds,
    place_group,
    scatter_bystanders,
    scatter_cells,
)
from koilo.phantom.truth import CellTruth, truth_of
from koilo.taxonomy import CYTOLOGY

_DEFAULT_BANK_CELLS = 600
_NEIGHBOUR_REACH_UM = 30.0
_FILM_RANGE = 1 << 19


@dataclass(frozen=True)
class Clutter:
    """What surrounds the cells of training pictures.

    Cells per mm² are the centre's times a log-normal factor (``median``, ``sigma``); mimics among
    the NILM cells come at their rate on slides times ``mimics``; a crop's centre lies off the
    nuclei's by a normal ``jitter_um``.
    """

    median: float = 0.9
    sigma: float = 0.6
    mimics: float = 3.0
    jitter_um: float = 1.0


def training_bank(seed: int, n_cells: int = _DEFAULT_BANK_CELLS) -> Bank:
    """A bank to draw training pictures from, kept between calls."""
    return cached_bank((seed, 0x7A), n_cells)


def draw_cells(
    rng: np.random.Generator,
    centre: Centre,
    classes: Sequence[str] = CYTOLOGY,
    *,
    mpp: float = 0.5,
    size_px: int = 96,
    n: int = 64,
    bank: Bank | None = None,
    clutter: Clutter = Clutter(),
) -> tuple[NDArray[np.uint8], list[CellTruth]]:
    """Crops around single cells as they lie on a slide, with neighbours, bystanders and background.

    Args:
        rng: fixes everything for a given bank.
        centre: stain, optics and the rates of mimics.
        classes: Bethesda classes, drawn evenly; NILM gives normal cells and mimics.
        mpp: µm a pixel of the crops.
        size_px: side of the crops.
        n: number of crops.
        bank: cells to place; None takes `training_bank` of seed 0.
        clutter: crowding, mimics and the crop's jitter.

    Returns:
        Crops uint8 RGB (N, P, P, 3) and one truth a crop in the crop's pixels.
    """
    bank = bank or training_bank(0)
    crops = np.empty((n, size_px, size_px, 3), np.uint8)
    truths = []
    for i in range(n):
        label = classes[int(rng.integers(len(classes)))]
        kind = _kind_for(rng, centre, label, clutter.mimics)
        crops[i], truth = _crop(rng, centre, bank, kind, mpp, size_px, clutter)
        truths.append(truth)
    return crops, truths


def draw_field(
    rng: np.random.Generator,
    centre: Centre,
    size_px: int = 512,
    mpp: float = 1.0,
    *,
    lesions: dict[str, int] | None = None,
    bank: Bank | None = None,
    clutter: Clutter = Clutter(),
) -> tuple[NDArray[np.uint8], list[CellTruth]]:
    """A square field as a tile of a slide shows it, with the truth of every cell that it touches.

    Args:
        rng: fixes everything for a given bank.
        centre: stain, optics, density and the rates of mimics.
        size_px: side of the field.
        mpp: µm a pixel.
        lesions: number of cells of each class other than NILM; None draws a class and a number.
        bank: cells to place; None takes `training_bank` of seed 0.
        clutter: crowding and mimics.

    Returns:
        The field uint8 RGB (H, W, 3) and the truths of cells whose box meets it, in its pixels.
    """
    bank = bank or training_bank(0)
    side_um = size_px * mpp
    window = Window(0.0, 0.0, mpp, size_px, size_px)
    lesions = _some_lesions(rng) if lesions is None else lesions
    margin = 25.0
    n = rng.poisson(_density(rng, centre, clutter) * ((side_um + 2 * margin) / 1000) ** 2)
    kinds = draw_kinds(rng, centre, int(n), lesions, clutter.mimics)
    lesion_kinds = {name: k for name, k in kinds.items() if KINDS[name].label != "NILM"}
    others = {name: k for name, k in kinds.items() if KINDS[name].label == "NILM"}
    everywhere = _box_spot(-margin, side_um + margin)
    placements = scatter_bystanders(rng, bank, centre, int(n), everywhere)
    placements += scatter_cells(rng, bank, centre, others, everywhere)
    placements += scatter_cells(
        rng, bank, centre, lesion_kinds, _box_spot(0.04 * side_um, 0.96 * side_um)
    )
    image = picture(placements, centre, window, _film(rng))
    truths = [truth_of(p, window) for p in placements if p.sprite.kind in KINDS]
    return image, [truth for truth in truths if _touches(truth, size_px)]


def _crop(
    rng: np.random.Generator,
    centre: Centre,
    bank: Bank,
    kind: str,
    mpp: float,
    size_px: int,
    clutter: Clutter,
) -> tuple[NDArray[np.uint8], CellTruth]:
    label = KINDS[kind].label
    side_um = size_px * mpp
    group = _group_around(rng, centre, bank, kind)
    target = group[int(rng.integers(len(group)))]
    middle = np.mean([o.mean(0) for o in target.sprite.nuclei], axis=0, keepdims=True)
    x, y = target.outline_um(middle.astype(np.float32))[0] + rng.normal(0, clutter.jitter_um, 2)
    window = Window(float(x) - side_um / 2, float(y) - side_um / 2, mpp, size_px, size_px)
    reach = side_um / 2 + _NEIGHBOUR_REACH_UM
    n = int(rng.poisson(_density(rng, centre, clutter) * (2 * reach / 1000) ** 2))
    kinds = draw_kinds(rng, centre, n, {}, clutter.mimics)
    near_centre = 9.0 if label != "NILM" else 6.0
    spot = _ring_spot(float(x), float(y), near_centre, reach)
    placements = scatter_bystanders(rng, bank, centre, n, spot)
    placements += scatter_cells(rng, bank, centre, kinds, spot)
    image = picture([*placements, *group], centre, window, _film(rng))
    return image, truth_of(target, window)


def _group_around(
    rng: np.random.Generator, centre: Centre, bank: Bank, kind: str
) -> list[Placement]:
    n = group_size(rng, KINDS[kind].group, centre.cluster_share)
    return place_group(rng, bank, centre, kind, n, (0.0, 0.0))


def _kind_for(rng: np.random.Generator, centre: Centre, label: str, mimic_factor: float) -> str:
    if label == "NILM":
        names, p = background_kinds(centre, mimic_factor)
        return str(rng.choice(names, p=p))
    names = kinds_of(label)
    weights = np.array([KINDS[name].weight for name in names])
    return str(rng.choice(names, p=weights / weights.sum()))


def _some_lesions(rng: np.random.Generator) -> dict[str, int]:
    """No lesion in a third of the fields, else one to a dozen cells of one or two classes."""
    if rng.random() < 1 / 3:
        return {}
    classes = rng.choice(
        [c for c in CYTOLOGY if c != "NILM"], size=int(rng.integers(1, 3)), replace=False
    )
    return {str(c): int(np.clip(rng.lognormal(np.log(3), 0.7), 1, 14)) for c in classes}


def _density(rng: np.random.Generator, centre: Centre, clutter: Clutter) -> float:
    return float(centre.cells_per_mm2 * clutter.median * rng.lognormal(0, clutter.sigma))


def _box_spot(low_um: float, high_um: float) -> Spot:
    def spot(rng: np.random.Generator) -> tuple[float, float]:
        return float(rng.uniform(low_um, high_um)), float(rng.uniform(low_um, high_um))

    return spot


def _ring_spot(x_um: float, y_um: float, inner_um: float, outer_um: float) -> Spot:
    def spot(rng: np.random.Generator) -> tuple[float, float]:
        while True:
            dx, dy = rng.uniform(-outer_um, outer_um, 2)
            if dx * dx + dy * dy > inner_um**2:
                return x_um + float(dx), y_um + float(dy)

    return spot


def _film(rng: np.random.Generator) -> tuple[int, int]:
    return int(rng.integers(_FILM_RANGE)), int(rng.integers(_FILM_RANGE))


def _touches(truth: CellTruth, size_px: int) -> bool:
    x, y, w, h = truth.box_px
    return x < size_px and y < size_px and x + w > 0 and y + h > 0
