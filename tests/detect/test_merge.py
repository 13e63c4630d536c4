import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koilo.detect.merge import merge_boxes
from koilo.detect.topk import TopK
from koilo.evaluate.detection import box_ious

TILE, OVERLAP = 128, 40


def random_cells(seed, n, extent=400):
    """Cells at least 24 px apart, sides 12-30 px, inside the extent."""
    rng = np.random.default_rng(seed)
    centres = []
    while len(centres) < n:
        spot = rng.uniform(20, extent - 20, 2)
        if all(np.hypot(*(spot - other)) >= 24 for other in centres):
            centres.append(spot)
    sides = rng.uniform(12, 30, (n, 2))
    return np.concatenate([np.array(centres) - sides / 2, sides], axis=1), rng.uniform(0.1, 1, n)


def seen_in(tile, boxes, scores):
    """A toy detector: every cell that shows in the tile, clipped to it; a part scores as well."""
    low = np.maximum(boxes[:, :2], tile[:2])
    high = np.minimum(boxes[:, :2] + boxes[:, 2:], tile[:2] + tile[2:])
    shows = (high - low > 3).all(axis=1)
    return np.concatenate([low, high - low], axis=1)[shows], scores[shows]


def grid(extent=400):
    starts = np.arange(0, extent, TILE - OVERLAP)
    return [np.array([x, y, TILE, TILE], float) for y in starts for x in starts]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60))
def test_tiles_with_overlap_give_the_boxes_of_one_big_tile(seed, n):
    boxes, scores = random_cells(seed, min(n, 60))
    found, values, tiles = [], [], []
    for tile in grid():
        some, some_scores = seen_in(tile, boxes, scores)
        found.append(some)
        values.append(some_scores)
        tiles.append(np.tile(tile, (len(some), 1)))
    found, values = np.concatenate(found), np.concatenate(values)
    kept = merge_boxes(found, values, tiles_px0=np.concatenate(tiles))
    merged = found[kept]
    assert len(merged) == len(boxes)
    assert merged[np.lexsort(merged.T)] == pytest.approx(boxes[np.lexsort(boxes.T)])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 80))
def test_the_order_of_boxes_does_not_matter(seed, n):
    rng = np.random.default_rng(seed)
    boxes = np.concatenate([rng.uniform(0, 80, (n, 2)), rng.uniform(5, 30, (n, 2))], axis=1)
    scores = rng.integers(0, 5, n) / 5  # many ties
    tiles = np.tile([0.0, 0.0, 60.0, 60.0], (n, 1))
    tiles[rng.random(n) < 0.5, 0] = 40
    turn = rng.permutation(n)
    kept = merge_boxes(boxes, scores, tiles_px0=tiles)
    turned = merge_boxes(boxes[turn], scores[turn], tiles_px0=tiles[turn])
    assert {tuple(row) for row in boxes[kept]} == {tuple(row) for row in boxes[turn][turned]}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60))
def test_kept_boxes_are_apart_and_dropped_ones_have_a_better_rival(seed, n):
    rng = np.random.default_rng(seed)
    boxes = np.concatenate([rng.uniform(0, 60, (n, 2)), rng.uniform(10, 30, (n, 2))], axis=1)
    scores = rng.random(n)
    kept = merge_boxes(boxes, scores, iou=0.4)
    overlaps = box_ious(boxes, boxes)
    among = overlaps[np.ix_(kept, kept)] - np.eye(len(kept))
    assert (among <= 0.4).all()
    for index in set(range(n)) - set(kept.tolist()):
        assert (overlaps[index, kept][scores[kept] >= scores[index]] > 0.4).any()
    assert (np.diff(scores[kept]) <= 0).all()


def test_a_cut_box_gives_way_to_the_whole_one_even_where_it_scores_higher():
    whole, cut = [90, 50, 20, 20], [100, 50, 10, 20]
    tiles = np.array([[0, 0, 128, 128], [100, 0, 128, 128]])
    kept = merge_boxes(np.array([whole, cut]), np.array([0.4, 0.9]), tiles_px0=tiles)
    assert kept.tolist() == [0]


def test_touching_nuclei_of_one_tile_stay_two():
    boxes = np.array([[0, 0, 20.5, 20.5], [6.5, 0, 20.5, 20.5], [1, 0, 20.5, 20.5]])
    assert merge_boxes(boxes, np.array([0.9, 0.8, 0.7])).tolist() == [0, 1]


def test_no_boxes_merge_to_none():
    assert merge_boxes(np.zeros((0, 4)), np.zeros(0)).shape == (0,)


def fill(top, boxes, scores, order):
    for part in np.array_split(order, 7):
        top.add(boxes[part], scores[part])
    return top.result()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30))
def test_top_k_is_the_best_k_whatever_the_order(seed, k):
    rng = np.random.default_rng(seed)
    corners = np.stack(np.meshgrid(np.arange(15) * 40, np.arange(15) * 40), -1).reshape(-1, 2)
    boxes = np.concatenate([corners, np.full_like(corners, 20)], axis=1).astype(float)
    scores = rng.permutation(len(boxes)) / len(boxes)
    found, values = fill(TopK(k), boxes, scores, rng.permutation(len(boxes)))
    best = np.argsort(-scores)[:k]
    assert values == pytest.approx(scores[best])
    assert found == pytest.approx(boxes[best])


def test_top_k_keeps_bounded_memory_and_nothing_at_the_floor():
    top = TopK(8, floor=0.5)
    rng = np.random.default_rng(0)
    for _ in range(50):
        boxes = np.concatenate([rng.uniform(0, 1e5, (100, 2)), np.full((100, 2), 20)], axis=1)
        top.add(boxes, rng.random(100))
        assert len(top._heap) <= 32
    boxes, scores = top.result()
    assert len(boxes) == 8
    assert (scores > 0.9).all()
    nothing = TopK(8, floor=0.5)
    nothing.add(np.array([[0.0, 0, 20, 20]]), np.array([0.5]))
    assert len(nothing.result()[0]) == 0


def test_top_k_counts_a_cell_seen_by_four_tiles_once():
    top = TopK(2)
    for x, y in ((0, 0), (88, 0), (0, 88), (88, 88)):
        top.add(np.array([[100.0, 100, 20, 20]]), np.array([0.9]), tile_px0=(x, y, 128, 128))
    top.add(np.array([[10.0, 10, 20, 20]]), np.array([0.3]), tile_px0=(0, 0, 128, 128))
    assert top.result()[1] == pytest.approx([0.9, 0.3])


def test_top_k_refuses_a_k_of_nothing():
    with pytest.raises(ValueError, match="at least one"):
        TopK(0)
