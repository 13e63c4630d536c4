"""Where cells lie: kinds in a centre's proportions, in groups, with bystanders between."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from koilo.phantom.arrangement import group_size, seats
from koilo.phantom.bank import Bank
from koilo.phantom.canvas import Placement
from koilo.phantom.centre import Centre
from koilo.phantom.kinds import KINDS, MIMICS, NORMAL, kinds_of
from koilo.phantom.kinds_organism import draw_organism

Spot = Callable[[np.random.Generator], tuple[float, float]]
"""Draws a place (x, y) in µm inside the area, denser where cells lie denser."""

_DEBRIS = ("red_cell", "debris", "mucus", "bacteria", "yeast")
_DEBRIS_WEIGHTS = (0.2, 0.62, 0.05, 0.1, 0.03)


def background_kinds(
    centre: Centre, mimic_factor: float = 1.0
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Kinds of NILM cells and their probabilities; mimics times ``mimic_factor``."""
    names = (*NORMAL, *MIMICS)
    weights = np.array([KINDS[name].weight for name in names])
    for i, name in enumerate(names):
        if name in MIMICS:
            weights[i] *= mimic_factor * centre.mimic_rates.get(KINDS[name].mimic_group, 1.0)
    return names, weights / weights.sum()


def scatter_cells(
    rng: np.random.Generator, bank: Bank, centre: Centre, kinds: Mapping[str, int], spot: Spot
) -> list[Placement]:
    """Place ``kinds[name]`` cells of each kind, in the kind's groups, each at a `Spot`."""
    placements: list[Placement] = []
    for name, count in kinds.items():
        left = count
        while left > 0:
            kind = KINDS[name]
            n = min(group_size(rng, kind.group, centre.cluster_share), left)
            placements.extend(place_group(rng, bank, centre, name, n, spot(rng)))
            left -= n
    return placements


def place_group(
    rng: np.random.Generator,
    bank: Bank,
    centre: Centre,
    kind_name: str,
    n: int,
    at_um: tuple[float, float],
) -> list[Placement]:
    """A group of ``n`` cells of one kind around a place; they share a tint of stain and a focus."""
    kind = KINDS[kind_name]
    gains = rng.lognormal(0, (0.06, 0.12, 0.12, 0.15))
    defocus = _defocus(rng, centre)
    size = rng.lognormal(0, 0.05)
    out = []
    for seat in seats(rng, kind.group, n, kind.cell_um.median, disordered=kind.label != "NILM"):
        out.append(
            Placement(
                sprite=bank.pick(rng, kind_name),
                x_um=at_um[0] + seat.dx_um,
                y_um=at_um[1] + seat.dy_um,
                angle=seat.angle,
                scale=float(np.clip(size * rng.lognormal(0, 0.04), 0.85, 1.18)),
                gains=(gains * rng.lognormal(0, (0.06, 0.1, 0.1, 0.1))).astype(np.float32),
                defocus_um=defocus,
                arrangement=seat.arrangement,
                lift_um=seat.lift_um,
                tilt=seat.tilt,
            )
        )
    return out


def scatter_bystanders(
    rng: np.random.Generator, bank: Bank, centre: Centre, n_cells: int, spot: Spot
) -> list[Placement]:
    """Neutrophils in clumps and debris, in proportion to the number of cells."""
    out: list[Placement] = []
    left = rng.poisson(centre.neutrophils_per_cell * n_cells)
    while left > 0:
        clump = int(min(left, np.clip(rng.lognormal(np.log(2.2), 1.0), 1, 80)))
        x, y = spot(rng)
        spread = 3.2 * np.sqrt(clump) + 1e-3
        out.extend(
            _loose(
                rng,
                bank,
                centre,
                "neutrophil",
                x + rng.normal(0, spread),
                y + rng.normal(0, spread),
            )
            for _ in range(clump)
        )
        left -= clump
    names = rng.choice(_DEBRIS, rng.poisson(centre.debris_per_cell * n_cells), p=_DEBRIS_WEIGHTS)
    for name in names:
        x, y = spot(rng)
        copies = 1 if name != "red_cell" else int(rng.integers(1, 7))
        out.extend(
            _loose(
                rng,
                bank,
                centre,
                str(name),
                x + rng.normal(0, 9) * (copies > 1),
                y + rng.normal(0, 9) * (copies > 1),
            )
            for _ in range(copies)
        )
    return out


def scatter_organisms(
    rng: np.random.Generator, centre: Centre, n_cells: int, spot: Spot
) -> list[Placement]:
    """Organisms at the centre's rates; where it has none, nothing is drawn from ``rng``."""
    return [
        Placement(
            sprite=draw_organism(rng, name),
            x_um=x,
            y_um=y,
            angle=rng.uniform(0, 2 * np.pi),
            scale=rng.uniform(0.9, 1.1),
            gains=rng.lognormal(0, (0.1, 0.15, 0.15, 0.15)).astype(np.float32),
            defocus_um=_defocus(rng, centre),
            arrangement="loose",
        )
        for name, rate in centre.organism_rates.items()
        for x, y in (spot(rng) for _ in range(rng.poisson(rate * n_cells / 1000)))
    ]


def draw_kinds(
    rng: np.random.Generator, centre: Centre, n_background: int, lesions: Mapping[str, int],
    mimic_factor: float = 1.0,
) -> dict[str, int]:  # fmt: skip
    """Cells of each kind: ``n_background`` NILM ones and ``lesions[label]`` of each class."""
    names, probabilities = background_kinds(centre, mimic_factor)
    counts = dict(zip(names, rng.multinomial(n_background, probabilities).tolist(), strict=True))
    for label, n in lesions.items():
        kinds = kinds_of(label)
        weights = np.array([KINDS[name].weight for name in kinds])
        counts |= dict(
            zip(kinds, rng.multinomial(n, weights / weights.sum()).tolist(), strict=True)
        )
    return counts


def _loose(
    rng: np.random.Generator, bank: Bank, centre: Centre, name: str, x_um: float, y_um: float
) -> Placement:
    return Placement(
        sprite=bank.pick(rng, name),
        x_um=float(x_um),
        y_um=float(y_um),
        angle=rng.uniform(0, 2 * np.pi),
        scale=rng.uniform(0.85, 1.15),
        gains=rng.lognormal(0, 0.18, 4).astype(np.float32),
        defocus_um=_defocus(rng, centre),
        arrangement="loose",
    )


def _defocus(rng: np.random.Generator, centre: Centre) -> float:
    return float(rng.uniform(0.4, 1.6)) if rng.random() < centre.out_of_focus else 0.0
