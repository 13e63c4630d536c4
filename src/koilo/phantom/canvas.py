"""From placed sprites to pixels: dyes add (Beer-Lambert), then optics and sensor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from koilo.phantom.centre import Centre
from koilo.phantom.outlines import Outline
from koilo.phantom.sprite import DYE_STEP, Sprite

_POOL_PERIODS = (1021, 769)
_MAX_WINDOW_PX = 1100
_FIELD_OF_VIEW_PX = 1800
_SHARPEN_UM = 0.32


@dataclass(frozen=True, slots=True)
class Placement:
    """A sprite set into a scene: place and defocus in µm, turn in radians, size and dye factors.

    ``arrangement`` is the group it lies in (``single``, ``sheet``, ``strip`` …); ``lift_um`` how
    far it is pushed along its long axis out of a strip's line; ``tilt`` its turn against the
    group's order.
    """

    sprite: Sprite
    x_um: float
    y_um: float
    angle: float
    scale: float
    gains: NDArray[np.float32]  # (4,)
    defocus_um: float = 0.0
    arrangement: str = "single"
    lift_um: float = 0.0
    tilt: float = 0.0

    @property
    def reach_um(self) -> float:
        """Radius of a circle that holds all its pixels."""
        return self.scale * self.sprite.reach_um + 3 * self.defocus_um

    def outline_um(self, outline: Outline) -> Outline:
        """An outline of the sprite in the scene's frame (P, 2) µm."""
        c, s = np.cos(self.angle) * self.scale, np.sin(self.angle) * self.scale
        turn = np.array([[c, s], [-s, c]], np.float64)
        return (outline @ turn + (self.x_um, self.y_um)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of a scene read as pixels: origin in µm, µm a pixel, size in pixels."""

    x_um: float
    y_um: float
    mpp: float
    width_px: int
    height_px: int


def paint(placements: Iterable[Placement], window: Window) -> NDArray[np.float32]:
    """Dye amounts (H, W, 4) of all placements within a window; overlapping cells add."""
    canvas = np.zeros((window.height_px, window.width_px, 4), np.float32)
    for placement in placements:
        _stamp(canvas, placement, window)
    return canvas


def expose(
    canvas: NDArray[np.float32],
    centre: Centre,
    window: Window,
    film: tuple[int, int],
    film_weight: NDArray[np.float32] | None = None,
) -> NDArray[np.uint8]:
    """The picture that the centre's scanner takes of a canvas: uint8 RGB (H, W, 3).

    Args:
        canvas: dye amounts (H, W, 4) with a margin of `margin_px`; used up by this call.
        centre: stain, light, optics and sensor.
        window: where the canvas lies; fixes illumination and noise.
        film: origin of noise and stipple in pixels: the same picture for the same origin, and no
            repetition within 700,000 pixels.
        film_weight: (H, W) 0-1, how much of noise, stipple and uneven light there is: 0 on the bare
            glass beside a deposit, which the scanner shows as one flat colour. None: 1 throughout.
    """
    x_px = film[0] + round(window.x_um / window.mpp)
    y_px = film[1] + round(window.y_um / window.mpp)
    size = (window.width_px, window.height_px)
    stipple = _stipple(x_px, y_px, size)
    light_field = _illumination(x_px, y_px, size, window.mpp, centre)
    noise = _noise(x_px, y_px, size, centre.noise * min(1.0, centre.mpp / window.mpp))
    if film_weight is not None:
        stipple = stipple * film_weight
        light_field = 1 + (light_field - 1) * film_weight[..., None]
        noise *= film_weight[..., None]
    averaged = min(1.0, centre.mpp / window.mpp)  # coarser pixels average grain away
    canvas[..., 0] += (0.035 * centre.stipple * averaged) * stipple
    canvas[..., 1] += (0.055 * centre.stipple * averaged) * stipple
    to_log = (-np.log(10) * centre.gamma) * centre.stain * centre.dye_gain  # (3, 4)
    light = cv2.exp(cv2.transform(canvas, to_log.astype(np.float32)))
    light = centre.flare + (1 - centre.flare) * light
    light *= centre.white * light_field
    blur_px = float(np.hypot(centre.blur_um, 0.12 * window.mpp)) / window.mpp
    light = cv2.GaussianBlur(light, (0, 0), blur_px, borderType=cv2.BORDER_REFLECT_101)
    if centre.sharpen > 0.02:
        soft = cv2.GaussianBlur(light, (0, 0), max(_SHARPEN_UM / window.mpp, 0.5))
        light += centre.sharpen * (light - soft)
    light += noise
    return np.clip(light + 0.5, 0, 255).astype(np.uint8)


def margin_px(centre: Centre, mpp: float) -> int:
    """Pixels needed around a window so that blur and sharpening see the neighbours."""
    return int(np.ceil(3.2 * (centre.blur_um + _SHARPEN_UM) / mpp)) + 2


def picture(
    placements: Iterable[Placement], centre: Centre, window: Window, film: tuple[int, int]
) -> NDArray[np.uint8]:
    """`paint` and `expose` a window with the margin it needs: uint8 RGB (H, W, 3)."""
    m = margin_px(centre, window.mpp)
    wide = Window(
        window.x_um - m * window.mpp,
        window.y_um - m * window.mpp,
        window.mpp,
        window.width_px + 2 * m,
        window.height_px + 2 * m,
    )
    rgb = expose(paint(placements, wide), centre, wide, film)
    return np.ascontiguousarray(rgb[m:-m, m:-m])


def _stamp(canvas: NDArray[np.float32], placement: Placement, window: Window) -> None:
    raster, raster_mpp = placement.sprite.level(window.mpp / placement.scale)
    x_px = (placement.x_um - window.x_um) / window.mpp
    y_px = (placement.y_um - window.y_um) / window.mpp
    reach = placement.reach_um / window.mpp
    left, top = max(int(x_px - reach), 0), max(int(y_px - reach), 0)
    right = min(int(x_px + reach) + 2, window.width_px)
    bottom = min(int(y_px + reach) + 2, window.height_px)
    if left >= right or top >= bottom:
        return
    zoom = placement.scale * raster_mpp / window.mpp
    c, s = zoom * np.cos(placement.angle), zoom * np.sin(placement.angle)
    middle = raster.shape[0] / 2 - 0.5  # pixel centres, as OpenCV counts
    forward = np.array(
        [
            [c, -s, x_px - 0.5 - left - c * middle + s * middle],
            [s, c, y_px - 0.5 - top - s * middle - c * middle],
        ]
    )
    warped = cv2.warpAffine(raster, forward, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
    if placement.defocus_um > 0:
        warped = cv2.GaussianBlur(warped, (0, 0), max(placement.defocus_um / window.mpp, 0.3))
    canvas[top:bottom, left:right] += warped * (placement.gains * np.float32(DYE_STEP))


def _illumination(
    x_px: int, y_px: int, size: tuple[int, int], mpp: float, centre: Centre
) -> NDArray[np.float32]:
    if centre.vignette <= 0:
        return np.ones((1, 1, 1), np.float32)
    period = _FIELD_OF_VIEW_PX * 0.25 / mpp
    across = [
        1 - centre.vignette * (2 * (((start + np.arange(n)) / period) % 1) - 1) ** 2
        for start, n in zip((x_px, y_px), size, strict=True)
    ]
    return (across[1][:, None] * across[0][None, :]).astype(np.float32)[..., None]


@lru_cache(maxsize=1)
def _pools() -> tuple[tuple[NDArray[np.int8], NDArray[np.float32]], ...]:
    """Noise (P, P, 3) and stipple (P, P) that wrap at periods without a common factor."""
    pools = []
    for period in _POOL_PERIODS:
        rng = np.random.default_rng(period)
        grey = rng.standard_normal((period, period, 1), dtype=np.float32)
        noise = 0.75 * grey + 0.66 * rng.standard_normal((period, period, 3), dtype=np.float32)
        noise = cv2.GaussianBlur(noise, (0, 0), 0.55, borderType=cv2.BORDER_REPLICATE)
        noise *= 26 / noise.std()
        specks = cv2.GaussianBlur(
            rng.standard_normal((period, period), dtype=np.float32), (0, 0), 1.7
        )
        specks = (specks / specks.std() + 0.3).clip(0, None)
        pad = ((0, _MAX_WINDOW_PX), (0, _MAX_WINDOW_PX))
        pools.append(
            (
                np.pad(noise.clip(-127, 127).astype(np.int8), (*pad, (0, 0)), mode="wrap"),
                np.pad(specks, pad, mode="wrap"),
            )
        )
    return tuple(pools)


def _noise(x_px: int, y_px: int, size: tuple[int, int], sigma: float) -> NDArray[np.float32]:
    first, second = (_cut(pool[0], x_px, y_px, size) for pool in _pools())
    return cv2.add(first, second, dtype=cv2.CV_32F) * np.float32(sigma / (26 * np.sqrt(2)))


def _stipple(x_px: int, y_px: int, size: tuple[int, int]) -> NDArray[np.float32]:
    first, second = (_cut(pool[1], x_px, y_px, size) for pool in _pools())
    return first * second


def _cut(pool: NDArray[Any], x_px: int, y_px: int, size: tuple[int, int]) -> NDArray[Any]:
    period = pool.shape[0] - _MAX_WINDOW_PX
    x, y = x_px % period, y_px % period
    if max(size) > _MAX_WINDOW_PX:
        return pool[np.ix_((y + np.arange(size[1])) % period, (x + np.arange(size[0])) % period)]
    return pool[y : y + size[1], x : x + size[0]]
