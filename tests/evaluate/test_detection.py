import itertools

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from koilo.evaluate.detection import (
    FieldFinds,
    average_precision,
    box_ious,
    coco_map,
    match_centres,
    match_iou,
    random_finds,
    score_detection,
    slide_miss_rate,
    unlabelled_finds,
)


def squares(*centres, side=20.0):
    points = np.asarray(centres, float).reshape(-1, 2)
    return np.concatenate([points - side / 2, np.full_like(points, side)], axis=1)


def field(finds, scores, truth, other=(), mpp=1.0, **more):
    return FieldFinds(
        squares(*finds), np.asarray(scores, float), squares(*truth), squares(*other), mpp,
        (200, 200), **more,
    )  # fmt: skip


def test_a_find_hits_within_six_micrometres_and_not_beyond():
    truth = squares((50, 50))
    finds = squares((55.9, 50), (50, 56.1))
    hits = match_centres(finds, np.array([0.5, 0.9]), truth, reach_px=6)
    assert hits.tolist() == [0, -1]


def test_the_reach_is_in_micrometres_not_pixels():
    near = field([(59, 50)], [0.9], [(50, 50)], mpp=0.5)
    far = field([(59, 50)], [0.9], [(50, 50)], mpp=1.0)
    assert score_detection([near])["recall@100"] == 1
    assert score_detection([far])["recall@100"] == 0


def test_one_find_takes_one_nucleus_and_one_nucleus_one_find():
    truth = squares((50, 50), (54, 50))
    hits = match_centres(squares((52, 50)), np.array([0.9]), truth, reach_px=6)
    assert (hits >= 0).sum() == 1
    finds = squares((50, 50), (51, 50), (49, 50))
    hits = match_centres(finds, np.array([0.2, 0.9, 0.5]), squares((50, 50)), reach_px=6)
    assert hits.tolist() == [-1, 0, -1]


def test_the_better_find_chooses_first_and_takes_the_nearest():
    finds = squares((52, 50), (53, 50))
    hits = match_centres(finds, np.array([0.3, 0.8]), squares((50, 50), (54, 50)), reach_px=6)
    assert hits.tolist() == [0, 1]


def test_iou_equals_counting_pixels():
    rng = np.random.default_rng(0)
    a = np.concatenate([rng.integers(0, 30, (5, 2)), rng.integers(1, 20, (5, 2))], axis=1)
    b = np.concatenate([rng.integers(0, 30, (4, 2)), rng.integers(1, 20, (4, 2))], axis=1)
    ious = box_ious(a, b)
    for (i, first), (j, second) in itertools.product(enumerate(a), enumerate(b)):
        masks = []
        for x, y, w, h in (first, second):
            mask = np.zeros((60, 60), bool)
            mask[y : y + h, x : x + w] = True
            masks.append(mask)
        wanted = (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()
        assert ious[i, j] == pytest.approx(wanted)
    assert match_iou(a, np.ones(5), a, iou=0.99).tolist() == [0, 1, 2, 3, 4]


def test_ap_is_one_for_perfect_order_and_falls_by_what_was_missed():
    scores = np.array([0.9, 0.8, 0.2])
    assert average_precision(scores, np.array([True, True, False]), 2) == 1
    assert average_precision(scores, np.array([True, True, False]), 4) == 0.5
    assert average_precision(scores[:0], np.zeros(0, bool), 3) == 0
    assert np.isnan(average_precision(scores, np.zeros(3, bool), 0))


def test_ap_is_at_least_the_uninterpolated_one_of_scikit_learn():
    rng = np.random.default_rng(1)
    for _ in range(20):
        hit, scores = rng.random(40) < 0.4, rng.random(40)
        ours = average_precision(scores, hit, int(hit.sum()))
        theirs = average_precision_score(hit, scores)
        assert theirs - 1e-9 <= ours <= theirs + 0.1


def test_background_finds_count_false_or_are_ignored_and_labelled_others_always_count():
    on_background = field([(150, 150), (50, 50)], [0.9, 0.5], [(50, 50)])
    figures = score_detection([on_background])
    assert figures["centre_ap"] == pytest.approx(0.5)
    assert figures["centre_ap_ignored"] == 1
    on_normal = field([(150, 150), (50, 50)], [0.9, 0.5], [(50, 50)], other=[(150, 150)])
    figures = score_detection([on_normal])
    assert figures["centre_ap_ignored"] == pytest.approx(0.5)
    assert figures["ap50_ignored"] == pytest.approx(0.5)


def test_a_second_find_on_a_found_cell_counts_false_also_where_background_is_ignored():
    twice = field([(50, 50), (51, 50), (90, 90)], [0.9, 0.8, 0.7], [(50, 50), (90, 90)])
    assert score_detection([twice])["centre_ap_ignored"] == pytest.approx((1 + 2 / 3) / 2)


def test_recall_counts_only_the_best_finds_over_the_floor():
    spots = [(10 + 3 * i, 190) for i in range(40)]
    scores = np.linspace(0.9, 0.5, 40)
    crowded = field([*spots, (50, 50), (90, 50)], [*scores, 0.4, 0.0005], [(50, 50), (90, 50)])
    figures = score_detection([crowded])
    assert figures["recall@20"] == 0
    assert figures["recall@50"] == 0.5
    assert figures["recall@100"] == 0.5
    assert score_detection([crowded], limit=40)["recall@100"] == 0


def test_random_boxes_find_what_their_area_promises():
    rng = np.random.default_rng(2)
    truth = rng.uniform(10, 190, (30, 2))
    empty = field(np.zeros((0, 2)), [], truth)
    found = [score_detection([random_finds(empty, rng)])["recall@100"] for _ in range(30)]
    # one box hits a given spot with pi 6^2 / 200^2; at most 100 do not: 1 - (1 - 0.0028)^100
    assert np.mean(found) == pytest.approx(0.246, abs=0.05)


def test_a_slide_is_missed_when_every_cell_is():
    assert slide_miss_rate(0.9, 3) == pytest.approx(0.001)
    assert slide_miss_rate(1.0, 1) == 0
    with pytest.raises(ValueError, match="recall"):
        slide_miss_rate(1.2, 3)


def test_confident_finds_on_unlabelled_ground_are_listed_best_first():
    some = field(
        [(50, 50), (150, 150), (120, 20), (20, 180)], [0.9, 0.6, 0.8, 0.1], [(50, 50)], name="f7"
    )
    rows = unlabelled_finds([some])
    assert [row["score"] for row in rows] == [0.8, 0.6]
    assert rows[0] == {"field": "f7", "x_px0": 120.0, "y_px0": 20.0, "score": 0.8}


def test_coco_map_is_one_for_exact_boxes_and_falls_as_they_slip():
    exact = field([(50, 50), (90, 90)], [0.9, 0.8], [(50, 50), (90, 90)])
    assert coco_map([exact])["map50_95"] == pytest.approx(1)
    slipped = field([(53, 50), (93, 90)], [0.9, 0.8], [(50, 50), (90, 90)])  # IoU 0.74
    figures = coco_map([slipped])
    assert figures["ap50"] == pytest.approx(1)
    assert figures["map50_95"] == pytest.approx(0.5, abs=0.01)
    assert coco_map([field(np.zeros((0, 2)), [], [(50, 50)])])["map50_95"] == 0
