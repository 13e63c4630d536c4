"""Which cells a quiz asks: as many of each class as of the others, drawn and ordered by seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def balanced_choice(labels: Sequence[str], n: int, seed: int) -> list[int]:
    """Draw ``n`` of the entries so that classes differ by one at most, as far as they reach.

    A class that has too few gives all it has, and the others share what is left.

    Args:
        labels: (N,) class of each entry.
        n: how many; all where there are fewer.
        seed: of the draw and of the order.

    Returns:
        indices in the order of asking.

    >>> sorted(balanced_choice(["a"] * 9 + ["b"], 4, 0))[-1]
    9
    """
    random = np.random.default_rng(seed)
    pools = {
        label: list(random.permutation([i for i, each in enumerate(labels) if each == label]))
        for label in sorted(set(labels))
    }
    chosen: list[int] = []
    while len(chosen) < min(n, len(labels)):
        # A new order every round, or the last, cut round would always serve the same classes.
        for label in random.permutation(sorted(pools)):
            if pools[label] and len(chosen) < n:
                chosen.append(int(pools[label].pop()))
    return [chosen[i] for i in random.permutation(len(chosen))]
