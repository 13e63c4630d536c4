"""Crops of a slide's best cells: each with group, neighbours and debris, in a centre's colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from koilo.phantom.arrangement import group_size, seats
from koilo.phantom.canvas import Placement, Window, expose, margin_px, paint
from koilo.phantom.centre import Centre
from koilo.phantom.multicentre.bank import BACKGROUND, CellBank
from koilo.phantom.multicentre.cells import SlideCells
from koilo.phantom.multicentre.kinds import COHORT_KINDS, NAMES
from koilo.phantom.sprite import Sprite

_GROUPED = ("glandular", "ball", "cobblestone", "syncytium", "small", "sheet", "file")
_LARGEST_GROUP = 7
_NEIGHBOUR_UM = 14.0
"""No other cell's middle lies nearer to the target's."""
_REACH_UM = 44.0
_DEBRIS = ("debris", "red_cell", "mucus", "bacteria", "yeast")
_DEBRIS_STEPS = (0.66, 0.82, 0.87, 0.97)
"""Where one kind of `_DEBRIS` ends and the next begins on the scale from 0 to 1."""
_JITTER_UM = 1.2
_MOST_NEUTROPHILS = 0.8
"""A cell: more would hide what crops are about."""
_STAIN_SIGMA = (0.08, 0.2, 0.2, 0.22)
_LIGHT_SIGMA = 3.0
_FILM = 1 << 19


@dataclass(frozen=True)
class CropSize:
    """Side in pixels and µm a pixel."""

    px: int
    mpp: float


class CropPainter:
    """Paints cells of one bank; what is random comes from the generator of the crop."""

    def __init__(self, bank: CellBank, size: CropSize) -> None:
        self.bank, self.size = bank, size
        self._rows_of = bank.rows_of

    def canvas(
        self, rng: np.random.Generator, centre: Centre, cells: SlideCells, entry: int
    ) -> tuple[NDArray[np.float32], Window, tuple[int, int]]:
        """Dye amounts around one cell with the margin that optics need, its window and film."""
        target = self.placed_cell(rng, cells, entry)
        placements = [
            *self._background(rng, centre),
            *self._group(rng, target, int(cells.row[entry])),
        ]
        middle = np.mean([outline.mean(0) for outline in target.sprite.nuclei], axis=0)
        x, y = target.outline_um(middle[None].astype(np.float32))[0]
        x, y = np.array([x, y]) + rng.normal(0, _JITTER_UM, 2)
        m, side_um = margin_px(centre, self.size.mpp), self.size.px * self.size.mpp
        corner = (
            float(x) - side_um / 2 - m * self.size.mpp,
            float(y) - side_um / 2 - m * self.size.mpp,
        )
        window = Window(*corner, self.size.mpp, self.size.px + 2 * m, self.size.px + 2 * m)
        film = (int(rng.integers(_FILM)), int(rng.integers(_FILM)))
        return paint(placements, window), window, film

    def laid_over(self, rng: np.random.Generator, kind: int, target: Placement) -> list[Placement]:
        """What covers a cell's nucleus, where its kind says so."""
        over = COHORT_KINDS[NAMES[kind]].laid_over
        if over == "cell":
            n, spread = 1, 3.0
            sprites = [self._bystander(rng, BACKGROUND)]
        elif over == "neutrophils":
            n, spread = int(rng.integers(1, 4)), 3.5
            sprites = [self._bystander(rng, "neutrophil") for _ in range(n)]
        else:
            return []
        at = np.array([target.x_um, target.y_um])
        return self._placed(rng, sprites, at + rng.normal(0, spread, (n, 2)))

    def placed_cell(self, rng: np.random.Generator, cells: SlideCells, entry: int) -> Placement:
        """One cell of a slide at (0, 0), as large, dark and blurred as it was dealt."""
        gains = np.exp(rng.normal(0, (0.0, 0.12, 0.12, 0.15)))
        gains[0] = cells.gain[entry]
        return Placement(
            sprite=self.bank.sprites[int(cells.row[entry])],
            x_um=0.0,
            y_um=0.0,
            angle=float(rng.uniform(0, 2 * np.pi)),
            scale=float(cells.scale[entry]),
            gains=gains.astype(np.float32),
            defocus_um=float(cells.defocus_um[entry]),
        )

    def placed_bystander(
        self, rng: np.random.Generator, name: str, at_um: tuple[float, float]
    ) -> list[Placement]:
        """A neutrophil or a piece of debris at a place."""
        return self._placed(rng, [self._bystander(rng, name)], np.array([at_um]))

    def _group(self, rng: np.random.Generator, target: Placement, row: int) -> list[Placement]:
        """The target last, and where its kind lies in groups its fellows of the same texture."""
        kind = NAMES.index(target.sprite.kind)
        shape = COHORT_KINDS[NAMES[kind]].kind
        over = self.laid_over(rng, kind, target)
        n = group_size(rng, shape.group, 0.2) if shape.group in _GROUPED else 1
        if n == 1:
            return [target, *over]
        lesion = shape.label != "NILM"
        places = seats(rng, shape.group, min(n, _LARGEST_GROUP), shape.cell_um.median,
                       disordered=lesion)  # fmt: skip
        own = places[int(rng.integers(len(places)))]
        turned = replace(target, angle=own.angle)
        rows, texture = self._rows_of[kind], self.bank.texture[row]
        alike = rows[self.bank.texture[rows] == texture]
        fellows = []
        for seat in places:
            dx, dy = seat.dx_um - own.dx_um, seat.dy_um - own.dy_um
            if seat is own or dx * dx + dy * dy > _REACH_UM**2:
                continue
            other = int(rng.choice(alike))
            fellow = replace(
                turned, sprite=self.bank.sprites[other], x_um=dx, y_um=dy, angle=seat.angle
            )
            fellows.append(fellow)
        return [*fellows, turned, *over]

    def _background(self, rng: np.random.Generator, centre: Centre) -> list[Placement]:
        """Normal cells and bystanders around, at the centre's density."""
        mean = centre.cells_per_mm2 * rng.lognormal(np.log(0.8), 0.4) * (2 * _REACH_UM / 1000) ** 2
        n_cells, n_neutrophils, n_debris = rng.poisson(
            [
                mean,
                mean * min(centre.neutrophils_per_cell, _MOST_NEUTROPHILS),
                mean * centre.debris_per_cell,
            ]
        )
        sprites = [self._bystander(rng, BACKGROUND) for _ in range(n_cells)]
        sprites += [self._bystander(rng, "neutrophil") for _ in range(n_neutrophils)]
        kinds = np.searchsorted(_DEBRIS_STEPS, rng.random(n_debris))
        sprites += [self._bystander(rng, _DEBRIS[kind]) for kind in kinds]
        spots = rng.uniform(-_REACH_UM, _REACH_UM, (len(sprites), 2))
        clear = np.flatnonzero(np.hypot(*spots.T) > _NEIGHBOUR_UM)
        return self._placed(rng, [sprites[i] for i in clear], spots[clear])

    def _bystander(self, rng: np.random.Generator, name: str) -> Sprite:
        choices = self.bank.bystanders[name]
        return choices[int(rng.integers(len(choices)))]

    def _placed(
        self, rng: np.random.Generator, sprites: Sequence[Sprite], spots_um: NDArray[np.float64]
    ) -> list[Placement]:
        """Sprites at places (n, 2), each turned, sized and stained on its own."""
        n = len(sprites)
        angles = rng.uniform(0, 2 * np.pi, n).tolist()
        scales = np.exp(rng.normal(0, 0.05, n)).tolist()
        gains = np.exp(rng.normal(0, (0.07, 0.14, 0.14, 0.16), (n, 4))).astype(np.float32)
        places = spots_um.tolist()
        return [
            Placement(sprites[i], places[i][0], places[i][1], angles[i], scales[i], gains[i])
            for i in range(n)
        ]


def stained(rng: np.random.Generator) -> NDArray[np.float32]:
    """Factors (4,) by which one slide's dyes stray from its centre's."""
    return np.exp(rng.normal(0, _STAIN_SIGMA)).astype(np.float32)


def take(
    canvas: NDArray[np.float32],
    window: Window,
    film: tuple[int, int],
    centre: Centre,
    size: CropSize,
) -> NDArray[np.uint8]:
    """The crop uint8 (P, P, 3) that a centre's scanner takes of a canvas, through its JPEG."""
    picture = expose(canvas.copy(), centre, window, film)
    m = (window.width_px - size.px) // 2
    bgr = np.ascontiguousarray(picture[m : m + size.px, m : m + size.px, ::-1])
    _, coded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, centre.jpeg_quality])
    decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(decoded[..., ::-1], np.uint8)


def crops_of_slide(
    seed: Sequence[int],
    painter: CropPainter,
    centres: Sequence[Centre],
    cells: SlideCells,
    entries: NDArray[np.int64],
) -> list[NDArray[np.uint8]]:
    """Crops (n, P, P, 3) of cells of one slide, once in the look of each of ``centres``.

    The first centre is the slide's own; the others show the same cells in their colours.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    factors, light = stained(rng), rng.normal(0, _LIGHT_SIGMA)
    looks = [
        replace(
            centre,
            dye_gain=centre.dye_gain * factors,
            white=(centre.white + light).clip(190, 254).astype(np.float32),
        )
        for centre in centres
    ]
    out = [np.empty((len(entries), painter.size.px, painter.size.px, 3), np.uint8) for _ in looks]
    for position, entry in enumerate(entries):
        canvas, window, film = painter.canvas(rng, centres[0], cells, int(entry))
        for crops, look in zip(out, looks, strict=True):
            crops[position] = take(canvas, window, film, look, painter.size)
    return out
