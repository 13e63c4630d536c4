"""What lies between the cells: neutrophils, red cells, debris, mucus, bacteria, yeast.

Each is a sprite like a cell's, placed and stained the same way; neutrophils carry their lobes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from koilo.phantom.outlines import cell_outline, moved, nucleus_outline
from koilo.phantom.raster import Raster
from koilo.phantom.sprite import SPRITE_MPP, Sprite, build_sprite


def draw_bystander(rng: np.random.Generator, name: str) -> Sprite:
    """One sprite of a kind in `BYSTANDERS`."""
    return BYSTANDERS[name](rng)


def _neutrophil(rng: np.random.Generator) -> Sprite:
    size = rng.uniform(8.0, 10.5)
    body = cell_outline(rng, "round", np.pi / 4 * size**2, 1.1)
    lobes, at, turn = [], np.zeros(2), rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.integers(2, 6))):
        lobes.append(at.copy())
        turn += rng.uniform(-1.4, 1.4)
        at = at + rng.uniform(1.7, 2.6) * np.array([np.cos(turn), np.sin(turn)])
    shift = -np.mean(lobes, axis=0)
    outlines = tuple(
        moved(nucleus_outline(rng, rng.uniform(4.0, 9.5), 1.2, 0.05), *(lobe + shift).tolist())
        for lobe in lobes
    )
    raster = Raster(size * 0.75 + 1, SPRITE_MPP)
    cover = np.maximum.reduce([raster.fill(outline) for outline in outlines])
    dyes = _empty(raster)
    body_tint = rng.uniform(0.02, 0.22)
    dyes[..., 1] += body_tint * raster.fill(body) * (1 + 0.2 * raster.noise(rng, 0.7))
    dyes[..., 2] += rng.uniform(0, 0.12) * raster.fill(body)
    dark = rng.lognormal(np.log(1.35), 0.2) * (1 + 0.12 * raster.noise(rng, 1.0))
    dyes[..., 0] += dark * cover
    return build_sprite("neutrophil", "", dyes, outlines, body, {}, rng)


def _red_cell(rng: np.random.Generator) -> Sprite:
    size = rng.uniform(6.2, 8.2)
    body = cell_outline(rng, "round", np.pi / 4 * size**2, rng.uniform(1.0, 1.7))
    raster = Raster(size * 0.8 + 1, SPRITE_MPP)
    cover, depth = raster.fill(body), raster.depth_um(raster.fill(body))
    profile = cover * (0.75 + 0.35 * np.exp(-((depth / 1.2) ** 2)))
    dyes = _empty(raster)
    dyes[..., 2] = rng.uniform(0.1, 0.45) * profile
    dyes[..., 3] = rng.uniform(0.2, 0.7) * profile
    return build_sprite("red_cell", "", dyes, (), None, {}, rng)


def _debris(rng: np.random.Generator) -> Sprite:
    size = float(np.clip(rng.lognormal(np.log(5.0), 0.6), 1.5, 22))
    body = cell_outline(rng, "ragged", np.pi / 4 * size**2, rng.uniform(1, 2.2))
    raster = Raster(float(np.abs(body).max()) + 1, SPRITE_MPP)
    texture = (1 + 0.5 * raster.noise(rng, 1.2) + 0.3 * raster.noise(rng, 0.4)).clip(0, None)
    amount = raster.fill(body) * texture
    weights = rng.dirichlet([0.9, 0.9, 0.5, 0.5]).astype(np.float32)
    strength = rng.lognormal(np.log(0.45), 0.6)
    dyes = (strength * amount)[..., None] * weights
    return build_sprite("debris", "", dyes, (), None, {}, rng)


def _mucus(rng: np.random.Generator) -> Sprite:
    raster = Raster(rng.uniform(14, 34), SPRITE_MPP)
    angle = rng.uniform(0, np.pi)
    amount = np.zeros(raster.shape, np.float32)
    reach = raster.shape[0] * raster.mpp / 2
    wave = raster.noise(rng, 12.0) * 1.5
    for _ in range(int(rng.integers(2, 7))):
        x, y = rng.normal(0, 0.25 * reach, 2)
        across = raster.line(x, y, angle + rng.normal(0, 0.15), rng.normal(0, 0.012))
        width = rng.uniform(0.4, 2.5)
        amount += rng.uniform(0.05, 0.3) * np.exp(-(((across + wave) / width) ** 2))
    fade = (1.0 - np.hypot(raster.x_um, raster.y_um) / reach).clip(0, 1) * 2.2
    amount *= fade.clip(0, 1) * (1 + 0.3 * raster.noise(rng, 1.5)).clip(0, None)
    weights = np.array([0.15, 0.7, 0.1, 0.05], np.float32) * rng.lognormal(0, 0.4, 4).astype(
        np.float32
    )
    return build_sprite("mucus", "", amount[..., None] * weights, (), None, {}, rng)


def _bacteria(rng: np.random.Generator) -> Sprite:
    raster = Raster(rng.uniform(7, 16), SPRITE_MPP)
    reach = raster.shape[0] * raster.mpp / 2 - 2.5
    amount = np.zeros(raster.shape, np.float32)
    for _ in range(int(rng.integers(4, 26))):
        x, y = rng.normal(0, 0.45 * reach, 2).clip(-reach, reach)
        angle, half = rng.uniform(0, np.pi), rng.uniform(0.7, 2.2)
        dx, dy = raster.x_um - x, raster.y_um - y
        along = np.abs(dx * np.cos(angle) + dy * np.sin(angle))
        across = dy * np.cos(angle) - dx * np.sin(angle)
        amount += np.exp(-((across / 0.35) ** 2)) * (along < half)
    dyes = _empty(raster)
    dyes[..., 0] = rng.uniform(0.2, 0.5) * amount.clip(0, 1.5)
    dyes[..., 1] = 0.15 * amount.clip(0, 1.5)
    return build_sprite("bacteria", "", dyes, (), None, {}, rng)


def _yeast(rng: np.random.Generator) -> Sprite:
    raster = Raster(rng.uniform(10, 20), SPRITE_MPP)
    reach = raster.shape[0] * raster.mpp / 2 - 3
    at, turn = rng.normal(0, 0.5 * reach, 2), rng.uniform(0, 2 * np.pi)
    amount = np.zeros(raster.shape, np.float32)
    for _ in range(int(rng.integers(3, 12))):
        amount = np.maximum(amount, raster.disc(at[0], at[1], rng.uniform(0.9, 1.7), 0.35))
        turn += rng.normal(0, 0.35)
        at = (at + rng.uniform(1.8, 3.4) * np.array([np.cos(turn), np.sin(turn)])).clip(
            -reach, reach
        )
    dyes = _empty(raster)
    dyes[..., 2], dyes[..., 0] = 0.35 * amount, 0.18 * amount
    return build_sprite("yeast", "", dyes, (), None, {}, rng)


def _empty(raster: Raster) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.zeros((*raster.shape, 4), np.float32)


BYSTANDERS: dict[str, Callable[[np.random.Generator], Sprite]] = {
    "neutrophil": _neutrophil,
    "red_cell": _red_cell,
    "debris": _debris,
    "mucus": _mucus,
    "bacteria": _bacteria,
    "yeast": _yeast,
}
"""Name to drawing function of everything that is not judged."""
