from __future__ import annotations

import numpy as np
import pytest

from koilo.phantom import Bank, Centre, Clutter, draw_cells, draw_field
from koilo.phantom.truth import DETECTION_BOX_UM
from koilo.taxonomy import CYTOLOGY


def test_the_same_seed_draws_the_same_crops_and_truth(bank: Bank, centre: Centre) -> None:
    first, truth = draw_cells(np.random.default_rng(5), centre, n=4, bank=bank)
    second, again = draw_cells(np.random.default_rng(5), centre, n=4, bank=bank)
    assert np.array_equal(first, second)
    assert [t.measured for t in truth] == [t.measured for t in again]
    other, _ = draw_cells(np.random.default_rng(6), centre, n=4, bank=bank)
    assert not np.array_equal(first, other)


def test_a_crop_is_centred_on_the_nuclei_of_a_cell_of_the_asked_class(
    bank: Bank, centre: Centre
) -> None:
    crops, truths = draw_cells(
        np.random.default_rng(1), centre, ["HSIL", "LSIL"], size_px=64, n=8, bank=bank,
        clutter=Clutter(jitter_um=0.0),
    )  # fmt: skip
    assert crops.shape == (8, 64, 64, 3)
    assert crops.dtype == np.uint8
    assert {truth.label for truth in truths} == {"HSIL", "LSIL"}
    for truth in truths:
        assert np.allclose(truth.point_px, (32, 32), atol=4)


def test_the_nucleus_in_a_crop_is_darker_than_the_glass(bank: Bank, centre: Centre) -> None:
    crops, truths = draw_cells(
        np.random.default_rng(2), centre, ["HSIL"], n=6, bank=bank, clutter=Clutter(median=0.01)
    )
    for crop, truth in zip(crops, truths, strict=True):
        x, y = (round(v) for v in truth.nuclei_px[0].mean(0).tolist())
        assert crop[y - 2 : y + 3, x - 2 : x + 3].mean() < 0.6 * np.percentile(crop, 95)


def test_a_field_holds_the_lesions_that_were_asked_for(bank: Bank, centre: Centre) -> None:
    image, truths = draw_field(
        np.random.default_rng(3), centre, 256, 1.0, lesions={"LSIL": 3, "HSIL": 2}, bank=bank
    )
    assert image.shape == (256, 256, 3)
    labels = [truth.label for truth in truths]
    assert labels.count("LSIL") == 3
    assert labels.count("HSIL") >= 1  # a group may reach over the edge
    assert labels.count("NILM") > 5


def test_a_detection_box_is_a_square_on_the_point(bank: Bank, centre: Centre) -> None:
    _, truths = draw_field(np.random.default_rng(4), centre, 128, 1.0, bank=bank)
    x, y, w, h = truths[0].detection_box_px(0.5)
    assert w == h == pytest.approx(2 * DETECTION_BOX_UM)
    assert (x + w / 2, y + h / 2) == pytest.approx(truths[0].point_px)


def test_every_bethesda_class_can_be_drawn(bank: Bank, centre: Centre) -> None:
    for label in CYTOLOGY:
        _, truths = draw_cells(np.random.default_rng(0), centre, [label], n=1, bank=bank)
        assert truths[0].label == label
