"""Organisms and the changes they make: Candida, Trichomonas, clue cells, herpes, Actinomyces.

Drawn by spec/cytology.md ("Organisms"); what it leaves open is a choice. None is a Bethesda lesion.
They stand in no bank, and on slides only where a centre's rates say so: phantoms without them stay
the same bit for bit. Training pictures are those of `koilo.phantom.organisms`.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from koilo.phantom.cytoplasm import TINTS
from koilo.phantom.drawing import draw_cell
from koilo.phantom.outlines import Outline, cell_outline, moved, nucleus_outline
from koilo.phantom.raster import Map, Raster
from koilo.phantom.sprite import DYE_STEP, SPRITE_MPP, Sprite, build_sprite

Dyes = NDArray[np.float32]  # (H, W, 4)
Points = NDArray[np.float64]  # (P, 2) µm


def draw_organism(rng: np.random.Generator, name: str) -> Sprite:
    """One sprite of a kind in `ORGANISMS`."""
    return ORGANISMS[name](rng)


def _candida(rng: np.random.Generator) -> Sprite:
    """Constricted pseudohyphae with buds at the joints, and yeasts of 3 to 7 µm beside them."""
    raster = Raster(rng.uniform(20, 34), SPRITE_MPP)
    reach = raster.shape[0] * raster.mpp / 2
    cells: list[Outline] = []
    for _ in range(int(rng.integers(1, 4))):
        cells += _pseudohypha(rng, rng.normal(0, 0.3 * reach, 2), 0.8 * reach)
    for _ in range(int(rng.integers(2, 9))):
        size = rng.uniform(3.0, 7.0)
        yeast = nucleus_outline(rng, np.pi / 4 * size**2, rng.uniform(1.1, 1.6), 0.01)
        cells.append(moved(yeast, *rng.uniform(-0.75 * reach, 0.75 * reach, 2).tolist()))
    amount = np.zeros(raster.shape, np.float32)
    for cell in cells:
        if np.abs(cell).max() > reach - 0.6:
            continue
        part, place = raster.around(cell, 0.5)
        cover = part.fill(cell)
        wall = np.exp(-((part.depth_um(cover) / 0.4) ** 2))
        amount[place] = np.maximum(amount[place], cover * (0.7 + 0.6 * wall))
    pink, brown = np.array([0.1, 0.04, 0.5, 0.1]), np.array([0.3, 0.08, 0.22, 0.16])
    tint = (pink if rng.random() < 0.6 else brown).astype(np.float32)
    dyes = rng.lognormal(np.log(0.7), 0.3) * amount[..., None] * tint
    return build_sprite("candida", "", dyes.astype(np.float32), (), None, {}, rng)


def _pseudohypha(rng: np.random.Generator, at: Points, reach_um: float) -> list[Outline]:
    """A chain of long cells, narrow where they meet, that bends slowly and buds."""
    cells, turn, width = [], rng.uniform(0, 2 * np.pi), rng.uniform(2.0, 3.2)
    for _ in range(int(rng.integers(3, 9))):
        length = rng.uniform(6.0, 13.0)
        along = np.array([np.cos(turn), np.sin(turn)])
        cells.append(_capsule(at + along * length / 2, turn, length, width))
        at = at + along * length * 0.97
        if np.abs(at).max() > reach_um:
            break
        if rng.random() < 0.45:
            side = turn + rng.choice([-1, 1]) * rng.uniform(0.6, 1.1)
            size = rng.uniform(3.0, 4.8)
            away = at + (size / 2 + 0.4) * np.array([np.cos(side), np.sin(side)])
            cells.append(_capsule(away, side, size * 1.2, size))
        turn += rng.normal(0, 0.22)
    return cells


def _capsule(at: Points, turn: float, length_um: float, width_um: float) -> Outline:
    """A long rounded cell whose ends are narrower than its middle."""
    t = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    x = np.cos(t) * length_um / 2
    y = np.sign(np.sin(t)) * np.abs(np.sin(t)) ** 0.7 * width_um / 2
    c, s = np.cos(turn), np.sin(turn)
    return (np.stack([x * c - y * s, x * s + y * c], axis=1) + at).astype(np.float32)


def _trichomonas(rng: np.random.Generator) -> Sprite:
    """One to three pears of 15 to 30 µm, blue-green, each with a pale eccentric nucleus."""
    n = int(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15]))
    raster = Raster(17 + 7 * (n - 1), SPRITE_MPP)
    dyes = np.zeros((*raster.shape, 4), np.float32)
    for i in range(n):
        place = (
            (0.0, 0.0) if n == 1 else (rng.normal(0, 2) + 13 * (i - (n - 1) / 2), rng.normal(0, 4))
        )
        body, nucleus = (moved(each, *place) for each in _pear(rng))
        cover = raster.fill(body)
        cloud = 1 + 0.28 * raster.noise(rng, 2.4) + 0.14 * raster.noise(rng, 0.7)
        edge = 0.25 * np.exp(-((raster.depth_um(cover) / 0.5) ** 2))
        amount = rng.uniform(0.2, 0.36) * cover * (cloud.clip(0.3, None) + edge)
        dyes += amount[..., None] * np.array([0.16, 0.92, 0.14, 0.03], np.float32)
        within = raster.fill(nucleus)
        pale = within * (1 + 0.15 * raster.noise(rng, 0.6))
        dyes[..., 0] += rng.uniform(0.2, 0.36) * pale
        dyes[..., 2] += 0.1 * pale
        for _ in range(int(rng.integers(0, 12))):  # red granules
            x, y = body[int(rng.integers(len(body)))] * rng.uniform(0.1, 0.7)
            dyes[..., 2] += (
                0.4 * cover * raster.disc(float(x), float(y), rng.uniform(0.25, 0.5), 0.2)
            )
    return build_sprite("trichomonas", "", dyes, (), None, {}, rng)


def _pear(rng: np.random.Generator) -> tuple[Outline, Outline]:
    """A body drawn out to one side, and its spindle of a nucleus at the broad end."""
    length, aspect = rng.uniform(15, 24), rng.uniform(1.25, 1.7)
    t = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    taper = 1 - rng.uniform(0.3, 0.55) * (np.cos(t) + 1) / 2
    wave = 1 + 0.04 * np.sin(3 * t + rng.uniform(0, 6)) + 0.03 * np.sin(5 * t + rng.uniform(0, 6))
    x, y = np.cos(t) * length / 2 * wave, np.sin(t) * length / (2 * aspect) * taper * wave
    nucleus = nucleus_outline(rng, rng.uniform(7, 14), rng.uniform(1.5, 2.4), 0.01)
    nucleus = moved(nucleus, -length * rng.uniform(0.12, 0.24), rng.normal(0, 0.6))
    turn = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(turn), np.sin(turn)
    spin = np.array([[c, s], [-s, c]], np.float32)
    return (np.stack([x, y], axis=1).astype(np.float32) @ spin), nucleus @ spin


def _clue_cell(rng: np.random.Generator) -> Sprite:
    """A mature squamous cell carpeted by coccobacilli, which blur its edge."""
    cell = draw_cell(rng, str(rng.choice(["superficial", "intermediate"])))
    assert cell.cytoplasm is not None
    dyes = cell.dyes.astype(np.float32) * np.float32(DYE_STEP)
    raster = Raster(dyes.shape[0] * SPRITE_MPP / 2 - 1e-3, SPRITE_MPP)
    cover = raster.fill(cell.cytoplasm)
    near = cv2.dilate(cover, np.ones((7, 7), np.uint8))
    patchy = (1 + rng.uniform(0.1, 0.5) * raster.noise(rng, 9.0)).clip(0, 2)
    edge = 1 + 0.8 * np.exp(-((raster.depth_um(cover) / 2.0) ** 2))
    weight = (near * patchy * edge).ravel().astype(np.float64)
    density = rng.uniform(0.45, 0.9)  # rods a µm²
    n = int(density * cover.sum() * SPRITE_MPP**2)
    places = rng.choice(weight.size, n, p=weight / weight.sum())
    rods = _rods(rng, places, raster.shape)
    dyes[..., 0] += rng.uniform(0.16, 0.32) * rods
    dyes[..., 1] += 0.12 * rods
    return build_sprite("clue_cell", "", dyes, cell.nuclei, cell.cytoplasm, cell.measured, rng)


def _rods(rng: np.random.Generator, places: NDArray[np.int64], shape: tuple[int, int]) -> Map:
    """Short rods of 0.6 to 1.5 µm at these pixels, 0-1 where single, more where they overlap."""
    total = np.zeros(shape, np.float32)
    rows, columns = np.unravel_index(places, shape)
    for layer in range(4):  # rods of one layer do not add up
        sheet = np.zeros(shape, np.uint8)
        for row, column in zip(rows[layer::4], columns[layer::4], strict=True):
            half, turn = rng.uniform(0.3, 0.75) / SPRITE_MPP, rng.uniform(0, np.pi)
            dx, dy = half * np.cos(turn), half * np.sin(turn)
            ends = [(round((column + k * dx) * 8), round((row + k * dy) * 8)) for k in (-1, 1)]
            cv2.line(sheet, ends[0], ends[1], 255, 2, cv2.LINE_AA, 3)
        total += sheet.astype(np.float32) / 255
    return total


def _herpes(rng: np.random.Generator) -> Sprite:
    """Nuclei like ground glass that mould each other, their chromatin at the rim."""
    n = int(rng.choice([1, 2, 3, 4, 5, 6, 8], p=[0.08, 0.12, 0.2, 0.2, 0.16, 0.14, 0.1]))
    radius = rng.uniform(4.2, 6.0)
    seeds = _packed(rng, n, 1.55 * radius)
    size = np.pi * (np.abs(seeds).max() + radius + rng.uniform(2, 7)) ** 2
    body = cell_outline(rng, str(rng.choice(["round", "ragged"])), size, rng.uniform(1.0, 1.2))
    raster = Raster(float(np.abs(body).max()) + 1, SPRITE_MPP)
    cover = raster.fill(body)
    tint = np.array(TINTS[str(rng.choice(["cyan", "cyan", "pink"]))], np.float32)
    cloud = (1 + 0.18 * raster.noise(rng, 4.0) + 0.06 * raster.noise(rng, 0.7)).clip(0.3, None)
    dyes = rng.uniform(0.24, 0.42) * (cover * cloud)[..., None] * tint
    nuclei = _moulded(rng, raster, seeds, radius)
    glass, rim = rng.uniform(0.22, 0.42), rng.uniform(0.4, 0.8)
    inclusions = rng.random() < 0.2
    for outline in nuclei:
        inside = raster.fill(outline)
        depth = raster.depth_um(inside)
        smooth = glass * (1 + 0.03 * raster.noise(rng, 1.5))
        dyes[..., 0] += inside * (smooth + rim * np.exp(-((depth / 0.55) ** 2)))
        dyes[..., 1] += 0.08 * inside
        if inclusions:
            x, y = outline.mean(axis=0).tolist()
            dyes[..., 2] += 0.5 * raster.disc(x, y, 0.38 * radius, 0.4)
    return build_sprite("herpes", "", dyes.astype(np.float32), nuclei, body, {}, rng)


def _packed(rng: np.random.Generator, n: int, apart_um: float) -> Points:
    """``n`` places that lie about ``apart_um`` from their neighbours, around the middle."""
    seeds = rng.normal(0, apart_um * np.sqrt(n) / 2, (n, 2)) if n > 1 else np.zeros((1, 2))
    for _ in range(60):  # push those too close apart, pull all together
        gaps = seeds[:, None] - seeds[None]
        far = np.linalg.norm(gaps, axis=2) + np.eye(n) * 1e9
        push = (gaps / far[..., None] * (apart_um - far).clip(0, None)[..., None]).sum(axis=1)
        seeds = 0.97 * (seeds + 0.35 * push)
    return np.asarray(seeds - seeds.mean(axis=0))


def _moulded(
    rng: np.random.Generator, raster: Raster, seeds: Points, radius_um: float
) -> tuple[Outline, ...]:
    """Outlines of nuclei that share what lies between two seeds and leave a thin gap."""
    radii = radius_um * rng.lognormal(0, 0.1, len(seeds))
    away = np.stack(
        [
            np.hypot(raster.x_um - x, raster.y_um - y) / r
            for (x, y), r in zip(seeds, radii, strict=True)
        ]
    )
    wobble = 1 + 0.05 * raster.noise(rng, 5.0)
    owner = np.where(away.min(axis=0) < wobble, away.argmin(axis=0), -1)
    outlines = []
    for i in range(len(seeds)):
        own = cv2.erode((owner == i).astype(np.uint8), np.ones((3, 3), np.uint8))
        found, _ = cv2.findContours(own, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        if found:
            largest = max(found, key=cv2.contourArea)[:, 0].astype(np.float32)
            corner = np.array([raster.x_axis_um[0], raster.y_axis_um[0]], np.float32)
            outlines.append(largest * np.float32(raster.mpp) + corner)
    return tuple(outlines)


def _actinomyces(rng: np.random.Generator) -> Sprite:
    """A ball of tangled filaments, dense in the middle, thin threads standing out of it."""
    raster = Raster(rng.uniform(20, 36), SPRITE_MPP)
    reach = raster.shape[0] * raster.mpp / 2 - 1
    core = reach * rng.uniform(0.25, 0.5)
    total = np.zeros(raster.shape, np.float32)
    middle = raster.shape[0] / 2
    for _ in range(6):  # threads of one sheet do not add up
        sheet = np.zeros(raster.shape, np.uint8)
        for _ in range(int(rng.integers(8, 24))):
            thread = _thread(rng, core, reach) / raster.mpp + middle
            fixed = np.round(thread * 8).astype(np.int32).reshape(-1, 1, 2)
            cv2.polylines(sheet, [fixed], False, 255, 2, cv2.LINE_AA, 3)
        total += sheet.astype(np.float32) / 255
    mat = np.exp(-((np.hypot(raster.x_um, raster.y_um) / core) ** 2)).astype(np.float32)
    mat *= (1 + 0.5 * raster.noise(rng, 1.0)).clip(0, None)
    amount = total + rng.uniform(0.2, 0.8) * mat
    tint = np.array([0.2, 0.12, 0.08, 0.04], np.float32) * rng.lognormal(0, 0.2, 4)
    dyes = (amount[..., None] * tint).astype(np.float32)
    return build_sprite("actinomyces", "", dyes, (), None, {}, rng)


def _thread(rng: np.random.Generator, core_um: float, reach_um: float) -> Points:
    """A curving line that begins in the core and ends in it or beyond."""
    at, turn = rng.normal(0, 0.5 * core_um, 2), rng.uniform(0, 2 * np.pi)
    points, bend = [at], rng.normal(0, 0.12)
    for _ in range(int(rng.integers(10, 40))):
        turn += bend + rng.normal(0, 0.16)
        at = at + np.array([np.cos(turn), np.sin(turn)])
        if np.hypot(*at) > reach_um:
            break
        points.append(at)
    return np.array(points)


ORGANISMS: dict[str, Callable[[np.random.Generator], Sprite]] = {
    "candida": _candida,
    "trichomonas": _trichomonas,
    "clue_cell": _clue_cell,
    "herpes": _herpes,
    "actinomyces": _actinomyces,
}
"""Name to drawing function, in the order of labels."""
