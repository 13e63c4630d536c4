"""Morphometry of a drawn cell: numbers measured on its outlines and dyes, never those asked for."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from koilo.phantom.outlines import Outline, area, contour_irregularity
from koilo.phantom.raster import Map, Raster

AREAS = ("nucleus_um2", "nuclei_um2", "cell_um2", "halo_um2")
"""Measures that grow with the square of a cell's scale when it is placed."""


def measure(
    nuclei: tuple[Outline, ...],
    body: Outline,
    dyes: NDArray[np.float32],
    nuclei_cover: Map,
    raster: Raster,
) -> dict[str, float]:
    """Sizes in µm², ratios without unit.

    Returns:
        ``nucleus_um2`` the largest nucleus, ``nuclei_um2`` all, ``cell_um2`` the whole cell,
        ``nc_area`` nuclei over cell by area, ``nc_linear`` its root, ``n_nuclei``, ``contour`` the
        largest `contour_irregularity`, ``elongation`` of the largest nucleus, ``nuclear_density``
        mean amount of haematoxylin, ``chromatin`` its relative standard deviation away from the
        membrane, ``displacement`` distance of nuclei from the cell's middle over the cell's radius
        (signed along x: positive towards a column's free end).
    """
    areas = [area(outline) for outline in nuclei]
    cell = area(body)
    largest = nuclei[int(np.argmax(areas))]
    core = cv2.erode((nuclei_cover > 0.5).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    inside = core if core.sum() >= 12 else nuclei_cover > 0.5
    haematoxylin = dyes[..., 0][inside]
    half_axes = np.sqrt(np.linalg.eigvalsh(np.cov(largest.T)).clip(1e-9, None))
    middle = np.concatenate(nuclei).mean(0) - body.mean(0)
    return {
        "nucleus_um2": max(areas),
        "nuclei_um2": sum(areas),
        "cell_um2": cell,
        "nc_area": sum(areas) / cell,
        "nc_linear": float(np.sqrt(sum(areas) / cell)),
        "n_nuclei": float(len(nuclei)),
        "contour": max(contour_irregularity(outline) for outline in nuclei),
        "elongation": float(half_axes[1] / half_axes[0]),
        "nuclear_density": float(dyes[..., 0][nuclei_cover > 0.5].mean()),
        "chromatin": float(haematoxylin.std() / max(haematoxylin.mean(), 1e-3)),
        "displacement": float(middle[0] / np.sqrt(cell / np.pi)),
    }
