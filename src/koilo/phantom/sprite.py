"""One cell drawn once: four dye amounts on a raster, and the outlines they fill."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from koilo.phantom.outlines import Outline

SPRITE_MPP = 0.25
DYE_STEP = 1 / 110
"""A sprite's grey step: 255 steps reach a density of 2.3, more than any nucleus has."""


@dataclass(frozen=True)
class Sprite:
    """A cell in its own frame: origin at the raster's middle, x right, y down, in µm.

    ``dyes`` (H, W, 4) uint8 in steps of `DYE_STEP`, columns as `koilo.phantom.centre.DYES`, at
    `SPRITE_MPP`; ``half`` and ``quarter`` are the same at 2 and 4 times that pixel size, for coarse
    pictures. ``nuclei`` and ``cytoplasm`` are outlines (P, 2) in µm; debris has neither.
    ``measured`` are numbers taken from the drawing (see `koilo.phantom.morphometry`).
    """

    kind: str
    label: str
    dyes: NDArray[np.uint8]
    half: NDArray[np.uint8]
    quarter: NDArray[np.uint8]
    nuclei: tuple[Outline, ...]
    cytoplasm: Outline | None
    measured: dict[str, float]

    @property
    def reach_um(self) -> float:
        """Radius of the circle around its raster."""
        return float(self.half.shape[0] * SPRITE_MPP * 1.4143)

    def level(self, mpp: float) -> tuple[NDArray[np.uint8], float]:
        """The finest raster not finer than needed for ``mpp``, with its pixel size."""
        if mpp >= 3.6 * SPRITE_MPP:
            return self.quarter, 4 * SPRITE_MPP
        if mpp >= 1.8 * SPRITE_MPP:
            return self.half, 2 * SPRITE_MPP
        return self.dyes, SPRITE_MPP


def build_sprite(
    kind: str,
    label: str,
    dyes: NDArray[np.float32],
    nuclei: tuple[Outline, ...],
    cytoplasm: Outline | None,
    measured: dict[str, float],
    rng: np.random.Generator,
) -> Sprite:
    """Quantise dye amounts (H, W, 4), H and W multiples of 4, with a dither."""
    levels = [_quantised(dyes, rng)]
    for _ in range(2):
        h, w = dyes.shape[:2]
        dyes = cv2.resize(dyes, (w // 2, h // 2), interpolation=cv2.INTER_AREA)
        levels.append(_quantised(dyes, rng))
    return Sprite(kind, label, levels[0], levels[1], levels[2], nuclei, cytoplasm, measured)


def _quantised(dyes: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    scaled = dyes * np.float32(1 / DYE_STEP)
    scaled += rng.random(dyes.shape, dtype=np.float32) * (scaled > 0)
    return np.clip(scaled, 0, 255, out=scaled).astype(np.uint8)  # truncates: a dithered floor
