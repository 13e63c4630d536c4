"""Whether a call should stand without a reader, and why not; no number is ever withheld for it.

A slide needs a human where its conformal set is not its call alone, where it is less like the
training data than 95 % of the reference pictures, where its cells are graver than its label or none
of them carries it, where the picture asks for a rescan, and where there was no cell to judge.
"""

from __future__ import annotations

from dataclasses import dataclass

from koilo.evaluate.conformal import DoubtBounds, possible_calls
from koilo.pipeline.verdict import Call
from koilo.types import Disagreement, ImageQuality

OOD_LIMIT = 0.95
"""Share of the reference pictures nearer than the slide from which on it is not like them: one in
twenty of these would be called so, too."""


@dataclass(frozen=True)
class Doubt:
    """``needs_human`` is None where the bundle has no bounds to judge by."""

    needs_human: bool | None
    why: tuple[str, ...] = ()
    possible_calls: tuple[str, ...] = ()


def judge_doubt(
    call: Call | None,
    bounds: DoubtBounds | None,
    *,
    ood_score: float | None,
    disagreement: Disagreement | None,
    quality: ImageQuality,
) -> Doubt:
    """Judge one slide.

    Args:
        call: None where there was no cell.
        bounds: of the operating point that judged it; None where the bundle has none.
        ood_score: None where the bundle cannot say.
        disagreement: of the slide's label and its cells'.
        quality: of the picture.
    """
    if bounds is None:
        return Doubt(None)
    if call is None:
        return Doubt(True, ("no cell was there to judge",))
    calls = possible_calls(call.p_positive, bounds)
    why = []
    if calls != (("positive",) if call.positive else ("negative",)):
        why.append(_open_call(calls))
    if ood_score is not None and ood_score >= OOD_LIMIT:
        why.append("the slide is not like the training data")
    if disagreement is not None and disagreement.kind != "milder cells":
        why.append(_not_fitting(disagreement))
    if not quality.ok:
        why.append(quality.verdict)
    return Doubt(bool(why), tuple(why), calls)


def _open_call(calls: tuple[str, ...]) -> str:
    if len(calls) == 2:
        return "neither negative nor positive can be ruled out"
    if not calls:
        return "the score is like neither negative nor positive slides"
    return f"the score is like {calls[0]} slides only, against the call"


def _not_fitting(found: Disagreement) -> str:
    if found.kind == "no lesion cell":
        return f"called {found.slide_label}, but no cell is most like a lesion"
    return f"called {found.slide_label}, but cells are most like {found.cell_label}"
