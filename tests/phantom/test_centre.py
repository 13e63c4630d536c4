from __future__ import annotations

import numpy as np
import pytest

from koilo.phantom import draw_centre


def test_a_centre_is_the_same_for_the_same_seed_and_index() -> None:
    first, second = draw_centre(3, 2), draw_centre(3, 2)
    assert np.array_equal(first.stain, second.stain)
    assert first.mpp == second.mpp


def test_centres_differ_in_stain_light_optics_file_and_density() -> None:
    centres = [draw_centre(0, i) for i in range(8)]
    for name in ("blur_um", "jpeg_quality", "cells_per_mm2", "vignette", "gamma", "sharpen"):
        assert len({getattr(centre, name) for centre in centres}) > 4, name
    assert len({centre.mpp for centre in centres}) > 1
    assert len({centre.stain.tobytes() for centre in centres}) == 8


def test_dyes_are_unit_vectors_of_optical_density() -> None:
    stain = draw_centre(1, 0).stain
    assert stain.shape == (3, 4)
    assert np.allclose(np.linalg.norm(stain, axis=0), 1, atol=1e-5)
    assert stain.min() > 0


def test_a_negative_index_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        draw_centre(0, -1)
