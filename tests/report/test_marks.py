from __future__ import annotations

from itertools import combinations

import numpy as np

from koilo.report import marks


def test_a_cell_lands_where_it_lies_in_the_frame():
    assert marks.to_canvas(1500, 1250, (1000, 1000, 2000, 1000), 500) == (250, 125)
    assert marks.to_canvas(900, 1250, (1000, 1000, 2000, 1000), 500) is None


def test_labels_of_a_dense_cluster_do_not_overlap_and_stay_inside():
    spots = np.random.default_rng(0).normal((500, 400), 40, (30, 2))
    placed = marks.place_marks([(n + 1, *spot, 8.0) for n, spot in enumerate(spots)], 800)
    boxes = [marks._label_box(m.number, m.label_x, m.label_y) for m in placed]
    assert [m.number for m in placed] == list(range(1, 31))
    assert all(marks._overlap(one, other) == 0 for one, other in combinations(boxes, 2))
    assert all(b[0] >= 0 and b[1] >= 0 and b[2] <= 1000 and b[3] <= 800 for b in boxes)


def test_a_label_that_had_to_move_away_gets_a_leader():
    placed = marks.place_marks([(n, 500, 400, 8.0) for n in range(1, 25)], 800)
    assert not placed[0].leader
    assert placed[-1].leader


def test_a_ring_holds_its_box_on_a_field_and_stays_visible_on_a_slide():
    assert marks.ring_radius(80, (0, 0, 1000, 800)) == 40
    assert marks.ring_radius(80, (0, 0, 80_000, 80_000)) == marks.RING_RADIUS
