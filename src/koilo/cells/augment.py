"""Change a training crop as another laboratory would: place, stain, optics, camera, JPEG.

The order is that of the real chain: the cell lies anyhow on the glass, the stain is stronger or
another tint (optical density, where stains add), the lamp and the focus differ, the camera adds
noise, the file is compressed. Numpy and OpenCV only.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

_OD = -np.log((np.arange(256, dtype=np.float32) + 1.0) / 256.0)


@dataclass(frozen=True)
class Augmentation:
    """How far a training crop may be changed; every range is drawn evenly."""

    scale: tuple[float, float] = (0.85, 1.2)
    """magnification of the cell"""
    shift_px: float = 4.0
    """largest shift of the centre, in pixels of the crop"""
    stain_gain: float = 0.25
    """largest relative change of each colour channel's optical density"""
    stain_mix: float = 0.10
    """largest leak of one channel's optical density into another"""
    light: float = 0.08
    """largest change of each channel's lamp level, in optical density"""
    contrast: float = 0.20
    """largest relative change of the contrast of optical density, all channels together"""
    blur_px: float = 1.2
    """largest Gaussian blur, in pixels; half of the crops get some"""
    noise: float = 4.0
    """largest standard deviation of camera noise, in grey levels; a third of the crops get some"""
    jpeg: int = 45
    """lowest JPEG quality; a third of the crops are compressed again; 100 turns it off"""
    grey: float = 0.0
    """share of crops whose colour is pulled halfway or more to grey"""
    strength: float = 1.0
    """multiplies all ranges of stain, light and contrast"""


def augment_crop(
    patch: Image, size_px: int, rng: np.random.Generator, settings: Augmentation
) -> Image:
    """Cut a changed ``(size_px, size_px, 3)`` crop out of the middle of a larger patch.

    Args:
        patch: uint8 RGB ``(S, S, 3)`` at the model's pixel size, the cell at its centre; with
            S >= 1.7 ``size_px`` a rotation needs almost no made-up corner (reflected).
        size_px: side of the crop.
        rng: the source of every draw.
        settings: the ranges.
    """
    crop = _place(patch, size_px, rng, settings)
    crop = _stain(crop, rng, settings)
    return _degrade(crop, rng, settings)


def centre_crop(patch: Image, size_px: int) -> Image:
    """Cut the ``(size_px, size_px, 3)`` middle out of a patch without changing it."""
    top, left = ((np.asarray(patch.shape[:2]) - size_px) // 2).tolist()
    return patch[top : top + size_px, left : left + size_px]


def _place(patch: Image, size_px: int, rng: np.random.Generator, settings: Augmentation) -> Image:
    angle = rng.uniform(0.0, 2.0 * np.pi)
    scale = np.exp(rng.uniform(*np.log(settings.scale)))
    shift = rng.uniform(-settings.shift_px, settings.shift_px, 2)
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    flip = 1.0 if rng.random() < 0.5 else -1.0
    inverse = np.array([[cos * flip, -sin], [sin * flip, cos]])  # crop -> patch
    centre = (size_px - 1) / 2.0
    offset = (np.asarray(patch.shape[1::-1]) - 1) / 2.0 - inverse @ (centre + shift)
    matrix = np.concatenate([inverse, offset[:, None]], axis=1)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(
        patch, matrix, (size_px, size_px), flags=flags, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(warped, np.uint8)


def _stain(crop: Image, rng: np.random.Generator, settings: Augmentation) -> Image:
    strength = settings.strength
    matrix = np.diag(1.0 + strength * settings.stain_gain * rng.uniform(-1, 1, 3))
    matrix += strength * settings.stain_mix * rng.uniform(-1, 1, (3, 3)) * (1 - np.eye(3))
    matrix *= 1.0 + strength * settings.contrast * rng.uniform(-1, 1)
    if rng.random() < settings.grey:
        share = rng.uniform(0.5, 1.0)
        matrix = (1 - share) * matrix + share * matrix.mean(axis=0, keepdims=True)
    light = strength * settings.light * rng.uniform(-1, 1, 3)
    od = _OD[crop]  # (P, P, 3)
    od = od.reshape(-1, 3) @ matrix.T.astype(np.float32) + light.astype(np.float32)
    grey_levels = 256.0 * np.exp(-od) - 1.0
    return np.clip(grey_levels, 0, 255).astype(np.uint8).reshape(crop.shape)


def _degrade(crop: Image, rng: np.random.Generator, settings: Augmentation) -> Image:
    if settings.blur_px > 0 and rng.random() < 0.5:
        crop = cv2.GaussianBlur(crop, (0, 0), rng.uniform(0.2, settings.blur_px))
    if settings.noise > 0 and rng.random() < 1 / 3:
        noise = rng.standard_normal(crop.shape, np.float32) * rng.uniform(0, settings.noise)
        crop = np.clip(crop + noise, 0, 255).astype(np.uint8)
    if settings.jpeg < 100 and rng.random() < 1 / 3:
        quality = int(rng.integers(settings.jpeg, 96))
        _, data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, quality])
        crop = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return np.asarray(crop, np.uint8)
