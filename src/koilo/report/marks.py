"""Where the numbers stand on the overview: rings on the cells, labels that do not overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Frame = tuple[float, float, float, float]
"""``(x_px0, y_px0, w_px0, h_px0)``: the part of level 0 that a picture shows"""

Box = tuple[float, float, float, float]
"""``(left, top, right, bottom)`` in drawing units"""

CANVAS_WIDTH = 1000.0
"""the overlay's own width in drawing units; its height follows the picture's shape"""

FONT_SIZE = 20.0
RING_RADIUS = 8.0
_GAPS = (11.0, 22.0, 38.0, 58.0, 82.0, 112.0)
_DIRECTIONS = tuple(
    k * math.pi / 8 for k in (-2, 0, 2, 4, 6, 8, -6, -4, -1, 1, 3, 5, 7, -7, -5, -3)
)
_LEADER_FROM = 20.0


@dataclass(frozen=True, slots=True)
class Mark:
    """One numbered cell on the overview, in drawing units; ``leader`` where the label is apart."""

    number: int
    x: float
    y: float
    radius: float
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


def ring_radius(side_px0: float, frame_px0: Frame) -> float:
    """Radius of a ring around a box of this side, in drawing units; never too small to see."""
    return max(RING_RADIUS, side_px0 / 2 / frame_px0[2] * CANVAS_WIDTH)


def place_marks(
    points: Sequence[tuple[int, float, float, float]], height: float
) -> tuple[Mark, ...]:
    """Give every numbered ring a label that covers no other label and, if it can, no ring.

    Args:
        points: ``(number, x, y, radius)`` in drawing units, most important first.
        height: of the drawing, in the same units.
    """
    rings = [_ring_box(x, y, radius) for _, x, y, radius in points]
    taken: list[Box] = []
    marks = []
    for number, x, y, radius in points:
        label_x, label_y, gap = _free_place((number, x, y, radius), height, taken, rings)
        taken.append(_label_box(number, label_x, label_y))
        marks.append(Mark(number, x, y, radius, label_x, label_y, gap >= _LEADER_FROM))
    return tuple(marks)


def _free_place(
    point: tuple[int, float, float, float],
    height: float,
    taken: Sequence[Box],
    rings: Sequence[Box],
) -> tuple[float, float, float]:
    """Nearest place without overlap, and its distance; failing that, the one with the least."""
    number, x, y, radius = point
    best = (math.inf, x, y, 0.0)
    for gap in _GAPS:
        for angle in _DIRECTIONS:
            away = radius + gap
            place = x + away * math.cos(angle), y + away * math.sin(angle)
            box = _label_box(number, *place)
            if not (box[0] >= 0 and box[1] >= 0 and box[2] <= CANVAS_WIDTH and box[3] <= height):
                continue
            cost = 20 * sum(_overlap(box, other) for other in taken)
            cost += sum(_overlap(box, other) for other in rings)
            if cost == 0:
                return *place, gap
            if cost < best[0]:
                best = (cost, *place, gap)
    return best[1:]


def _ring_box(x: float, y: float, radius: float) -> Box:
    """The square inside the ring: a label may touch the ring's corners, not its cell."""
    half = radius * 0.85
    return x - half, y - half, x + half, y + half


def _label_box(number: int, x: float, y: float) -> Box:
    half_width = 0.31 * FONT_SIZE * len(str(number)) + 1
    half_height = 0.42 * FONT_SIZE
    return x - half_width, y - half_height, x + half_width, y + half_height


def _overlap(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return width * height if width > 0 and height > 0 else 0.0
