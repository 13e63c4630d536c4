"""One slide as a scene: a deposit, the cells placed in it, and the pixels of any part of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from koilo.phantom.bank import Bank
from koilo.phantom.canvas import Placement, Window, expose, margin_px, paint
from koilo.phantom.centre import Centre
from koilo.phantom.layout import (
    Spot,
    draw_kinds,
    scatter_bystanders,
    scatter_cells,
    scatter_organisms,
)
from koilo.phantom.patch import Patch, lay_over

_BIN_UM = 128.0
_RIM_UM = 60.0
_BUMPS_PER_MM2 = 3.0


@dataclass(frozen=True)
class Deposit:
    """The disc of cells on the glass, in µm of the slide's frame; a crop shows part of it."""

    x_um: float
    y_um: float
    radius_um: float

    def depth_um(self, x_um: float, y_um: float) -> float:
        """How far inside the rim a place lies; negative outside."""
        return self.radius_um - float(np.hypot(x_um - self.x_um, y_um - self.y_um))


class Scene:
    """Placed cells with an index by place: `render` gives any window in bounded memory.

    ``size_px`` is (width, height) at the centre's pixel size; ``film`` fixes noise and stipple;
    ``patches`` are real pictures laid over the drawing.
    """

    def __init__(
        self,
        centre: Centre,
        size_px: tuple[int, int],
        deposit: Deposit,
        placements: Sequence[Placement],
        film: tuple[int, int],
        patches: Sequence[Patch] = (),
    ) -> None:
        self.centre = centre
        self.size_px = size_px
        self.deposit = deposit
        self.placements = tuple(placements)
        self.film = film
        self.patches = tuple(patches)
        self._reach_um = max((p.reach_um for p in self.placements), default=0.0)
        self._bins: dict[tuple[int, int], list[int]] = {}
        for index, placement in enumerate(self.placements):
            key = (int(placement.x_um // _BIN_UM), int(placement.y_um // _BIN_UM))
            self._bins.setdefault(key, []).append(index)

    def near(self, window: Window) -> list[Placement]:
        """Placements whose pixels may fall into a window, in the order of placing."""
        left, right = _bin_range(window.x_um, window.width_px * window.mpp, self._reach_um)
        top, bottom = _bin_range(window.y_um, window.height_px * window.mpp, self._reach_um)
        found: list[int] = []
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                found.extend(self._bins.get((column, row), ()))
        return [self.placements[i] for i in sorted(found) if _reaches(self.placements[i], window)]

    def render(
        self, x_px0: int, y_px0: int, width_px: int, height_px: int
    ) -> NDArray[np.uint8] | None:
        """Pixels of a part of the slide, uint8 RGB (H, W, 3); None where there is only glass.

        However the slide is cut into parts, the pixels are the same up to rounding.
        """
        mpp, m = self.centre.mpp, margin_px(self.centre, self.centre.mpp)
        wide = Window(
            (x_px0 - m) * mpp, (y_px0 - m) * mpp, mpp, width_px + 2 * m, height_px + 2 * m
        )
        placements = self.near(wide)
        film_weight = self._film_weight(wide)
        if not placements and (film_weight is not None and not film_weight.any()):
            return None
        rgb = expose(paint(placements, wide), self.centre, wide, self.film, film_weight)
        return lay_over(np.ascontiguousarray(rgb[m:-m, m:-m]), x_px0, y_px0, self.patches)

    def with_patches(self, patches: Sequence[Patch]) -> Scene:
        """The scene with real patches laid in, and without the phantom's own under them."""
        mpp = self.centre.mpp
        kept = [
            p
            for p in self.placements
            if not any(_covers(patch, p.x_um / mpp, p.y_um / mpp) for patch in patches)
        ]
        return Scene(self.centre, self.size_px, self.deposit, kept, self.film, patches)

    def _film_weight(self, window: Window) -> NDArray[np.float32] | None:
        """1 in the deposit, fading to 0 on clear glass (H, W); None where it is 1 throughout."""
        x = window.x_um + (np.arange(window.width_px, dtype=np.float32) + 0.5) * window.mpp
        y = window.y_um + (np.arange(window.height_px, dtype=np.float32) + 0.5) * window.mpp
        far_x = np.maximum(abs(x[0] - self.deposit.x_um), abs(x[-1] - self.deposit.x_um))
        far_y = np.maximum(abs(y[0] - self.deposit.y_um), abs(y[-1] - self.deposit.y_um))
        if np.hypot(far_x, far_y) < self.deposit.radius_um:
            return None
        distance = cv2.magnitude(
            np.broadcast_to(x[None, :] - np.float32(self.deposit.x_um), (len(y), len(x))).copy(),
            np.broadcast_to(y[:, None] - np.float32(self.deposit.y_um), (len(y), len(x))).copy(),
        )
        weight: NDArray[np.float32] = (
            1 - (distance - np.float32(self.deposit.radius_um)) / np.float32(_RIM_UM)
        ).clip(0, 1)
        return weight


def fill_scene(
    rng: np.random.Generator,
    centre: Centre,
    bank: Bank,
    size_px: tuple[int, int],
    deposit: Deposit,
    n_cells: int,
    lesions: Mapping[str, int],
) -> Scene:
    """Scatter ``n_cells`` cells, ``lesions[label]`` of them of each class, over a deposit's part.

    Cells of a group may reach a little over the slide's edge, as in a real crop.
    """
    spot = deposit_spot(rng, deposit, (size_px[0] * centre.mpp, size_px[1] * centre.mpp))
    kinds = draw_kinds(rng, centre, max(n_cells - sum(lesions.values()), 0), lesions)
    placements = scatter_bystanders(rng, bank, centre, n_cells, spot)
    placements += scatter_cells(rng, bank, centre, kinds, spot)
    placements += scatter_organisms(rng, centre, n_cells, spot)
    inside = _mirrored_inside(placements, size_px, centre.mpp)
    film = (int(rng.integers(1 << 19)), int(rng.integers(1 << 19)))
    return Scene(centre, size_px, deposit, inside, film)


def deposit_spot(rng: np.random.Generator, deposit: Deposit, size_um: tuple[float, float]) -> Spot:
    """Draws places in the part of a deposit that a slide shows; patches are denser and thinner."""
    n_bumps = int(np.clip(_BUMPS_PER_MM2 * size_um[0] * size_um[1] / 1e6, 4, 400))
    bumps = rng.uniform((0, 0), size_um, (n_bumps, 2))
    widths = rng.uniform(120, 500, n_bumps)
    heights = rng.normal(0.0, 0.45, n_bumps)
    peak = 1.0 + heights.clip(0, None).max()

    def spot(draw: np.random.Generator) -> tuple[float, float]:
        while True:
            x, y = draw.uniform((0.0, 0.0), size_um)
            if deposit.depth_um(x, y) < 25.0:
                continue
            falls = np.exp(-0.5 * (((bumps - (x, y)) / widths[:, None]) ** 2).sum(1))
            if draw.random() * peak < max(1.0 + float(heights @ falls), 0.3):
                return float(x), float(y)

    return spot


def _mirrored_inside(
    placements: Sequence[Placement], size_px: tuple[int, int], mpp: float
) -> list[Placement]:
    """Placements whose middle a group has put over the slide's edge, mirrored back onto it."""
    size_um = (size_px[0] * mpp, size_px[1] * mpp)

    def back(value: float, limit: float) -> float:
        mirrored = abs(value)
        return float(np.clip(2 * limit - mirrored if mirrored > limit else mirrored, 0, limit))

    return [
        p
        if 0 <= p.x_um <= size_um[0] and 0 <= p.y_um <= size_um[1]
        else replace(p, x_um=back(p.x_um, size_um[0]), y_um=back(p.y_um, size_um[1]))
        for p in placements
    ]


def _covers(patch: Patch, x_px0: float, y_px0: float) -> bool:
    x, y, w, h = patch.rectangle_px0
    return x <= x_px0 < x + w and y <= y_px0 < y + h


def _bin_range(start_um: float, length_um: float, reach_um: float) -> tuple[int, int]:
    return (
        int((start_um - reach_um) // _BIN_UM),
        int((start_um + length_um + reach_um) // _BIN_UM),
    )


def _reaches(placement: Placement, window: Window) -> bool:
    reach = placement.reach_um
    return (
        window.x_um - reach < placement.x_um < window.x_um + window.width_px * window.mpp + reach
        and window.y_um - reach
        < placement.y_um
        < window.y_um + window.height_px * window.mpp + reach
    )
