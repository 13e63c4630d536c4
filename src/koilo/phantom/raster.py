"""Painting on a small raster in micrometres: filled outlines, textures, soft lines and discs."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from koilo.phantom.outlines import Outline

Map = NDArray[np.float32]  # (H, W)

_SUBPIXEL_BITS = 5


class Raster:
    """A square raster around (0, 0), lengths in µm; its side is a multiple of 4 pixels."""

    def __init__(self, half_um: float, mpp: float) -> None:
        self.mpp = mpp
        side = 4 * int(np.ceil(2 * half_um / mpp / 4))
        axis = (np.arange(side, dtype=np.float32) + 0.5 - side / 2) * np.float32(mpp)
        self._set_axes(axis, axis)

    def around(self, outline: Outline, margin_um: float) -> tuple[Raster, tuple[slice, slice]]:
        """The part of this raster around an outline, and its rows and columns here."""
        (left, top), (right, bottom) = outline.min(0) - margin_um, outline.max(0) + margin_um
        rows = slice(*np.searchsorted(self.y_axis_um, (top, bottom)).tolist())
        columns = slice(*np.searchsorted(self.x_axis_um, (left, right)).tolist())
        part = object.__new__(Raster)
        part.mpp = self.mpp
        part._set_axes(self.x_axis_um[columns], self.y_axis_um[rows])
        return part, (rows, columns)

    def _set_axes(self, x_axis_um: Map, y_axis_um: Map) -> None:
        self.x_axis_um, self.y_axis_um = x_axis_um, y_axis_um
        self.shape = (len(y_axis_um), len(x_axis_um))
        self.x_um = np.broadcast_to(x_axis_um[None, :], self.shape)
        self.y_um = np.broadcast_to(y_axis_um[:, None], self.shape)

    def fill(self, outline: Outline) -> Map:
        """Cover of each pixel by the outline, 0-1 with soft edges (H, W)."""
        corner = np.array([self.x_axis_um[0], self.y_axis_um[0]])
        points = (outline - corner) / self.mpp  # from pixel centres, as OpenCV counts
        fixed = np.round(points * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        mask = np.zeros(self.shape, np.uint8)
        cv2.fillPoly(mask, [fixed.reshape(-1, 1, 2)], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        return mask.astype(np.float32) * np.float32(1 / 255)

    def depth_um(self, cover: Map) -> Map:
        """Distance of each covered pixel from the outline, in µm; 0 outside."""
        inside = (cover >= 0.5).astype(np.uint8)
        return cv2.distanceTransform(inside, cv2.DIST_L2, 3) * np.float32(self.mpp)

    def noise(self, rng: np.random.Generator, scale_um: float, stretch: float = 1.0) -> Map:
        """Smooth noise of mean 0 and standard deviation 1 with grains of about ``scale_um``."""
        grain_px = max(scale_um / self.mpp, 1.0)
        rows = int(self.shape[0] / grain_px) + 4
        columns = int(self.shape[1] / (grain_px * stretch)) + 4
        coarse = rng.standard_normal((rows, columns), dtype=np.float32)
        size = (round(columns * grain_px * stretch), round(rows * grain_px))
        fine = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
        field = fine[: self.shape[0], : self.shape[1]]
        mean, deviation = cv2.meanStdDev(field)
        return (field - np.float32(mean[0, 0])) * np.float32(1 / (deviation[0, 0] + 1e-6))

    def disc(self, x_um: float, y_um: float, radius_um: float, soft_um: float = 0.25) -> Map:
        """A disc with a soft edge, 0-1."""
        distance = np.hypot(self.x_um - x_um, self.y_um - y_um)
        return (0.5 - (distance - radius_um) / (2 * soft_um)).clip(0, 1).astype(np.float32)

    def line(self, x_um: float, y_um: float, angle: float, bend_per_um: float) -> Map:
        """Signed distance in µm from a curved line through a point."""
        dx, dy = self.x_um - x_um, self.y_um - y_um
        along = dx * np.cos(angle) + dy * np.sin(angle)
        across = dy * np.cos(angle) - dx * np.sin(angle)
        return (across - bend_per_um * along**2).astype(np.float32)
