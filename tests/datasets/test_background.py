"""Background places keep away from labels, and dark blobs are found."""

from __future__ import annotations

import numpy as np

from koilo.datasets.background import BackgroundPlaces, find_background


def field_with_blobs(points_px) -> np.ndarray:
    y, x = np.mgrid[:300, :400]
    rgb = np.full((300, 400, 3), 225, np.uint8)
    for px, py in points_px:
        rgb[np.hypot(x - px, y - py) < 7] = 70
    return rgb


def test_places_keep_their_distance_from_labels() -> None:
    labels = np.array([(100, 100), (300, 200)])
    found = find_background(field_with_blobs(labels), 0.5, labels, np.random.default_rng(0))
    gaps = np.linalg.norm(found[:, None] - labels[None], axis=2)
    assert len(found) == 8  # the only dark blobs are labelled
    assert gaps.min() > 24


def test_unlabelled_dark_blobs_are_found() -> None:
    blobs = [(60, 60), (200, 150), (340, 240)]
    none = BackgroundPlaces(n_anywhere=0)
    found = find_background(
        field_with_blobs(blobs), 0.5, [(60, 60)], np.random.default_rng(0), none
    )
    assert {tuple(np.rint(p).astype(int)) for p in found} == {(200, 150), (340, 240)}


def test_a_field_without_labels_or_blobs_gives_random_places_only() -> None:
    places = BackgroundPlaces(n_anywhere=3, n_dark=3)
    found = find_background(field_with_blobs([]), 0.5, [], np.random.default_rng(0), places)
    assert found.shape == (3, 2)
