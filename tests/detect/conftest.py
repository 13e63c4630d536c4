import numpy as np
import pytest

from koilo.detect import Scene


def draw_disks(centres, size=128):
    """Dark disks of 5 px radius on a pale ground."""
    rgb = np.full((size, size, 3), 225, np.uint8)
    rows, columns = np.mgrid[:size, :size]
    for x, y in centres:
        rgb[np.hypot(columns + 0.5 - x, rows + 0.5 - y) < 5] = (80, 50, 110)
    return rgb


@pytest.fixture
def disks():
    """A scene at 1.0 µm/px: three positive disks, one normal, boxes of 20 px."""
    centres = np.array([[30.0, 40.0], [80.0, 30.0], [60.0, 90.0], [100.0, 100.0]])
    boxes = np.concatenate([centres - 10, np.full((4, 2), 20.0)], axis=1).astype(np.float32)
    return Scene(draw_disks(centres), 1.0, boxes, np.array([True, True, True, False]))
