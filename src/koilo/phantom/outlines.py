"""Outlines of cells and nuclei: closed polygons in micrometres around (0, 0).

An outline is the truth: the drawing is filled from it, and areas, boxes and masks are measured on
it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Outline = NDArray[np.float32]  # (P, 2) x, y in µm, closed implicitly

_NUCLEUS_POINTS = 72
_CELL_POINTS = 96


def nucleus_outline(
    rng: np.random.Generator, area_um2: float, aspect: float, irregularity: float
) -> Outline:
    """An ellipse-like contour of exactly ``area_um2`` with notches and bulges.

    ``irregularity`` is about the relative standard deviation of the radius: 0.01 smooth, 0.1
    raisin.
    """
    theta = _angles(_NUCLEUS_POINTS)
    radius = 1.0 + _harmonics(rng, theta, irregularity, lowest=2, highest=8, decay=1.0)
    if rng.random() < min(1.0, irregularity * 5):  # a notch, as folded membranes show
        width, depth = rng.uniform(0.12, 0.3), irregularity * rng.uniform(1.0, 2.4)
        turn = np.angle(np.exp(1j * (theta - rng.uniform(0, 2 * np.pi))))
        radius -= depth * np.exp(-((turn / width) ** 2))
    points = _polar(theta, radius.clip(0.35, None)) * np.array(
        [np.sqrt(aspect), 1 / np.sqrt(aspect)]
    )
    return _with_area(_rotated(points, rng.uniform(0, 2 * np.pi)), area_um2)


def cell_outline(rng: np.random.Generator, shape: str, area_um2: float, aspect: float) -> Outline:
    """A cytoplasm's contour of exactly ``area_um2``.

    ``shape``: ``polygon`` (mature squamous), ``round``, ``ragged``, ``spindle``, ``tadpole`` or
    ``column``. The long axis of the last three lies along x.
    """
    maker = {
        "polygon": _polygon,
        "round": _round,
        "ragged": _ragged,
        "spindle": _spindle,
        "tadpole": _tadpole,
        "column": _column,
    }[shape]
    points = maker(rng) * np.array([np.sqrt(aspect), 1 / np.sqrt(aspect)])
    if shape in ("polygon", "round", "ragged"):
        points = _rotated(points, rng.uniform(0, 2 * np.pi))
    return _with_area(points, area_um2)


def area(outline: Outline) -> float:
    """Area enclosed by an outline, in its unit squared.

    >>> area(np.array([[0, 0], [2, 0], [2, 3], [0, 3]], np.float32))
    6.0
    """
    x, y = outline[:, 0].astype(float), outline[:, 1].astype(float)
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def contour_irregularity(outline: Outline) -> float:
    """Excess of the perimeter over that of the convex hull's best ellipse: 0 for any ellipse.

    Measured as perimeter over the perimeter of the ellipse of equal second moments, less 1.
    """
    points = outline.astype(np.float64)
    edge = np.linalg.norm(points - np.roll(points, -1, axis=0), axis=1)
    moments = cv2.moments(outline.astype(np.float32).reshape(-1, 1, 2))
    mass = moments["m00"]
    spread = (
        np.array([[moments["mu20"], moments["mu11"]], [moments["mu11"], moments["mu02"]]]) / mass
    )
    half_axes = 2 * np.sqrt(np.linalg.eigvalsh(spread).clip(1e-9, None))  # semi-minor, semi-major
    a, b = half_axes[1], half_axes[0]
    ellipse = np.pi * (3 * (a + b) - np.sqrt((3 * a + b) * (a + 3 * b)))  # Ramanujan
    return float(edge.sum() / ellipse - 1)


def moved(outline: Outline, dx_um: float, dy_um: float) -> Outline:
    """The outline shifted."""
    return outline + np.array([dx_um, dy_um], np.float32)


def _angles(n: int) -> NDArray[np.float64]:
    return np.linspace(0, 2 * np.pi, n, endpoint=False)


def _polar(theta: NDArray[np.float64], radius: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([radius * np.cos(theta), radius * np.sin(theta)], axis=1)


def _harmonics(
    rng: np.random.Generator,
    theta: NDArray[np.float64],
    amplitude: float,
    *,
    lowest: int,
    highest: int,
    decay: float,
) -> NDArray[np.float64]:
    orders = np.arange(lowest, highest + 1)
    weights = orders.astype(float) ** -decay * rng.lognormal(0, 0.5, len(orders))
    weights *= amplitude * np.sqrt(2) / np.linalg.norm(weights)
    phases = rng.uniform(0, 2 * np.pi, len(orders))
    return (weights[:, None] * np.cos(orders[:, None] * theta + phases[:, None])).sum(0)


def _rotated(points: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    c, s = np.cos(angle), np.sin(angle)
    return points @ np.array([[c, s], [-s, c]])


def _with_area(points: NDArray[np.float64], area_um2: float) -> Outline:
    points = points - points.mean(0)
    scale = np.sqrt(area_um2 / max(area(points.astype(np.float32)), 1e-6))
    return (points * scale).astype(np.float32)


def _resampled(corners: NDArray[np.float64], smooth: float) -> NDArray[np.float64]:
    """Corners joined by straight edges, sampled evenly, then rounded by a circular Gaussian."""
    closed = np.vstack([corners, corners[:1]])
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    at = np.linspace(0, length[-1], _CELL_POINTS, endpoint=False)
    points = np.stack([np.interp(at, length, closed[:, k]) for k in (0, 1)], axis=1)
    lags = np.minimum(np.arange(_CELL_POINTS), _CELL_POINTS - np.arange(_CELL_POINTS))
    kernel = np.exp(-0.5 * (lags / smooth) ** 2)
    spectrum = np.fft.fft(kernel / kernel.sum())[:, None] * np.fft.fft(points, axis=0)
    return np.real(np.fft.ifft(spectrum, axis=0))


def _polygon(rng: np.random.Generator) -> NDArray[np.float64]:
    n = int(rng.integers(5, 9))
    theta = np.sort(_angles(n) + rng.uniform(-0.5, 0.5, n) * 2 * np.pi / n * 0.7)
    corners = _polar(theta, rng.uniform(0.78, 1.18, n))
    points = _resampled(corners, rng.uniform(1.2, 3.2))
    around = np.arctan2(points[:, 1], points[:, 0])
    ripple = 1 + _harmonics(rng, around, rng.uniform(0.006, 0.02), lowest=6, highest=22, decay=0.3)
    return points * ripple[:, None]


def _round(rng: np.random.Generator) -> NDArray[np.float64]:
    theta = _angles(_CELL_POINTS)
    return _polar(theta, 1 + _harmonics(rng, theta, 0.035, lowest=2, highest=8, decay=1.0))


def _ragged(rng: np.random.Generator) -> NDArray[np.float64]:
    theta = _angles(_CELL_POINTS)
    radius = 1 + _harmonics(rng, theta, rng.uniform(0.05, 0.11), lowest=2, highest=9, decay=1.0)
    if rng.random() < 0.4:  # a tail, as "spider" cells have
        turn = np.angle(np.exp(1j * (theta - rng.uniform(0, 2 * np.pi))))
        radius += rng.uniform(0.2, 0.7) * np.exp(-((turn / rng.uniform(0.15, 0.3)) ** 2))
    return _polar(theta, radius.clip(0.4, None))


def _spindle(rng: np.random.Generator) -> NDArray[np.float64]:
    t = _angles(_CELL_POINTS)
    x = np.cos(t)
    half = (1 - x**2).clip(0, None) ** rng.uniform(0.6, 0.95)
    y = np.sign(np.sin(t)) * half
    bend = rng.normal(0, 0.35) * x**2
    wobble = _harmonics(rng, t, 0.05, lowest=2, highest=7, decay=0.8)
    return np.stack([x, y * (1 + wobble) + bend], axis=1)


def _tadpole(rng: np.random.Generator) -> NDArray[np.float64]:
    t = _angles(_CELL_POINTS)
    x = np.cos(t)
    taper = 0.12 + 0.88 * 1 / (1 + np.exp(-(x - rng.uniform(-0.1, 0.4)) * 6))
    y = np.sign(np.sin(t)) * np.sqrt((1 - x**2).clip(0, None)) * taper
    bend = rng.normal(0, 0.3) * (1 - x) ** 2 / 2
    return np.stack([x, y + bend], axis=1)


def _column(rng: np.random.Generator) -> NDArray[np.float64]:
    width = rng.uniform(0.75, 1.0)
    corners = np.array(
        [[1, 0.62], [1, -0.62], [-0.2, -width * 0.6], [-1, -0.22], [-1, 0.22], [-0.2, width * 0.6]]
    )
    corners = corners + rng.normal(0, 0.06, corners.shape)
    return _resampled(corners, rng.uniform(2.0, 3.5))
