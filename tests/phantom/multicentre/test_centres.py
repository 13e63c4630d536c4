"""Unseen centres: how far their colours go, and what they may not become."""

from __future__ import annotations

import numpy as np

from koilo.phantom.centre import BASE_STAIN
from koilo.phantom.multicentre.centres import (
    HUE_LIMIT_DEG,
    CohortCentre,
    draw_centres,
    move_unseen,
)
from koilo.phantom.multicentre.config import TRAINING_CENTRES, UNSEEN_DISTANCES, CohortConfig

PX = 64


def moved(seed: int) -> tuple[CohortCentre, ...]:
    """The centres of a seed, judged on one picture: glass, nuclei, green and red cytoplasm."""
    config = CohortConfig(seed=seed)
    canvas = np.zeros((PX, PX, 4), np.float32)
    canvas[: PX // 3, :, 0] = 0.8
    canvas[: PX // 2, :, 1] = 0.3
    canvas[PX // 2 :, : PX // 2, 2] = 0.3
    centres = draw_centres(config, centre_spread=0.1)
    return move_unseen(config, centres, [canvas] * len(centres))


def test_unseen_centres_lie_at_their_distances_and_training_centres_stay() -> None:
    centres = moved(5)
    assert [c.distance for c in centres[:TRAINING_CENTRES]] == [0.0] * TRAINING_CENTRES
    reached = [c.distance for c in centres[TRAINING_CENTRES:]]
    np.testing.assert_allclose(reached, UNSEEN_DISTANCES, atol=0.01)


def test_no_dye_of_an_unseen_centre_leaves_the_hues_that_laboratories_have() -> None:
    for seed in range(3):
        for each in moved(seed)[TRAINING_CENTRES:]:
            stain = each.centre.stain.astype(np.float64)
            np.testing.assert_allclose(np.linalg.norm(stain, axis=0), 1, atol=1e-5)
            turned = np.rad2deg(np.arccos((stain * BASE_STAIN).sum(0).clip(-1, 1)))
            assert turned.max() <= HUE_LIMIT_DEG + 0.01
