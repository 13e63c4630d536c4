"""The Bethesda classes in koilo's order, and folds of several classes into one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

NEGATIVE = "NILM"


@cache
def load_table(name: str) -> Any:
    """The YAML table ``name`` (without ending) of this package."""
    text = files("koilo.taxonomy").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


CYTOLOGY: tuple[str, ...] = tuple(row["name"] for row in load_table("cytology"))

_SEVERITY = {row["name"]: int(row["severity"]) for row in load_table("cytology")}
_MEANING = {row["name"]: str(row["meaning"]) for row in load_table("cytology")}


def meaning(name: str) -> str:
    """A class or fold in words: ``HSIL+SCC`` gives both meanings joined by ``or``."""
    return " or ".join(_MEANING[member] for member in fold_members(name))


def fold_name(members: Iterable[str]) -> str:
    """Name of a fold: its members in koilo's order joined by ``+``.

    >>> fold_name(["SCC", "HSIL"])
    'HSIL+SCC'
    """
    return "+".join(sorted(members, key=CYTOLOGY.index))


def fold_members(name: str) -> tuple[str, ...]:
    """The classes of a fold; a plain class is a fold of one.

    >>> fold_members("HSIL+SCC")
    ('HSIL', 'SCC')

    Raises:
        ValueError: a member is no Bethesda class of koilo's.
    """
    members = tuple(name.split("+"))
    for member in members:
        if member not in _SEVERITY:
            raise ValueError(
                f"'{member}' is not a class. "
                f"Allowed: {', '.join(CYTOLOGY)}, or several joined by +."
            )
    return members


def check_classes(names: Sequence[str]) -> tuple[str, ...]:
    """Check a model's class list: known classes, NILM first and alone, none twice.

    Raises:
        ValueError: saying which class is wrong.
    """
    members = [member for name in names for member in fold_members(name)]
    twice = sorted({member for member in members if members.count(member) > 1})
    if twice:
        raise ValueError(f"class {', '.join(twice)} stands twice in {', '.join(names)}.")
    if not names or names[0] != NEGATIVE:
        raise ValueError(f"a class list begins with {NEGATIVE}; this one is: {', '.join(names)}.")
    return tuple(names)


def fold_matrix(fine: Sequence[str], coarse: Sequence[str]) -> NDArray[np.float64]:
    """Matrix (len(fine), len(coarse)) of 0 and 1 with which ``p_fine @ matrix`` sums folds.

    Raises:
        ValueError: a fine class has no coarse class that contains it.
    """
    matrix = np.zeros((len(fine), len(coarse)))
    for row, name in enumerate(fine):
        members = set(fold_members(name))
        homes = [column for column, fold in enumerate(coarse) if members <= set(fold_members(fold))]
        if not homes:
            raise ValueError(f"class {name} has no place in {', '.join(coarse)}.")
        matrix[row, homes[0]] = 1.0
    return matrix


def class_map(names: Sequence[str], onto: Sequence[str]) -> tuple[int, ...]:
    """For each class or fold its place in a coarser list.

    >>> class_map(["NILM", "ASC-H", "HSIL+SCC"], ["NILM", "ASC-H+HSIL+SCC"])
    (0, 1, 1)

    Raises:
        ValueError: one of them has no class there that contains it.
    """
    return tuple(int(column) for column in fold_matrix(names, onto).argmax(axis=1))


def most_severe(names: Iterable[str]) -> str:
    """The most severe of several classes; NILM where there is none.

    >>> most_severe(["LSIL", "HSIL", "NILM"])
    'HSIL'
    """
    return max(names, key=severity, default=NEGATIVE)


def severity(name: str) -> int:
    """Rank of a class where classes are ordered by gravity, NILM 0; a fold has its worst member's.

    >>> sorted(["SCC", "AGC", "ASC-H", "NILM"], key=severity)
    ['NILM', 'AGC', 'ASC-H', 'SCC']
    """
    return max(_SEVERITY[member] for member in fold_members(name))
