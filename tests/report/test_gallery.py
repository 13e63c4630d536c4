"""Which cells the gallery shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from koilo.report.gallery import build_gallery
from tests.report.conftest import CELL_CLASSES, make_cells


def test_a_place_that_was_boxed_twice_is_shown_once_by_its_most_suspicious_box() -> None:
    (cell,) = make_cells(1, ("HSIL",))
    sure = {name: 0.02 for name in CELL_CLASSES} | {"HSIL": 0.9}
    unsure = sure | {"HSIL": 0.5, "NILM": 0.42}
    aside = 0.44 * cell.w_px0
    cells = (
        replace(cell, probabilities=unsure),
        replace(cell, x_px0=cell.x_px0 + aside, probabilities=sure),
        replace(cell, x_px0=cell.x_px0 + aside + 0.46 * cell.w_px0, probabilities=unsure),
    )
    crops = np.zeros((3, 8, 8, 3), np.uint8)
    (group,) = build_gallery(cells, list(crops), CELL_CLASSES)
    assert [shown.rank for shown in group.cells] == [2, 3]
    assert group.n_kept == 3
