"""Two methods on the same slides: differences with intervals, tests by DeLong and by McNemar."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koilo.errors import ManifestError
from koilo.evaluate.agreement import mcnemar
from koilo.evaluate.comparison import paired_difference
from koilo.evaluate.delong import compare_aucs
from koilo.evaluate.measures import Judged, plain
from koilo.evaluate.operating_point import specificity_at
from koilo.evaluate.paired_shares import Pairs, difference_interval
from koilo.evaluate.scores import auc
from koilo.evaluate.slide_scores import SlideScore

Values = dict[str, Any]
Bools = NDArray[np.bool_]


def pair_scores(
    judged: Sequence[SlideScore], others: Sequence[SlideScore], source: Path
) -> tuple[Judged, Judged]:
    """The slides that both have scored, in one order, with the truth of the first.

    Args:
        judged: slides with truth and score.
        others: what the other method says; its labels, where it has any, must be the same.
        source: of the others, for messages.

    Raises:
        ManifestError: no slide is in both, or the two disagree about the truth.
    """
    scored = {other.slide_id: other for other in others if other.p_positive is not None}
    pairs = [(slide, scored[slide.slide_id]) for slide in judged if slide.slide_id in scored]
    if not pairs:
        raise ManifestError(
            f"{source} scores none of the {len(judged)} judged slides. A comparison needs the same "
            "slides in both. Check that slide_id are the same."
        )
    wrong = [own for own, other in pairs if other.label not in (None, own.label)]
    if wrong:
        raise ManifestError(
            f"{source} gives {len(wrong)} slides another label, such as {wrong[0].slide_id} "
            f"({wrong[0].label} here, {scored[wrong[0].slide_id].label} there). A comparison needs "
            "one truth. Mend the labels, or name the truth with --truth."
        )
    first = Judged.of([own for own, _ in pairs])
    theirs = Judged.of([other for _, other in pairs])
    return first, Judged(theirs.slides, first.truth, theirs.p, theirs.called)


def measure_against(first: Judged, second: Judged, *, draws: int = 1000, seed: int = 0) -> Values:
    """Measures of both and their differences, first less second, as plain values.

    Args:
        first: one method's slides.
        second: the other's, the same slides in the same order.
        draws: resamples of the bootstrap; both methods are measured on the same ones.
        seed: of the draws.
    """
    rows = [*_ranking(first, second, draws, seed), *_locked(first, second)]
    return dict(plain({"n": first.truth.size, "n_positive": int(first.truth.sum()), "rows": rows}))


def _ranking(first: Judged, second: Judged, draws: int, seed: int) -> list[Values]:
    """AUC and ``spec@sens95``; nothing where a class has fewer than two slides."""
    truth = first.truth
    if min(truth.sum(), (~truth).sum()) < 2:
        return []
    tested = compare_aucs(truth, first.p, second.p)
    gap = paired_difference(
        truth, first.p, second.p, specificity_at, strata=truth, draws=draws, seed=seed
    )
    return [
        {
            "measure": "AUC",
            "first": auc(truth, first.p),
            "second": auc(truth, second.p),
            "difference": tested.difference,
            "p": tested.p,
            "how": "DeLong's paired test",
        },
        {
            "measure": "specificity at sensitivity 95 %",
            "first": specificity_at(truth, first.p),
            "second": specificity_at(truth, second.p),
            "difference": gap,
            "p": None,
            "how": "thresholds from this very set; paired bootstrap",
        },
    ]


def _locked(first: Judged, second: Judged) -> list[Values]:
    """Sensitivity and specificity at each method's own locked threshold, where both have one."""
    if first.called is None or second.called is None:
        return []
    ours, theirs = first.called == first.truth, second.called == first.truth
    return [
        _share("sensitivity, locked", ours[first.truth], theirs[first.truth]),
        _share("specificity, locked", ours[~first.truth], theirs[~first.truth]),
    ]


def _share(name: str, ours: Bools, theirs: Bools) -> Values:
    """A row on the slides of one kind, True where a method is right; empty where there is none."""
    return {
        "measure": name,
        "first": ours.mean() if ours.size else None,
        "second": theirs.mean() if theirs.size else None,
        "difference": difference_interval(Pairs.of(theirs, ours)),
        "p": mcnemar(ours, theirs).p_exact if ours.size else None,
        "how": "Tango's score interval, exact McNemar",
    }
