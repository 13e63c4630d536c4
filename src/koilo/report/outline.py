"""The line drawn in a gallery picture: what in the cell speaks most for a lesion."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

OUTLINE_AT = 0.5
"""Inside the line a place speaks at least this much as the crop's strongest does."""


def outline_path(lesion_map: NDArray[np.floating]) -> str:
    """An SVG path in the unit square round all places at or over `OUTLINE_AT`; empty without one.

    Args:
        lesion_map: (P, P), each place over the crop's strongest.
    """
    import cv2

    inside = np.asarray(lesion_map >= OUTLINE_AT, np.uint8)
    found, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_TC89_L1)
    side = len(lesion_map)
    parts = []
    for line in found:
        points = (line[:, 0, :] + 0.5) / side  # (M, 2), middles of the outermost pixels
        parts.append("M" + "L".join(f"{x:.3f} {y:.3f}" for x, y in points) + "Z")
    return "".join(parts)
