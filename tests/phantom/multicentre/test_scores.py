"""The detector's model and the rates of mimics that follow from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from koilo.phantom.multicentre.kinds import COHORT_KINDS, NAMES, textured
from koilo.phantom.multicentre.scores import FEATURES, DetectorModel, fitted_model


def model(**changes: object) -> DetectorModel:
    flat = DetectorModel(
        level=np.zeros(len(NAMES)),
        missed=np.zeros(len(NAMES)),
        weights=np.zeros(len(FEATURES)),
        middle=np.zeros(len(FEATURES)),
        noise=0.0,
        centre_spread=0.0,
    )
    return replace(flat, **changes)  # type: ignore[arg-type]


def test_a_score_is_the_logistic_of_level_weights_and_centre() -> None:
    level = np.zeros(len(NAMES))
    level[2] = -1.0
    weights = np.zeros(len(FEATURES))
    weights[0] = 0.5
    features = np.zeros((1, len(FEATURES)))
    features[0, 0] = 3.0
    got = model(level=level, weights=weights).draw(
        np.random.default_rng(0), np.array([2]), features, centre_shift=0.25
    )
    assert np.isclose(got[0], 1 / (1 + np.exp(-(-1.0 + 1.5 + 0.25))))


def test_a_kind_is_missed_as_often_as_its_model_says() -> None:
    missed = np.zeros(len(NAMES))
    missed[1] = 0.3
    kinds = np.array([0, 1] * 4000)
    scores = model(missed=missed).draw(
        np.random.default_rng(0), kinds, np.zeros((8000, len(FEATURES)))
    )
    assert not np.isnan(scores[kinds == 0]).any()
    assert abs(np.isnan(scores[kinds == 1]).mean() - 0.3) < 0.03


def test_the_fitted_model_covers_every_kind() -> None:
    fitted = fitted_model()
    assert len(fitted.level) == len(fitted.missed) == len(NAMES)
    assert ((fitted.missed >= 0) & (fitted.missed <= 1)).all()


def test_only_lesions_and_small_cells_have_coarse_chromatin_and_an_irregular_contour() -> None:
    rng = np.random.default_rng(0)
    for kind in COHORT_KINDS.values():
        textures = {textured(kind, rng)[1] for _ in range(60)}
        if kind.role == "lesion":
            assert textures == {"coarse irregular"}, kind.name
        elif "coarse irregular" in textures:
            assert kind.kind.nucleus_um2.high <= 68, kind.name
