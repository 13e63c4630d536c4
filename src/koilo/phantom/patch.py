"""Pieces of real pictures set into a phantom slide with blended seams."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from koilo.datasets import LabelledCell
from koilo.phantom.truth import CellTruth
from koilo.slides import Slide

_FEATHER_UM = 9.0
_DARKEST_GLASS = 190.0
_LEAST_LIGHT = 0.02

Rectangle = tuple[int, int, int, int]
"""x, y, width, height in pixels."""


@dataclass(frozen=True)
class Cut:
    """What to take out of a source: its place there (level-0 px), and how it is turned.

    ``turns`` quarter turns to the left after a mirror image where ``mirrored``. A ``straight``
    border follows the rectangle's sides and keeps its corners: a whole field; else it is wavy.
    """

    slide_id: str
    box_px0: tuple[float, float, float, float]
    turns: int = 0
    mirrored: bool = False
    straight: bool = False


@dataclass(frozen=True)
class Patch:
    """A piece of a real picture on a slide: the light it lets through, and its labelled cells.

    ``light`` uint8 (H, W, 3), 255 where all passes: the picture over its own glass, so that glass
    upon glass leaves no seam and cut cells fade out at the border (densities add: Beer-Lambert).
    ``x_px0, y_px0`` its corner on the slide; ``truths`` in pixels of the patch.
    """

    light: NDArray[np.uint8]
    truths: tuple[CellTruth, ...]
    x_px0: int = 0
    y_px0: int = 0

    @property
    def rectangle_px0(self) -> Rectangle:
        """Where it lies on the slide."""
        return self.x_px0, self.y_px0, self.light.shape[1], self.light.shape[0]

    def at(self, x_px0: int, y_px0: int) -> Patch:
        """The same patch with its corner elsewhere."""
        return replace(self, x_px0=x_px0, y_px0=y_px0)

    def truths_px0(self) -> list[CellTruth]:
        """Its cells in the slide's level-0 pixels."""
        return [_shifted(truth, self.x_px0, self.y_px0) for truth in self.truths]


def glass_of(source: Slide) -> NDArray[np.float32]:
    """Grey levels (3,) of a source's brightest two per cent: its glass, as far as it shows any."""
    small = source.thumbnail((640, 640))
    bright = np.percentile(small.reshape(-1, 3), 98, axis=0)
    return np.maximum(bright, _DARKEST_GLASS).astype(np.float32)


def cut_patch(
    source: Slide,
    cut: Cut,
    cells: Iterable[LabelledCell],
    mpp: float,
    glass: NDArray[np.float32],
    rng: np.random.Generator,
) -> tuple[Patch, list[LabelledCell]]:
    """Read a piece of a source at ``mpp``, with the cells that show in it.

    Cells are carried whose point lies where ``alpha`` is over a half.

    Args:
        source: an open slide or field with a known pixel size.
        cut: what to take, within the source.
        cells: all labelled cells of the source.
        mpp: µm a pixel of the slide to come.
        glass: (3,) grey levels of the source's clear glass.
        rng: shapes the border.

    Returns:
        the patch, and the cells it carries.
    """
    x_px0, y_px0, w_px0, h_px0 = cut.box_px0
    zoom = float(source.mpp or mpp) / mpp
    size = (max(int(w_px0 * zoom), 8), max(int(h_px0 * zoom), 8))
    rgb = source.read_at_mpp((round(x_px0), round(y_px0)), mpp, size)
    passed = (rgb / glass).clip(_LEAST_LIGHT, 1.0).astype(np.float32)
    border = _straight_border if cut.straight else _wavy_border
    alpha = _alpha(border(rng, size), size, _FEATHER_UM / mpp)
    truths, carried = [], []
    for cell in cells:
        x = (cell.x_px0 - round(x_px0)) * zoom
        y = (cell.y_px0 - round(y_px0)) * zoom
        truth = _real_truth(cell, (x, y, cell.w_px0 * zoom, cell.h_px0 * zoom))
        column, row = (int(v) for v in truth.point_px)
        if 0 <= column < size[0] and 0 <= row < size[1] and alpha[row, column] > 0.5:
            truths.append(_turned(truth, size, cut))
            carried.append(cell)
    light = np.exp(alpha[..., None] * np.log(passed))
    if cut.mirrored:
        light = light[:, ::-1]
    light = np.rot90(light, cut.turns)
    steps = np.round(light * 255).astype(np.uint8)
    return Patch(np.ascontiguousarray(steps), tuple(truths)), carried


def lay_over(
    rgb: NDArray[np.uint8], x_px0: int, y_px0: int, patches: Sequence[Patch]
) -> NDArray[np.uint8]:
    """A part of a slide with its corner at (x_px0, y_px0), every patch on it laid in."""
    height, width = rgb.shape[:2]
    for patch in patches:
        left, top, w, h = patch.rectangle_px0
        x0, y0 = max(left, x_px0), max(top, y_px0)
        x1, y1 = min(left + w, x_px0 + width), min(top + h, y_px0 + height)
        if x0 >= x1 or y0 >= y1:
            continue
        here = (slice(y0 - y_px0, y1 - y_px0), slice(x0 - x_px0, x1 - x_px0))
        there = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        rgb[here] = cv2.multiply(rgb[here], patch.light[there], scale=1 / 255)
    return rgb


def _straight_border(_: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float64]:
    """Depth in pixels below the nearest side (H, W)."""
    x, y = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    return np.minimum(np.minimum(x, size[0] - x)[None, :], np.minimum(y, size[1] - y)[:, None])


def _wavy_border(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.float64]:
    """Depth in pixels below a wavy, rounded border (H, W); negative outside."""
    x = (np.arange(size[0]) + 0.5) * 2 / size[0] - 1
    y = (np.arange(size[1]) + 0.5) * 2 / size[1] - 1
    turn = np.arctan2(y[:, None], x[None, :])
    phases = rng.uniform(0, 2 * np.pi, 5)
    waves = sum(np.cos(k * turn + phases[k - 2]) / k for k in range(2, 7))
    radius = (np.abs(x[None, :]) ** 3 + np.abs(y[:, None]) ** 3) ** (1 / 3) * (1.08 + 0.08 * waves)
    return np.asarray((1 - radius) * min(size) / 2)


def _alpha(
    depth_px: NDArray[np.float64], size: tuple[int, int], feather_px: float
) -> NDArray[np.float32]:
    """1 in the middle, falling smoothly to 0 at the border (H, W)."""
    share = (depth_px / max(min(feather_px, min(size) / 4), 1.0)).clip(0, 1)
    return (share * share * (3 - 2 * share)).astype(np.float32)


def _real_truth(cell: LabelledCell, box_px: tuple[float, float, float, float]) -> CellTruth:
    return CellTruth(
        label=cell.label,
        kind="real",
        box_px=box_px,
        nucleus_box_px=box_px,
        nuclei_px=(),
        cytoplasm_px=np.empty((0, 2), np.float32),
        arrangement="composed",
        squamous=cell.label != "AGC",
        source=cell.slide_id,
        block=cell.block,
    )


def _turned(truth: CellTruth, size: tuple[int, int], cut: Cut) -> CellTruth:
    x, y, w, h = truth.box_px
    width, height = size
    if cut.mirrored:
        x = width - x - w
    for _ in range(cut.turns % 4):  # as np.rot90: the right border becomes the upper one
        x, y, w, h = y, width - x - w, h, w
        width, height = height, width
    return replace(truth, box_px=(x, y, w, h), nucleus_box_px=(x, y, w, h))


def _shifted(truth: CellTruth, dx: int, dy: int) -> CellTruth:
    x, y, w, h = truth.box_px
    box = (x + dx, y + dy, w, h)
    return replace(truth, box_px=box, nucleus_box_px=box)
