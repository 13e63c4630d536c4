"""Whether a slide's label and its cells' labels fit each other: a stated rule.

- A positive slide is compared with its 32 most suspicious cells. Those that are most like a lesion
  vote, and the class with the most votes leads (the graver one where two have as many). It is
  folded as slide classes are. Another class than the slide's: ``graver cells`` or ``milder cells``.
  No cell most like a lesion: ``no lesion cell``.
- A slide below the threshold with a cell of ASC-H, HSIL, SCC or AGC at p of .90 or more:
  ``graver cells``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from koilo.evaluate.ranking import TOP
from koilo.taxonomy import NEGATIVE, fold_members, severity
from koilo.types import Cell, Disagreement, Mismatch

HIGH_GRADE = frozenset({"ASC-H", "HSIL", "SCC", "AGC"})
HIGH_P = 0.9


def find_disagreement(
    label: str, positive: bool, cells: Sequence[Cell], folds: Mapping[str, str]
) -> Disagreement | None:
    """The disagreement of a slide's ``label`` with its ``cells``, None where they fit.

    Args:
        label: suggested for the slide.
        positive: whether the slide reaches its threshold.
        cells: with their class probabilities, in any order.
        folds: cell class to slide class, for those that have another name.
    """
    if not positive:
        grave = [cell for cell in cells if _is_high_grade(cell.label) and _p(cell) >= HIGH_P]
        if not grave:
            return None
        worst = max(grave, key=_p)
        return Disagreement("graver cells", label, worst.label, len(grave), _p(worst))
    best = sorted(cells, key=_suspicion, reverse=True)[:TOP]
    lesions = [cell for cell in best if cell.label != NEGATIVE]
    if not lesions:
        return Disagreement("no lesion cell", label)
    votes = Counter(folds.get(cell.label, cell.label) for cell in lesions)
    leading = max(votes, key=lambda name: (votes[name], severity(name)))
    if set(fold_members(leading)) & set(fold_members(label)):
        return None
    own = [cell for cell in lesions if folds.get(cell.label, cell.label) == leading]
    kind: Mismatch = "graver cells" if severity(leading) > severity(label) else "milder cells"
    return Disagreement(kind, label, leading, len(own), max(map(_p, own)))


def _p(cell: Cell) -> float:
    return cell.probabilities[cell.label]


def _suspicion(cell: Cell) -> float:
    return 1.0 - cell.probabilities[NEGATIVE]


def _is_high_grade(label: str) -> bool:
    return set(fold_members(label)) <= HIGH_GRADE
