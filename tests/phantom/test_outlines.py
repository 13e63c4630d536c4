from __future__ import annotations

import numpy as np
import pytest

from koilo.phantom.outlines import area, cell_outline, contour_irregularity, nucleus_outline
from koilo.phantom.truth import mask

SHAPES = ("polygon", "round", "ragged", "spindle", "tadpole", "column")


@pytest.mark.parametrize("shape", SHAPES)
def test_a_cell_has_the_area_that_was_asked_for(shape: str) -> None:
    outline = cell_outline(np.random.default_rng(1), shape, 300.0, 1.6)
    assert area(outline) == pytest.approx(300.0, rel=1e-4)
    assert mask((outline * 4 + 200,), (400, 400)).sum() / 16 == pytest.approx(300.0, rel=0.02)


def test_an_ellipse_is_regular_and_a_notched_nucleus_is_not() -> None:
    rng = np.random.default_rng(2)
    for aspect in (1.0, 1.5, 2.5):
        smooth = nucleus_outline(rng, 50.0, aspect, 1e-4)
        assert contour_irregularity(smooth) == pytest.approx(0.0, abs=2e-3)
    raisin = [contour_irregularity(nucleus_outline(rng, 50.0, 1.2, 0.12)) for _ in range(10)]
    bland = [contour_irregularity(nucleus_outline(rng, 50.0, 1.2, 0.015)) for _ in range(10)]
    assert min(raisin) > max(bland)


def test_irregularity_does_not_depend_on_size_or_turn() -> None:
    outline = nucleus_outline(np.random.default_rng(3), 80.0, 1.3, 0.06)
    c, s = np.cos(0.7), np.sin(0.7)
    turned = (outline * 3 @ np.array([[c, -s], [s, c]])).astype(np.float32)
    assert contour_irregularity(turned) == pytest.approx(contour_irregularity(outline), abs=1e-4)
