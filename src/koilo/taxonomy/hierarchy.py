"""Trees of classes: levels, ancestors and how far two classes lie apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koilo.errors import ConfigError
from koilo.taxonomy.classes import NEGATIVE, load_table

HIERARCHIES = ("hicervix",)
"""Trees that this package holds, each a YAML table."""


@dataclass(frozen=True)
class Hierarchy:
    """A tree of classes. What is predicted are its leaves; a level's classes are sums of leaves."""

    name: str
    paths: tuple[tuple[str, ...], ...]
    """for each leaf its classes from level 1 to itself"""
    bethesda: tuple[str, ...]
    """for each leaf its class in koilo's own list"""

    @property
    def leaves(self) -> tuple[str, ...]:
        """Names of the leaves, in their order."""
        return tuple(path[-1] for path in self.paths)

    @property
    def negative(self) -> NDArray[np.bool_]:
        """True for the leaves (L,) that are NILM in koilo's own list."""
        return np.array([home == NEGATIVE for home in self.bethesda])

    @property
    def depth(self) -> int:
        """Number of levels."""
        return max(len(path) for path in self.paths)

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes of the tree, level by level."""
        levels = [self.level(number) for number in range(1, self.depth + 1)]
        return tuple(dict.fromkeys(name for names in levels for name in names))

    def level(self, number: int) -> tuple[str, ...]:
        """Classes of a level, from 1; a leaf above it stands for itself."""
        return tuple(dict.fromkeys(self._at(path, number) for path in self.paths))

    def fold(self, number: int) -> NDArray[np.int64]:
        """For each leaf the index of its class in `level` of this number, (L,)."""
        names = self.level(number)
        return np.array([names.index(self._at(path, number)) for path in self.paths])

    def distances(self) -> NDArray[np.int64]:
        """Heights of the lowest class that two leaves share, (L, L): 0 to themselves.

        The height of a class is the longest way down to a leaf. Siblings lie 1 apart, leaves that
        share only the root ``depth`` at most.
        """
        below: dict[tuple[str, ...], int] = {}
        for path in self.paths:
            for n in range(len(path) + 1):
                below[path[:n]] = max(below.get(path[:n], 0), len(path) - n)
        apart = np.zeros((len(self.paths), len(self.paths)), np.int64)
        for i, a in enumerate(self.paths):
            for j, b in enumerate(self.paths):
                shared = 0
                while shared < min(len(a), len(b)) and a[shared] == b[shared]:
                    shared += 1
                apart[i, j] = 0 if i == j else below[a[:shared]]
        return apart

    @staticmethod
    def _at(path: tuple[str, ...], number: int) -> str:
        return path[min(number, len(path)) - 1]


def load_hierarchy(name: str = "hicervix") -> Hierarchy:
    """The tree of the table ``name`` of this package.

    Raises:
        ConfigError: there is no such tree.
    """
    if name not in HIERARCHIES:
        raise ConfigError(
            f"There is no tree of classes {name!r}. Allowed: {', '.join(HIERARCHIES)}. Choose one."
        )
    table = load_table(name)
    found: list[tuple[tuple[str, ...], str]] = []
    _walk(table["tree"], (), found)
    return Hierarchy(
        str(table["name"]), tuple(path for path, _ in found), tuple(home for _, home in found)
    )


def _walk(
    node: Mapping[str, Any], path: tuple[str, ...], found: list[tuple[tuple[str, ...], str]]
) -> None:
    for name, child in node.items():
        if "meaning" in child:
            found.append(((*path, name), str(child["bethesda"])))
        else:
            _walk(child, (*path, name), found)
