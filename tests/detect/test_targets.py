import numpy as np
import pytest

from koilo.detect.targets import STRIDE, TileTruth, draw_targets


def truth_of(boxes, positive, size=64, weights=(0.5, 0.2), valid=None):
    valid = np.ones((size, size), bool) if valid is None else valid
    return TileTruth(
        np.asarray(boxes, np.float32).reshape(-1, 4), np.asarray(positive, bool), valid, weights
    )


def literal_heat(truth, sigma):
    """Every map cell, every nucleus, one at a time."""
    h, w = truth.valid.shape[0] // STRIDE, truth.valid.shape[1] // STRIDE
    heat = np.zeros((2, h, w))
    for row in range(h):
        for column in range(w):
            for (x, y, bw, bh), positive in zip(truth.boxes_px, truth.positive, strict=True):
                dx = x + bw / 2 - (column + 0.5) * STRIDE
                dy = y + bh / 2 - (row + 0.5) * STRIDE
                bump = np.exp(-(dx**2 + dy**2) / (2 * sigma**2))
                heat[1, row, column] = max(heat[1, row, column], bump)
                if positive:
                    heat[0, row, column] = max(heat[0, row, column], bump)
    return heat


def test_heat_equals_a_literal_drawing():
    rng = np.random.default_rng(0)
    boxes = np.concatenate([rng.uniform(-15, 60, (9, 2)), rng.uniform(8, 30, (9, 2))], axis=1)
    truth = truth_of(boxes, rng.random(9) < 0.5)
    targets = draw_targets([truth], box_px=20.5, sigma_px=1.5)
    assert targets.heat[0] == pytest.approx(literal_heat(truth, 1.5), abs=0.012)
    assert targets.count == 9


def test_a_normal_nucleus_is_known_ground_where_no_positive_is_expected():
    targets = draw_targets([truth_of([[20, 20, 20, 20]], [False])], box_px=20.5)
    assert targets.heat[0, 0].max() == 0
    assert targets.heat[0, 1].max() > 0.5
    assert targets.weight[0, 0, 15, 15] == 1.0
    assert targets.weight[0, 0, 0, 0] == 0.5
    assert targets.weight[0, 1, 0, 0] == pytest.approx(0.2)


def test_touching_nuclei_count_for_more_than_a_lonely_one():
    boxes = [[10, 10, 20, 20], [18, 10, 20, 20], [44, 44, 20, 20]]
    targets = draw_targets([truth_of(boxes, [True] * 3)], box_px=20.5, pair_weight=4.0)
    assert targets.weight[0, 0, 10, 10] == 4.0
    assert targets.weight[0, 0, 27, 27] == 1.0


def test_mirrored_ground_has_no_weight_and_no_boxes():
    valid = np.ones((64, 64), bool)
    valid[:, 32:] = False
    targets = draw_targets([truth_of([[40, 20, 20, 20]], [True], valid=valid)], box_px=20.5)
    assert not targets.weight[0, :, :, 16:].any()
    assert not targets.owned.any()


def test_the_nearest_nucleus_owns_a_place_and_its_box_leads_back_to_it():
    boxes = [[10, 10, 20, 20], [18, 12, 20, 41]]
    targets = draw_targets([truth_of(boxes, [True, False])], box_px=20.5, own_px=4)
    rows, columns = np.nonzero(targets.owned[0])
    assert len(rows) > 8
    for row, column in zip(rows, columns, strict=True):
        dx, dy, log_w, log_h = targets.boxes[0, :, row, column]
        centre = ((column + 0.5 + dx) * STRIDE, (row + 0.5 + dy) * STRIDE)
        distances = [
            np.hypot(x + w / 2 - (column + 0.5) * STRIDE, y + h / 2 - (row + 0.5) * STRIDE)
            for x, y, w, h in boxes
        ]
        x, y, w, h = boxes[int(np.argmin(distances))]
        assert centre == pytest.approx((x + w / 2, y + h / 2), abs=1e-3)
        assert 20.5 * np.exp([log_w, log_h]) == pytest.approx([w, h], rel=1e-4)


def test_a_tile_without_cells_has_background_only():
    targets = draw_targets([truth_of(np.zeros((0, 4)), [])], box_px=20.5)
    assert targets.count == 0
    assert not targets.heat.any()
    assert not targets.owned.any()
