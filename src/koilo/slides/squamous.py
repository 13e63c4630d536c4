"""Count nucleated squamous cells of a tile by classical means: dark blobs, weighed by surroundings.

Every blob darker in red than its surroundings is a candidate nucleus; a logistic rule over its
contrast at five sizes, its colour, the stain around it and its neighbours gives the probability
that a reader would call it a squamous cell's (leukocytes, debris and crowded groups get little).
The sum of the probabilities, over the share of nuclei that make a candidate, is the count: unbiased
where the rule is calibrated, which a cut at one half is not. Coefficients:
``taxonomy/adequacy.yaml``, fitted by ``runs/calibrate_quality.py``.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from koilo.slides.artefacts import Channel, optical_density
from koilo.slides.foreground import Glass, glass_colour
from koilo.taxonomy import load_table

COUNT_MPP = 1.0

FEATURES = (
    *(f"contrast_{i}" for i in range(5)),
    "size_step",
    *(f"nucleus_{c}" for c in "rgb"),
    *(f"around_{c}" for c in "rgb"),
    *("stained_27", "stained_51", "dark_15", "dark_31", "dark_61", "near_12", "near_25"),
)

_SIGMAS_UM = (1.8, 2.7, 4.0, 6.0, 9.0, 13.5)  # neighbours differ by one blob size each
_HALVE_FROM_UM = 4.0
_LEAST_CONTRAST = 0.05
_STAIN_OD = 0.06
_DARK_OD = 0.30


def count_squamous(
    rgb: NDArray[np.uint8], mpp: float = COUNT_MPP, glass: Glass | None = None
) -> int:
    """Expected number of nucleated squamous cells with their nucleus in the picture.

    Args:
        rgb: uint8 (H, W, 3).
        mpp: µm a pixel; resampled to 1.0 where it differs.
        glass: colour of blank glass (`Foreground.glass`); by default taken from the picture.
    """
    if abs(mpp / COUNT_MPP - 1) > 0.01:
        size = [max(1, round(n * mpp / COUNT_MPP)) for n in (rgb.shape[1], rgb.shape[0])]
        way = cv2.INTER_AREA if mpp < COUNT_MPP else cv2.INTER_LINEAR
        rgb = cv2.resize(rgb, size, interpolation=way)
    found_share = float(_table()["found_share"])
    return round(float(squamous_probabilities(rgb, glass)[1].sum()) / found_share)


def squamous_probabilities(
    rgb: NDArray[np.uint8], glass: Glass | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Candidate nuclei and the probability of each to be a squamous cell's.

    Args:
        rgb: uint8 (H, W, 3) at 1.0 µm a pixel.
        glass: colour of blank glass (`Foreground.glass`); by default taken from the picture.

    Returns:
        Places (N, 2) as x, y in pixels, and probabilities (N,).
    """
    places, features = candidates(rgb, glass)
    rule = _rule()
    score = rule["intercept"] + (features - rule["mean"]) / rule["scale"] @ rule["weight"]
    return places, 1 / (1 + np.exp(-score))


def candidates(
    rgb: NDArray[np.uint8], glass: Glass | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Dark blobs of a picture at 1.0 µm a pixel and what is known of each.

    Returns:
        Places (N, 2) as x, y, and features (N, F) in the order of ``FEATURES``.
    """
    density = optical_density(rgb, glass_colour(rgb) if glass is None else glass)
    ladder = [_blurred(density.r, sigma) for sigma in _SIGMAS_UM]
    contrasts = np.stack([a - b for a, b in pairwise(ladder)])  # (5, H, W)
    best = contrasts.max(axis=0)
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    peaks = (best >= cv2.dilate(best, around)) & (best > _LEAST_CONTRAST)
    y, x = np.nonzero(peaks)
    at = contrasts[:, y, x]  # (5, N)
    stained = (density.high > _STAIN_OD).astype(np.float32)
    dark = (ladder[0] > _DARK_OD).astype(np.float32)
    points = peaks.astype(np.float32)
    columns = [
        *at,
        np.argmax(at, axis=0),
        *(_mean(channel, 5)[y, x] for channel in (density.r, density.g, density.b)),
        *(_mean(channel, 27)[y, x] for channel in (density.r, density.g, density.b)),
        *(_mean(stained, size)[y, x] for size in (27, 51)),
        *(_mean(dark, size)[y, x] for size in (15, 31, 61)),
        np.minimum(_mean(points, 21)[y, x] * 21 * 21 - 1, 6),
        np.minimum(_mean(points, 51)[y, x] * 51 * 51 - 1, 15),
    ]
    return np.column_stack([x, y]), np.column_stack(columns).astype(np.float64)


def _blurred(channel: Channel, sigma: float) -> Channel:
    """Gaussian blur; a wide one at half the resolution, at an eighth of the cost."""
    if sigma < _HALVE_FROM_UM:
        return cv2.GaussianBlur(channel, (0, 0), sigma)
    height, width = channel.shape
    half = cv2.resize(
        channel, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA
    )
    half = cv2.GaussianBlur(half, (0, 0), sigma / 2)
    return cv2.resize(half, (width, height), interpolation=cv2.INTER_LINEAR)


def _mean(channel: Channel, size: int) -> Channel:
    return cv2.blur(channel, (size, size), borderType=cv2.BORDER_REFLECT)


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = load_table("adequacy")
    return table


@cache
def _rule() -> dict[str, Any]:
    """Coefficients of the logistic rule in the order of ``FEATURES``."""
    table = _table()["squamous_rule"]
    rows = np.array([table["features"][name] for name in FEATURES], np.float64)  # (F, 3)
    return {"intercept": float(table["intercept"]), "mean": rows[:, 0], "scale": rows[:, 1],
            "weight": rows[:, 2]}  # fmt: skip
