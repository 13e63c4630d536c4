"""One row a cell: of several boxes on one nucleus the most suspicious is written.

The detector may find a large nucleus twice, with centres too far apart for its own merging
(`koilo.detect.merge`), whose overlap belongs to the slide head: bags of training held such twins,
and thresholds are locked on them. So the head sees every box, and what is written, counted and
shown is one row a nucleus. On CRIC 2 % of labelled nuclei lie this near to another labelled one,
and which of the boxes is taken does not move the AUC of cells (docs/log.md, 2026-11-24): the most
suspicious is, so that no lesion hides behind a better placed box.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

SAME_NUCLEUS_UM = 6.0
"""Centres nearer than this are of one nucleus: as near as a find counts as a labelled one."""


def one_row_a_cell(
    centres_um: NDArray[np.floating], suspicion: NDArray[np.floating]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which boxes are written, and for every box the place of its row among them.

    Args:
        centres_um: (N, 2) of the boxes, in µm.
        suspicion: (N,) p of any class but NILM; of equals the earlier box is taken.

    Returns:
        ``kept`` (M,), ascending, and ``row`` (N,) in 0 … M - 1.
    """
    if not len(centres_um):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    tree = cKDTree(centres_um)
    owner = np.full(len(centres_um), -1)
    for index in np.argsort(-np.asarray(suspicion), kind="stable"):
        if owner[index] < 0:
            near = np.array(tree.query_ball_point(centres_um[index], SAME_NUCLEUS_UM))
            owner[near[owner[near] < 0]] = index
    kept, row = np.unique(owner, return_inverse=True)
    return kept.astype(np.int64), row.astype(np.int64)
