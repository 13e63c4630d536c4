"""What a report says of the reasons behind a call, one line each; what is unknown has no line."""

from __future__ import annotations

from dataclasses import dataclass

from koilo.report import words
from koilo.types import Disagreement, Removal, SlideResult


@dataclass(frozen=True, slots=True)
class Reason:
    """One line: what it is about, and what it says."""

    title: str
    text: str


def build_reasons(result: SlideResult, numbers: dict[int, int]) -> tuple[Reason, ...]:
    """The lines of a slide, in a fixed order.

    Args:
        result: the slide's reading.
        numbers: row of a cell to its number in the gallery, for the cells that are shown.
    """
    found = []
    if result.needs_human is not None:
        found.append(Reason("Needs a human", human_text(result)))
    if result.ood_score is not None:
        found.append(Reason("Like the training data", _likeness_text(result.ood_score)))
    if result.removal is not None:
        found.append(Reason("What the call hangs on", _removal_text(result.removal, numbers)))
    if result.disagreement is not None:
        found.append(Reason("Slide and cells", _disagreement_text(result.disagreement)))
    return tuple(found)


def human_text(result: SlideResult) -> str:
    """``yes`` with its reasons, ``no``, or nothing where the bundle cannot say."""
    if result.needs_human is None:
        return ""
    return f"yes: {'; '.join(result.needs_human_why)}" if result.needs_human else "no"


def _likeness_text(ood_score: float) -> str:
    return (
        f"of the reference pictures {words.percent(ood_score)} lie nearer to the training data "
        "than this slide"
    )


def _removal_text(removal: Removal, numbers: dict[int, int]) -> str:
    if not removal.turned:
        return f"no set of up to {removal.limit} cells turns it: it does not hang on a few cells"
    n = len(removal.cells)
    shown = sorted(numbers[row] for row in removal.cells if row in numbers)
    marks = f" (in the gallery: {', '.join(map(str, shown))})" if shown else ""
    these = "this 1 cell" if n == 1 else f"these {n} cells"
    return f"without {these} the slide is below its threshold{marks}"


def _disagreement_text(found: Disagreement) -> str:
    if found.kind == "no lesion cell":
        return f"called {found.slide_label}, but no cell is most like a lesion"
    text = f"called {found.slide_label}, but {found.n_cells} of its cells are most like "
    return text + f"{found.cell_label} (p up to {words.probability(found.p)})"
