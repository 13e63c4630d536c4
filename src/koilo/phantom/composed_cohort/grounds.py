"""What real cells are set into: clean fields of the pool, or phantom fields without lesions."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from koilo.phantom.bank import draw_bank
from koilo.phantom.centre import draw_centre
from koilo.phantom.composed_cohort.config import ComposedConfig
from koilo.phantom.composed_cohort.pools import OpenField, Pool
from koilo.phantom.crops import draw_field

_STEP_PX = 8
_SPREAD_UM = 8.0
_CLEAR_UM = 12.0
_LIGHTEST = 1 / 3
_PHANTOM_UM = 240.0


@dataclass(frozen=True)
class Ground:
    """A picture uint8 (H, W, 3) and the corners (N, 2) of crops whose middle is light there."""

    name: str
    image: NDArray[np.uint8]
    corners_px: NDArray[np.int64]

    def crop(self, rng: np.random.Generator, size_px: int) -> NDArray[np.uint8]:
        """A crop (P, P, 3) at one of the places, turned and mirrored by chance."""
        x, y = self.corners_px[int(rng.integers(len(self.corners_px)))].tolist()
        crop = self.image[y : y + size_px, x : x + size_px]
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        return np.ascontiguousarray(np.rot90(crop, int(rng.integers(4))))


def grounds_of(config: ComposedConfig, split: str, pool: Pool) -> dict[str, list[Ground]]:
    """Both kinds of ground for the slides of a split."""
    number = config.folds[split]
    bank = draw_bank((config.seed, 0xC3, number), config.bank_cells, workers=1)
    drawn = []
    for i in range(config.phantom_grounds):
        rng = np.random.default_rng(np.random.SeedSequence([config.seed, 0xC4, number, i]))
        centre = draw_centre(config.seed, number * config.phantom_grounds + i)
        side = round(_PHANTOM_UM / config.mpp)
        image, _ = draw_field(rng, centre, side, config.mpp, lesions={}, bank=bank)
        drawn.append(_ground(config, f"phantom-{number}-{i}", image, np.empty((0, 2))))
    clean = [field for field in pool.fields.values() if field.clean]
    return {"real": [_real(config, field) for field in clean], "phantom": drawn}


def _real(config: ComposedConfig, field: OpenField) -> Ground:
    cells = np.array([(cell.x_px0, cell.y_px0) for cell in field.source.cells])
    known_px = cells * field.source.mpp / config.mpp
    return _ground(config, f"cric-{field.source.field_id:03d}", field.image, known_px)


def _ground(
    config: ComposedConfig, name: str, image: NDArray[np.uint8], known_px: NDArray[np.float64]
) -> Ground:
    """The lightest third of the places with room for a crop, none with a labelled nucleus in it."""
    half = config.crop_px // 2
    light = cv2.GaussianBlur(image.mean(-1).astype(np.float32), (0, 0), _SPREAD_UM / config.mpp)
    y, x = np.mgrid[
        half : image.shape[0] - half + 1 : _STEP_PX, half : image.shape[1] - half + 1 : _STEP_PX
    ]
    middles = np.stack([x.ravel(), y.ravel()], 1)  # (M, 2)
    if len(known_px):
        gaps = np.linalg.norm(middles[:, None] - known_px[None], axis=2).min(1)
        middles = middles[gaps * config.mpp > _CLEAR_UM]
    order = np.argsort(-light[middles[:, 1], middles[:, 0]], kind="stable")
    return Ground(name, image, middles[order[: max(1, int(len(order) * _LIGHTEST))]] - half)
