"""Draw one cell of a kind: sample its attributes, lay its outlines, paint its dyes, measure it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from koilo.phantom.cytoplasm import (
    CytoplasmLook,
    halo_area_um2,
    halo_outline,
    paint_cytoplasm,
)
from koilo.phantom.kind import Kind
from koilo.phantom.kinds import KINDS
from koilo.phantom.morphometry import measure
from koilo.phantom.nucleus import NucleusLook, paint_nucleus
from koilo.phantom.outlines import Outline, area, cell_outline, moved, nucleus_outline
from koilo.phantom.raster import Raster
from koilo.phantom.sprite import SPRITE_MPP, Sprite, build_sprite

_MARGIN_UM = 1.0
_LENGTHWISE = ("column", "spindle", "tadpole")


def draw_cell(rng: np.random.Generator, kind_name: str) -> Sprite:
    """One new cell of a kind (a key of `KINDS`), its long axis along x where it has one."""
    return draw_kind(rng, KINDS[kind_name])


def draw_kind(rng: np.random.Generator, kind: Kind) -> Sprite:
    """One new cell of a kind that need not be among `KINDS`."""
    nuclei, body, halo = _lay_out(rng, kind)
    reach = max(float(np.abs(points).max()) for points in (*nuclei, body))
    raster = Raster(reach + _MARGIN_UM, SPRITE_MPP)
    nuclei_cover = np.maximum.reduce([raster.fill(outline) for outline in nuclei])
    look = _cytoplasm_look(rng, kind, halo)
    dyes = paint_cytoplasm(rng, raster, raster.fill(body), nuclei_cover, look)
    warm = {"cyan": 0.1, "pink": 0.7, "orange": 1.0}[look.tint]
    nucleoli = 0
    base = kind.darkness.draw(rng)
    coarseness = kind.coarseness.draw(rng)
    for outline in nuclei:
        nucleus = _nucleus_look(rng, kind, base * rng.lognormal(0, 0.05), coarseness, warm)
        part, place = raster.around(outline, _MARGIN_UM / 2)
        dyes[place] += paint_nucleus(rng, part, part.fill(outline), nucleus)
        nucleoli += nucleus.nucleoli
    known = {
        "halo_um2": halo_area_um2(halo, nuclei) if look.halo_clearing > 0 else 0.0,
        "nucleoli": float(nucleoli),
        "vacuoles": float(look.vacuoles),
        "smudged": float(nucleus.smudged),
        "orange_cytoplasm": float(look.tint == "orange"),
    }
    measured = measure(nuclei, body, dyes, nuclei_cover, raster) | known
    return build_sprite(kind.name, kind.label, dyes, nuclei, body, measured, rng)


def _lay_out(
    rng: np.random.Generator, kind: Kind
) -> tuple[tuple[Outline, ...], Outline, Outline | None]:
    shape = str(_choice(rng, kind.outlines))
    nuclei = _nuclei(rng, kind, lengthwise=shape in _LENGTHWISE)
    total = sum(area(outline) for outline in nuclei)
    cell_um2 = max(np.pi / 4 * kind.cell_um.draw(rng) ** 2, total * rng.uniform(1.2, 1.5))
    body = cell_outline(rng, shape, cell_um2, kind.cell_aspect.draw(rng))
    radius = np.sqrt(cell_um2 / np.pi)
    widest = rng.uniform(0.55, 0.75) * radius
    ratio = kind.halo_ratio.draw(rng)
    halo = halo_outline(rng, nuclei, ratio, widest) if rng.random() < kind.halo else None
    shift = rng.normal(0, kind.offset * radius, 2)
    if shape in _LENGTHWISE:  # along the cell only; a column's base is at negative x
        shift = np.array([-abs(shift[0]) * kind.cell_aspect.median / 2, 0.0])
    body = _fitted(body, nuclei, shift)
    middle = (body.max(0) + body.min(0)) / 2
    back = (-float(middle[0]), -float(middle[1]))
    centred = tuple(moved(outline, *back) for outline in nuclei)
    return centred, moved(body, *back), None if halo is None else moved(halo, *back)


def _nuclei(rng: np.random.Generator, kind: Kind, *, lengthwise: bool) -> tuple[Outline, ...]:
    count = 1 + int(rng.choice(len(kind.nuclei), p=np.array(kind.nuclei) / sum(kind.nuclei)))
    irregularity = kind.irregularity.draw(rng)
    base = kind.nucleus_um2.draw(rng) * (1.0 if count == 1 else 0.8)
    step = rng.uniform(0.8, 1.15) * 2 * np.sqrt(base / np.pi)
    turn = 0.0 if lengthwise else rng.uniform(0, np.pi)
    outlines = []
    for i in range(count):
        outline = nucleus_outline(
            rng, base * rng.lognormal(0, 0.1), kind.nucleus_aspect.draw(rng), irregularity
        )
        if lengthwise:
            outline = _aligned(outline)
        along = (i - (count - 1) / 2) * step
        side = (i % 2) * step * 0.45 if count > 2 else 0.0
        dx, dy = (
            along * np.cos(turn) - side * np.sin(turn),
            along * np.sin(turn) + side * np.cos(turn),
        )
        outlines.append(moved(outline, float(dx), float(dy)))
    return tuple(outlines)


def _aligned(outline: Outline) -> Outline:
    """The outline turned so that its long axis lies along x."""
    direction = np.linalg.eigh(np.cov(outline.T))[1][:, 1]
    c, s = float(direction[0]), float(direction[1])
    return (outline @ np.array([[c, -s], [s, c]], np.float32)).astype(np.float32)


def _fitted(body: Outline, inner: tuple[Outline, ...], shift: NDArray[np.float64]) -> Outline:
    """The body moved by ``-shift`` so that the nuclei sit off centre, grown until it holds them."""
    points = np.concatenate(inner)
    for _ in range(14):
        placed = moved(body, -float(shift[0]), -float(shift[1]))
        contour = placed.reshape(-1, 1, 2)
        if all(cv2.pointPolygonTest(contour, (float(x), float(y)), True) > 0.25 for x, y in points):
            return placed
        if np.abs(shift).max() > 0.3:
            shift = shift * 0.6
        else:
            long = float(np.ptp(body[:, 0]) > np.ptp(body[:, 1]) * 1.3)
            body = body * np.array([1.09 - 0.06 * long, 1.09], np.float32)
    return placed


def _cytoplasm_look(rng: np.random.Generator, kind: Kind, halo: Outline | None) -> CytoplasmLook:
    tint = str(_choice(rng, kind.tints))
    mixed = tint == "mixed"
    koilocyte = "rim" in kind.extra
    return CytoplasmLook(
        tint="cyan" if mixed else tint,
        second_tint="pink" if tint in ("mixed", "cyan") else "cyan",
        second_share=rng.uniform(0.45, 0.95) if mixed else max(rng.normal(0.0, 0.14), 0.0),
        amount=kind.cytoplasm.draw(rng),
        dome=float(np.clip(rng.normal(kind.dome, 0.1), 0, 0.9)),
        folds=int(rng.poisson(kind.folds)),
        granules=bool(rng.random() < kind.granules),
        vacuoles=int(rng.integers(2, 9)) if rng.random() < kind.vacuoles else 0,
        pale_centre=rng.uniform(0.35, 0.8) if rng.random() < kind.pale_centre else 0.0,
        halo=halo,
        halo_clearing=rng.uniform(0.55, 0.95) if halo is not None else 0.0,
        halo_rim=rng.uniform(0.3, 1.6) if koilocyte else rng.uniform(0.0, 0.5),
        flat="polygon" in kind.outlines,
    )


def _nucleus_look(
    rng: np.random.Generator, kind: Kind, darkness: float, coarseness: float, warm: float
) -> NucleusLook:
    return NucleusLook(
        darkness=darkness,
        coarseness=coarseness,
        vesicular=bool(rng.random() < kind.vesicular),
        smudged=bool(rng.random() < kind.smudge),
        grooved=bool(rng.random() < kind.groove),
        nucleoli=int(rng.integers(1, 4)) if rng.random() < kind.nucleoli else 0,
        warm=warm,
        grain=kind.grain,
    )


def _choice(rng: np.random.Generator, weights: dict[str, float]) -> str:
    names = list(weights)
    total = sum(weights.values())
    return names[int(rng.choice(len(names), p=[weights[name] / total for name in names]))]
