"""Where the numbers stand on the overview: rings on the cells, labels that do not overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Frame = tuple[float, float, float, float]
"""``(x_px0, y_px0, w_px0, h_px0)``: the part of level 0 that a picture shows"""

CANVAS_WIDTH = 1000.0
"""the overlay's own width in drawing units; its height follows the picture's shape"""

FONT_SIZE = 20.0
RING_RADIUS = 8.0
_DISTANCES = (19.0, 30.0, 46.0, 66.0, 90.0, 120.0)
_DIRECTIONS = tuple(
    k * math.pi / 8 for k in (-2, 0, 2, 4, 6, 8, -6, -4, -1, 1, 3, 5, 7, -7, -5, -3)
)
_LEADER_FROM = 25.0


@dataclass(frozen=True, slots=True)
class Mark:
    """One numbered cell on the overview, in drawing units; ``leader`` where the label is apart."""

    number: int
    x: float
    y: float
    label_x: float
    label_y: float
    leader: bool


def to_canvas(
    x_px0: float, y_px0: float, frame_px0: Frame, height: float
) -> tuple[float, float] | None:
    """A level-0 point in drawing units, or None where the picture does not show it."""
    left, top, width_px0, height_px0 = frame_px0
    if width_px0 <= 0 or height_px0 <= 0:
        return None
    x = (x_px0 - left) / width_px0 * CANVAS_WIDTH
    y = (y_px0 - top) / height_px0 * height
    return (x, y) if 0 <= x <= CANVAS_WIDTH and 0 <= y <= height else None


def place_marks(points: Sequence[tuple[int, float, float]], height: float) -> tuple[Mark, ...]:
    """Give every numbered point a label that covers no other label and, if it can, no ring.

    Args:
        points: ``(number, x, y)`` in drawing units, most important first.
        height: of the drawing, in the same units.
    """
    rings = [
        (x - RING_RADIUS, y - RING_RADIUS, x + RING_RADIUS, y + RING_RADIUS) for _, x, y in points
    ]
    taken: list[tuple[float, float, float, float]] = []
    marks = []
    for number, x, y in points:
        label_x, label_y, distance = _free_place(number, x, y, height, taken, rings)
        taken.append(_label_box(number, label_x, label_y))
        marks.append(Mark(number, x, y, label_x, label_y, distance >= _LEADER_FROM))
    return tuple(marks)


def _free_place(
    number: int,
    x: float,
    y: float,
    height: float,
    taken: Sequence[tuple[float, float, float, float]],
    rings: Sequence[tuple[float, float, float, float]],
) -> tuple[float, float, float]:
    """Nearest place without overlap; failing that, the one with the least."""
    best = (math.inf, x, y, 0.0)
    for distance in _DISTANCES:
        for angle in _DIRECTIONS:
            place = x + distance * math.cos(angle), y + distance * math.sin(angle)
            box = _label_box(number, *place)
            if not (box[0] >= 0 and box[1] >= 0 and box[2] <= CANVAS_WIDTH and box[3] <= height):
                continue
            cost = 20 * sum(_overlap(box, other) for other in taken)
            cost += sum(_overlap(box, other) for other in rings)
            if cost == 0:
                return *place, distance
            if cost < best[0]:
                best = (cost, *place, distance)
    return best[1:]


def _label_box(number: int, x: float, y: float) -> tuple[float, float, float, float]:
    half_width = 0.31 * FONT_SIZE * len(str(number)) + 1
    half_height = 0.42 * FONT_SIZE
    return x - half_width, y - half_height, x + half_width, y + half_height


def _overlap(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0
