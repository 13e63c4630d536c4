"""What a report says of the reasons behind a call, one line each; what is unknown has no line."""

from __future__ import annotations

from dataclasses import dataclass

from koilo.report import words
from koilo.report.language import Language
from koilo.types import Cell, Disagreement, Removal, SlideResult


@dataclass(frozen=True, slots=True)
class Reason:
    """One line: what it is about, and what it says."""

    title: str
    text: str


def build_reasons(
    result: SlideResult, numbers: dict[int, int], language: Language
) -> tuple[Reason, ...]:
    """The lines of a slide, in a fixed order.

    Args:
        result: the slide's reading.
        numbers: row of a cell to its number in the gallery, for the cells that are shown.
        language: of the report.
    """
    said = {}
    if result.needs_human is not None:
        said["human"] = human_text(result, language)
    if result.ood_score is not None:
        said["likeness"] = language.plain("likeness", share=words.percent(result.ood_score))
    if result.removal is not None:
        said["removal"] = _removal_text(result.removal, numbers, language)
    if result.disagreement is not None:
        said["disagreement"] = _disagreement_text(result.disagreement, language)
    if result.organisms:
        said["organisms"] = _organisms_text(result, numbers, language)
    return tuple(Reason(language.plain(f"reasons.{key}"), text) for key, text in said.items())


def organism_hints(cell: Cell, result: SlideResult, language: Language) -> tuple[str, ...]:
    """What a cell looks like of the organisms that the bundle has a head for, in words."""
    return tuple(
        _organism_name(name, language)
        for name, found in result.organisms.items()
        if cell.organisms[name] >= found["threshold"]
    )


def _organism_name(name: str, language: Language) -> str:
    return language.texts.get(f"hint.{name}", name)


def _organisms_text(result: SlideResult, numbers: dict[int, int], language: Language) -> str:
    named = []
    for name, found in result.organisms.items():
        if n := int(found["n_cells"]):
            text = language.plain("hints.one", name=_organism_name(name, language), n=n)
            places = [
                numbers[row]
                for row, cell in enumerate(result.cells)
                if row in numbers and cell.organisms[name] >= found["threshold"]
            ]
            if places:
                numbered = ", ".join(map(str, sorted(places)))
                text += language.plain("removal.shown", numbers=numbered)
            named.append(text)
    seen = language.texts["list.semicolon"].join(named) or language.plain("hints.none")
    return language.plain("hints", seen=seen)


def human_text(result: SlideResult, language: Language) -> str:
    """``yes`` with its reasons, ``no``, or nothing where the bundle cannot say."""
    if result.needs_human is None:
        return ""
    if not result.needs_human:
        return language.plain("human.no")
    why = language.texts["list.semicolon"].join(map(language.phrase, result.needs_human_why))
    return language.plain("human.yes", why=why)


def _removal_text(removal: Removal, numbers: dict[int, int], language: Language) -> str:
    if not removal.turned:
        return language.plain("removal.none", limit=removal.limit)
    n = len(removal.cells)
    text = language.plain("removal.one" if n == 1 else "removal.several", n=n)
    shown = sorted(numbers[row] for row in removal.cells if row in numbers)
    if shown:
        text += language.plain("removal.shown", numbers=", ".join(map(str, shown)))
    return text


def _disagreement_text(found: Disagreement, language: Language) -> str:
    if found.kind == "no lesion cell":
        return language.plain("disagreement.no_lesion_cell", slide=found.slide_label)
    return language.plain(
        "disagreement.cells",
        slide=found.slide_label,
        n=found.n_cells,
        cell=found.cell_label,
        p=words.probability(found.p),
    )
