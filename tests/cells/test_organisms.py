"""The organism head: an output each, eval mode when it predicts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from koilo.cells.organisms import OrganismHead, OrganismReader, predict_organisms


def test_each_organism_has_a_probability_of_its_own() -> None:
    torch.manual_seed(0)
    head = OrganismHead(6, 5, hidden=8)
    with torch.no_grad():
        head.layers[-1].bias.fill_(4.0)
    p = predict_organisms(head, np.random.default_rng(0).normal(size=(7, 6)))
    assert p.shape == (7, 5)
    assert (p.sum(axis=1) > 2).all()  # several may be there at once


def test_a_crop_is_judged_alike_alone_and_among_others() -> None:
    head = OrganismHead(6, 5, hidden=8).train()
    features = np.random.default_rng(1).normal(size=(4, 6)).astype(np.float32)
    several = predict_organisms(head, features)
    alone = np.concatenate([predict_organisms(head, features[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(several, alone, rtol=1e-5)


@pytest.mark.parametrize("thresholds", [(0.5,), (0.5, 1.5)])
def test_thresholds_are_one_a_name_and_probabilities(thresholds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="thresholds"):
        OrganismReader(OrganismHead(6, 2), ("candida", "herpes"), thresholds)
