"""Of several boxes on one nucleus one row is written, the most suspicious."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from koilo.pipeline.one_a_cell import SAME_NUCLEUS_UM, one_row_a_cell

placed = st.lists(
    st.tuples(st.floats(0, 60), st.floats(0, 60), st.floats(0, 1)), min_size=1, max_size=40
)


@given(placed)
def test_no_two_rows_share_a_nucleus_and_every_box_has_a_row_near_it_no_less_suspicious(
    boxes: list[tuple[float, float, float]],
) -> None:
    centres, suspicion = np.array([b[:2] for b in boxes]), np.array([b[2] for b in boxes])
    kept, row = one_row_a_cell(centres, suspicion)
    gaps = np.hypot(*(centres[kept][:, None] - centres[kept][None]).transpose(2, 0, 1))
    assert (gaps[~np.eye(len(kept), dtype=bool)] > SAME_NUCLEUS_UM).all()
    taken = kept[row]
    assert (np.hypot(*(centres - centres[taken]).T) <= SAME_NUCLEUS_UM).all()
    assert (suspicion[taken] >= suspicion).all()
    assert (np.diff(kept) > 0).all()


def test_of_two_boxes_on_a_nucleus_the_more_suspicious_is_written_whichever_came_first() -> None:
    centres = np.array([[0.0, 0.0], [4.0, 0.0], [50.0, 0.0]])
    kept, row = one_row_a_cell(centres, np.array([0.1, 0.9, 0.5]))
    assert kept.tolist() == [1, 2]
    assert row.tolist() == [0, 0, 1]


def test_nothing_found_gives_no_rows() -> None:
    kept, row = one_row_a_cell(np.zeros((0, 2)), np.zeros(0))
    assert not len(kept)
    assert not len(row)
