"""What carries a slide's call, and whether it should stand without a reader: asked in one place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from koilo.mil.removal import Boxes, find_removal
from koilo.pipeline.disagreement import find_disagreement
from koilo.pipeline.doubt import judge_doubt
from koilo.pipeline.models import Models
from koilo.pipeline.verdict import Call
from koilo.types import SlideResult


def share_out(models: Models, boxes: Boxes) -> NDArray[np.float32] | None:
    """Contribution of each cell to the call (M,), NaN where it was not read; None where unknown."""
    return boxes.shares(models.head) if len(boxes.cell) else None


def add_reasons(
    result: SlideResult,
    call: Call | None,
    models: Models,
    boxes: Boxes,
    features: NDArray[np.float32],
    crops: NDArray[np.uint8],
) -> SlideResult:
    """The result with removal test, disagreement, likeness to the training data and doubt.

    Args:
        result: the reading, with its cells and their contributions.
        call: None where there was no cell.
        models: of the bundle.
        boxes: all that the head saw.
        features: (M, D) of ``result.cells``.
        crops: uint8 (M, P, P, 3) of ``result.cells``.
    """
    kind = str(result.slide["kind"])
    removal = disagreement = ood_score = None
    if call is not None:
        folds = models.bundle.stage("head").get("folds", {})
        disagreement = find_disagreement(call.label, call.positive, result.cells, folds)
        if models.likeness is not None:
            ood_score = models.likeness.ood_score(features, crops)
        shares = np.array([cell.contribution for cell in result.cells], np.float64)  # None: NaN
        if call.positive and np.isfinite(shares).any():
            removal = find_removal(models.head, boxes, shares, models.threshold(kind))
    assert result.image_quality is not None
    doubt = judge_doubt(
        call,
        models.bounds(kind),
        ood_score=ood_score,
        disagreement=disagreement,
        quality=result.image_quality,
    )
    return replace(
        result,
        removal=removal,
        disagreement=disagreement,
        ood_score=ood_score,
        needs_human=doubt.needs_human,
        needs_human_why=doubt.why,
        possible_calls=doubt.possible_calls,
    )
