"""From a slide head's probabilities to the call: threshold first, then the class to look for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from koilo.taxonomy import NEGATIVE


@dataclass(frozen=True, slots=True)
class Call:
    """What a slide's probabilities say: ``positive`` and ``label`` never contradict each other."""

    label: str
    p_positive: float
    positive: bool


def judge_slide(probabilities: Mapping[str, float], threshold: float) -> Call:
    """Judge by ``p_positive`` = 1 - p(NILM) against the locked threshold; ties are positive.

    The label is NILM below the threshold, else the most probable class that is not NILM, even
    where NILM itself is more probable.

    >>> judge_slide({"NILM": 0.6, "LSIL": 0.1, "HSIL+SCC": 0.3}, 0.25).label
    'HSIL+SCC'
    """
    p_positive = 1.0 - probabilities[NEGATIVE]
    positive = p_positive >= threshold
    others = {name: p for name, p in probabilities.items() if name != NEGATIVE}
    label = max(others, key=others.__getitem__) if positive else NEGATIVE
    return Call(label, p_positive, positive)
