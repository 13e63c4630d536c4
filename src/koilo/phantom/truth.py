"""The truth of a placed cell: class, boxes, outlines, measures and descriptions."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from koilo.phantom.canvas import Placement, Window
from koilo.phantom.descriptions import describe
from koilo.phantom.kinds import KINDS
from koilo.phantom.morphometry import AREAS
from koilo.phantom.outlines import Outline

DETECTION_BOX_UM = 20.5
"""Side of the box that stands for a cell's point (CRIC's authors: 90 px of 0.228 µm)."""


@dataclass(frozen=True)
class CellTruth:
    """One cell as it was drawn. Frame: pixels of the picture, origin at its top left corner.

    ``box_px`` holds the whole cell, ``nucleus_box_px`` its nuclei: (x, y, w, h), the tight bounds
    of the outlines. ``nuclei_px`` and ``cytoplasm_px`` are the outlines (P, 2); masks are those
    outlines filled (`mask`). ``measured`` is as in `koilo.phantom.morphometry.measure`, scaled as
    the cell was placed. A real cell set into a composed slide has no outlines and no measures;
    ``source`` is the picture it came from and ``block`` what it must not be parted from.
    """

    label: str
    kind: str
    box_px: tuple[float, float, float, float]
    nucleus_box_px: tuple[float, float, float, float]
    nuclei_px: tuple[Outline, ...]
    cytoplasm_px: Outline
    arrangement: str
    squamous: bool
    measured: dict[str, float] = field(default_factory=dict)
    descriptions: tuple[str, ...] = ()
    source: str = ""
    block: str = ""

    @property
    def point_px(self) -> tuple[float, float]:
        """Centre of the nuclei's box (x, y): where a reader would click."""
        x, y, w, h = self.nucleus_box_px
        return x + w / 2, y + h / 2

    def detection_box_px(self, mpp: float) -> tuple[float, float, float, float]:
        """Square of `DETECTION_BOX_UM` on the point (x, y, w, h), as CRIC's points are boxed."""
        side = DETECTION_BOX_UM / mpp
        x, y = self.point_px
        return x - side / 2, y - side / 2, side, side


def truth_of(placement: Placement, window: Window) -> CellTruth:
    """The truth of a placed cell in a window's pixels (it may lie partly outside)."""
    kind = KINDS[placement.sprite.kind]
    assert placement.sprite.cytoplasm is not None
    nuclei = tuple(_to_px(placement.outline_um(o), window) for o in placement.sprite.nuclei)
    cytoplasm = _to_px(placement.outline_um(placement.sprite.cytoplasm), window)
    measured = dict(placement.sprite.measured)
    for name in AREAS:
        measured[name] *= placement.scale**2
    measured["nuclear_density"] *= float(placement.gains[0])
    measured["lift_um"], measured["tilt"] = placement.lift_um, placement.tilt
    return CellTruth(
        label=kind.label,
        kind=kind.name,
        box_px=_bounds(cytoplasm, *nuclei),
        nucleus_box_px=_bounds(*nuclei),
        nuclei_px=nuclei,
        cytoplasm_px=cytoplasm,
        arrangement=placement.arrangement,
        squamous=kind.squamous,
        measured=measured,
        descriptions=describe(kind.label, measured, placement.arrangement),
    )


def mask(outlines: tuple[Outline, ...], size_px: tuple[int, int]) -> NDArray[np.bool_]:
    """Outlines filled on a raster of (width, height) pixels: True where a pixel's centre is inside.

    >>> mask((np.array([[1, 1], [3, 1], [3, 2], [1, 2]], np.float32),), (4, 3)).sum()
    np.int64(2)
    """
    width, height = size_px
    inside = np.zeros((height, width), bool)
    centres_y = np.arange(height) + 0.5
    for outline in outlines:
        crossings = np.zeros((height, width + 1), np.int32)
        start = outline.astype(np.float64)
        for (x0, y0), (x1, y1) in zip(start, np.roll(start, -1, axis=0), strict=True):
            low, high = np.searchsorted(centres_y, sorted((y0, y1)))
            rows = np.arange(low, high)
            if len(rows):
                x = x0 + (centres_y[rows] - y0) * (x1 - x0) / (y1 - y0)
                columns = np.ceil(x - 0.5).clip(0, width).astype(int)
                crossings[rows, columns] += 1
        inside |= crossings.cumsum(1)[:, :width] % 2 == 1
    return inside


def _to_px(outline_um: Outline, window: Window) -> Outline:
    origin = np.array([window.x_um, window.y_um])
    return ((outline_um - origin) / window.mpp).astype(np.float32)


def _bounds(*outlines: Outline) -> tuple[float, float, float, float]:
    points = np.concatenate(outlines)
    x, y = points.min(0).tolist()
    right, bottom = points.max(0).tolist()
    return x, y, right - x, bottom - y
