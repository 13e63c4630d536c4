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
        self.size_px = 4 * int(np.ceil(2 * half_um / mpp / 4))
        axis = (np.arange(self.size_px, dtype=np.float32) + 0.5 - self.size_px / 2) * mpp
        self.x_um = np.broadcast_to(axis[None, :], (self.size_px, self.size_px))
        self.y_um = np.broadcast_to(axis[:, None], (self.size_px, self.size_px))

    def fill(self, outline: Outline) -> Map:
        """Cover of each pixel by the outline, 0-1 with soft edges (H, W)."""
        points = outline / self.mpp + self.size_px / 2 - 0.5  # pixel centres, as OpenCV counts
        fixed = np.round(points * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        mask = np.zeros((self.size_px, self.size_px), np.uint8)
        cv2.fillPoly(mask, [fixed.reshape(-1, 1, 2)], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        return mask.astype(np.float32) * np.float32(1 / 255)

    def depth_um(self, cover: Map) -> Map:
        """Distance of each covered pixel from the outline, in µm; 0 outside."""
        inside = (cover >= 0.5).astype(np.uint8)
        return cv2.distanceTransform(inside, cv2.DIST_L2, 3) * np.float32(self.mpp)

    def noise(self, rng: np.random.Generator, scale_um: float, stretch: float = 1.0) -> Map:
        """Smooth noise of mean 0 and standard deviation 1 with grains of about ``scale_um``."""
        grain_px = max(scale_um / self.mpp, 1.0)
        rows = int(self.size_px / grain_px) + 4
        columns = int(self.size_px / (grain_px * stretch)) + 4
        coarse = rng.standard_normal((rows, columns), dtype=np.float32)
        size = (round(columns * grain_px * stretch), round(rows * grain_px))
        fine = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
        field = fine[: self.size_px, : self.size_px]
        return field * np.float32(1 / (field.std() + 1e-6))

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
