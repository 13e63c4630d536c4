"""What carries a slide's call, and whether it should stand without a reader: asked in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from koilo.mil.removal import find_removal
from koilo.pipeline.disagreement import find_disagreement
from koilo.pipeline.doubt import judge_doubt
from koilo.pipeline.models import Models
from koilo.pipeline.verdict import Call
from koilo.types import Cell, SlideResult


def add_contributions(
    models: Models,
    cells: Sequence[Cell],
    features: NDArray[np.float32],
    p_cells: NDArray[np.float32],
) -> tuple[Cell, ...]:
    """The cells with what each contributes to the call, where the head can say.

    Args:
        models: of the bundle.
        cells: best detection first.
        features: (N, D) of the same cells.
        p_cells: (N, C) of the same cells.
    """
    found = models.head.contributions(features, p_cells) if len(cells) else None
    if found is None:
        return tuple(cells)
    return tuple(
        cell if np.isnan(value) else replace(cell, contribution=float(value))
        for cell, value in zip(cells, found, strict=True)
    )


def add_reasons(
    result: SlideResult,
    call: Call | None,
    models: Models,
    features: NDArray[np.float32],
    p_cells: NDArray[np.float32],
    crops: NDArray[np.uint8],
) -> SlideResult:
    """The result with removal test, disagreement, likeness to the training data and doubt.

    Args:
        result: the reading, with its cells and their contributions.
        call: None where there was no cell.
        models: of the bundle.
        features: (N, D) of ``result.cells``.
        p_cells: (N, C) of ``result.cells``.
        crops: uint8 (N, P, P, 3) of ``result.cells``.
    """
    kind = str(result.slide["kind"])
    removal = disagreement = ood_score = None
    if call is not None:
        folds = models.bundle.stage("head").get("folds", {})
        disagreement = find_disagreement(call.label, call.positive, result.cells, folds)
        if models.likeness is not None:
            ood_score = models.likeness.ood_score(features, crops)
        shares = [cell.contribution for cell in result.cells]
        if call.positive and any(value is not None for value in shares):
            removal = find_removal(
                models.head, features, p_cells, np.array(shares, np.float64),
                models.threshold(kind),
            )  # fmt: skip
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
