"""Find places of a field without a labelled cell, so that a cell model learns what is no cell.

Two kinds: anywhere far from every label, and dark blobs far from every label, which are what a
detector finds by mistake (leukocytes, debris, folds). The second kind is only safe in fields whose
unlabelled nuclei are unlikely to be lesions.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class BackgroundPlaces:
    """How many places to take and how far from labels; lengths in µm."""

    n_anywhere: int = 8
    n_dark: int = 8
    clear_um: float = 12.0
    """least distance of a random place from a labelled centre"""
    dark_clear_um: float = 10.0
    """least distance of a dark place from a labelled centre"""
    margin_um: float = 5.0
    """least distance from the field's edge"""


_NUCLEUS_UM = 2.0  # sigma of the inner Gaussian: a small nucleus
_SURROUND_UM = 7.0
_CONTRAST = 0.12  # optical density by which a blob stands out
_APART_UM = 8.5


def find_background(
    field_rgb: NDArray[np.uint8],
    mpp: float,
    centres_px: ArrayLike,
    rng: np.random.Generator,
    places: BackgroundPlaces = BackgroundPlaces(),
) -> NDArray[np.float64]:
    """Places without a labelled cell, ``(M, 2)``, x before y, in pixels of the field.

    Args:
        field_rgb: uint8 ``(H, W, 3)``.
        mpp: µm per pixel of the field.
        centres_px: ``(N, 2)`` labelled centres in pixels of the field.
        rng: the source of every draw.
        places: how many of each kind, and how far from labels.
    """
    centres = np.asarray(centres_px, np.float64).reshape(-1, 2)
    size = np.asarray(field_rgb.shape[1::-1], np.float64)
    margin = np.minimum(places.margin_um / mpp, size / 2)
    anywhere = rng.uniform(margin, size - margin, (50 * max(1, places.n_anywhere), 2))
    anywhere = anywhere[_distance(anywhere, centres) > places.clear_um / mpp]
    dark = _dark_blobs(field_rgb, mpp)
    inside = ((dark >= margin) & (dark <= size - margin)).all(1)
    dark = rng.permutation(dark[inside & (_distance(dark, centres) > places.dark_clear_um / mpp)])
    return np.concatenate([anywhere[: places.n_anywhere], dark[: places.n_dark]])


def _dark_blobs(field_rgb: NDArray[np.uint8], mpp: float) -> NDArray[np.float64]:
    """Local maxima of red's optical density, nuclei's darkest channel, over its surroundings."""
    density = -np.log((field_rgb[:, :, 0].astype(np.float32) + 1) / 256)
    inner = cv2.GaussianBlur(density, (0, 0), _NUCLEUS_UM / mpp)
    contrast = inner - cv2.GaussianBlur(density, (0, 0), _SURROUND_UM / mpp)
    reach = 2 * round(_APART_UM / mpp / 2) + 1
    peaks = (contrast == cv2.dilate(contrast, np.ones((reach, reach)))) & (contrast > _CONTRAST)
    y, x = np.nonzero(peaks)
    return np.stack([x, y], axis=1).astype(np.float64)  # (M, 2)


def _distance(points: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each point to the nearest centre, ``(M,)``; infinite without centres."""
    if not len(centres):
        return np.full(len(points), np.inf)
    gaps = np.linalg.norm(points[:, None] - centres[None], axis=2)  # (M, N)
    return np.asarray(gaps.min(1))
