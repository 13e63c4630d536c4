"""Kinds of cells: normal ones, mimics and lesions, each as distributions of what is drawn.

Sizes and rates follow spec/cytology.md; where it is silent the number is a choice. A mimic shares
one or two attributes with a lesion and lacks the others; every attribute's distributions overlap
between classes: nothing here is a threshold. Nuclear areas of lesions lie between the teaching
factors (ASC-US 2.5-3 x an intermediate nucleus of 35 µm², LSIL over 3 x) and the medians measured
on CRIC.
"""

from __future__ import annotations

from koilo.phantom.kind import Kind
from koilo.phantom.kinds_lesion import LESION_KINDS
from koilo.phantom.kinds_mimic import MIMIC_KINDS
from koilo.phantom.kinds_normal import NORMAL_KINDS

KINDS: dict[str, Kind] = {kind.name: kind for kind in (*NORMAL_KINDS, *MIMIC_KINDS, *LESION_KINDS)}
NORMAL = tuple(kind.name for kind in NORMAL_KINDS)
MIMICS = tuple(kind.name for kind in MIMIC_KINDS)
LESIONS = tuple(kind.name for kind in LESION_KINDS)


def kinds_of(label: str) -> tuple[str, ...]:
    """Names of the kinds that carry a Bethesda class.

    Raises:
        ValueError: no kind carries it.

    >>> kinds_of("HSIL")
    ('hsil',)
    """
    names = tuple(name for name, kind in KINDS.items() if kind.label == label)
    if not names:
        known = ", ".join(dict.fromkeys(kind.label for kind in KINDS.values()))
        raise ValueError(f"No phantom cell is of class {label!r}. Known classes: {known}. Use one.")
    return names
