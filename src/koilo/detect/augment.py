"""Cut a training tile out of a labelled scene, changed as another laboratory would change it.

Place, scale and rotation first, with the boxes carried along; then stain in optical density (where
stains add), light, focus, camera noise and JPEG. Numpy and OpenCV only.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from koilo.detect.targets import TileTruth

Image = NDArray[np.uint8]

_OD = -np.log((np.arange(256, dtype=np.float32) + 1.0) / 256.0)


@dataclass(frozen=True)
class Scene:
    """A picture with labelled cells, held for training.

    Attributes:
        rgb: (H, W, 3) uint8.
        mpp: its pixel size; finer than the detector's, so that scaling has something to take from.
        boxes_px: (N, 4) float32 x, y, w, h in its own pixels.
        positive: (N,) bool, lesion or normal.
        background_weights: see `TileTruth`.
        name: the field's or slide's name.
    """

    rgb: Image
    mpp: float
    boxes_px: NDArray[np.float32]
    positive: NDArray[np.bool_]
    background_weights: tuple[float, float] = (1.0, 1.0)
    name: str = ""


@dataclass(frozen=True)
class TileAugmentation:
    """How far a training tile may be changed; every range is drawn evenly, 0 turns one off."""

    scale: tuple[float, float] = (0.75, 1.35)
    """magnification"""
    stain_gain: float = 0.35
    """largest relative change of each colour channel's optical density"""
    stain_mix: float = 0.15
    """largest leak of one channel's optical density into another"""
    light: float = 0.10
    """largest change of each channel's lamp level, in optical density"""
    contrast: float = 0.25
    """largest relative change of all optical density together"""
    blur_px: float = 1.2
    """largest Gaussian blur; half of the tiles get some"""
    noise: float = 5.0
    """largest standard deviation of camera noise, in grey levels; a third of the tiles get some"""
    jpeg: int = 40
    """lowest JPEG quality; a third of the tiles are compressed again; 100 = none"""


def cut_tile(
    scene: Scene,
    centre_px: tuple[float, float],
    *,
    size_px: int,
    mpp: float,
    rng: np.random.Generator,
    settings: TileAugmentation | None,
) -> tuple[Image, TileTruth]:
    """Cut a (size_px, size_px, 3) tile at ``mpp`` around ``centre_px`` of the scene.

    Ground outside the scene is mirrored and marked as not valid. ``settings`` None cuts an
    upright, unchanged tile.
    """
    factor = scene.mpp / mpp  # tile pixels to one scene pixel
    angle, flip = 0.0, 1.0
    if settings is not None:
        factor *= float(np.exp(rng.uniform(*np.log(settings.scale))))
        angle, flip = rng.uniform(0, 2 * np.pi), float(rng.choice([-1.0, 1.0]))
    cos, sin = factor * np.cos(angle), factor * np.sin(angle)
    turn = np.array([[cos * flip, -sin], [sin * flip, cos]])  # scene -> tile
    shift = np.full(2, size_px / 2) - turn @ np.asarray(centre_px)
    rgb, valid = _warp(scene.rgb, turn, shift, size_px, factor)
    truth = _move_boxes(scene, turn, shift, factor, valid)
    if settings is not None:
        rgb = _degrade(_stain(rgb, rng, settings), rng, settings)
    return rgb, truth


def _warp(
    rgb: Image, turn: NDArray[np.float64], shift: NDArray[np.float64], size_px: int, factor: float
) -> tuple[Image, NDArray[np.bool_]]:
    # OpenCV counts pixel centres from 0, our frame pixel edges: half a pixel each way.
    offset = shift + turn @ np.full(2, 0.5) - 0.5
    matrix = np.concatenate([turn, offset[:, None]], axis=1)
    if factor < 0.8:  # a linear warp samples 2 x 2 pixels: soften what it would skip
        rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), 0.35 / factor), np.uint8)
    size = (size_px, size_px)
    warped = cv2.warpAffine(
        rgb, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    inside = cv2.warpAffine(np.ones(rgb.shape[:2], np.uint8), matrix, size, flags=cv2.INTER_NEAREST)
    return np.asarray(warped, np.uint8), inside.astype(bool)


def _move_boxes(
    scene: Scene,
    turn: NDArray[np.float64],
    shift: NDArray[np.float64],
    factor: float,
    valid: NDArray[np.bool_],
) -> TileTruth:
    """Carry the boxes along: centres turn, sides scale (a box stays upright)."""
    boxes = scene.boxes_px.astype(np.float64)
    centres = (boxes[:, :2] + boxes[:, 2:] / 2) @ turn.T + shift
    sides = boxes[:, 2:] * factor
    size_px = valid.shape[0]
    kept = ((centres >= 0) & (centres < size_px)).all(axis=1)
    moved = np.concatenate([centres - sides / 2, sides], axis=1)[kept].astype(np.float32)
    return TileTruth(moved, scene.positive[kept], valid, scene.background_weights)


def _stain(rgb: Image, rng: np.random.Generator, settings: TileAugmentation) -> Image:
    matrix = np.diag(1 + settings.stain_gain * rng.uniform(-1, 1, 3))
    matrix += settings.stain_mix * rng.uniform(-1, 1, (3, 3)) * (1 - np.eye(3))
    matrix *= 1 + settings.contrast * rng.uniform(-1, 1)
    light = settings.light * rng.uniform(-1, 1, 3)
    od = _OD[rgb].reshape(-1, 3) @ matrix.T.astype(np.float32) + light.astype(np.float32)
    return np.clip(256 * np.exp(-od) - 1, 0, 255).astype(np.uint8).reshape(rgb.shape)


def _degrade(rgb: Image, rng: np.random.Generator, settings: TileAugmentation) -> Image:
    if settings.blur_px > 0.2 and rng.random() < 0.5:
        rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.2, settings.blur_px)))
    if settings.noise > 0 and rng.random() < 1 / 3:
        noise = rng.standard_normal(rgb.shape, np.float32) * rng.uniform(0, settings.noise)
        rgb = np.clip(rgb + noise, 0, 255).astype(np.uint8)
    if settings.jpeg < 100 and rng.random() < 1 / 3:
        quality = int(rng.integers(settings.jpeg, 96))
        _, data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])
        rgb = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return np.asarray(rgb, np.uint8)
