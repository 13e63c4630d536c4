"""One list of classes for truth and calls: what either folds is folded, so that both fit."""

from __future__ import annotations

from collections.abc import Iterable

from koilo.taxonomy import NEGATIVE, fold_members, fold_name, severity


def shared_classes(names: Iterable[str]) -> tuple[str, ...]:
    """The finest classes into which every name fits, NILM first, then by gravity.

    A class that only one side knows (AGC, for a model without it) stays a class of its own.

    Args:
        names: classes and folds of the truth and of the model.

    >>> shared_classes(["NILM", "HSIL", "HSIL+SCC", "ASC-US", "AGC"])
    ('NILM', 'ASC-US', 'AGC', 'HSIL+SCC')
    """
    groups: list[set[str]] = []
    for name in (NEGATIVE, *names):
        members = set(fold_members(name))
        touching = [group for group in groups if group & members]
        groups = [group for group in groups if not group & members]
        groups.append(members.union(*touching))
    folds = [fold_name(group) for group in groups]
    return tuple(sorted(folds, key=lambda name: (name != NEGATIVE, severity(name))))


def place_in(name: str, classes: Iterable[str]) -> str:
    """The one of ``classes`` that contains a class or fold.

    Raises:
        ValueError: none does.
    """
    members = set(fold_members(name))
    for fold in classes:
        if members <= set(fold_members(fold)):
            return fold
    raise ValueError(f"class {name} has no place among the classes compared.")
