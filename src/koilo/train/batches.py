"""Batches made when they are asked for, by their number: what lets a run resume in mid-epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np

from koilo.runtime import mix_seed


class IndexedBatches(Sequence[Any]):
    """``n`` batches, the i-th being ``make(i)``; nothing is made before it is asked for.

    >>> list(IndexedBatches(3, lambda i: i * i))
    [0, 1, 4]
    """

    def __init__(self, n: int, make: Callable[[int], Any]) -> None:
        """``make`` must depend on its argument alone (and on what it closes over)."""
        self.n, self.make = n, make

    def __len__(self) -> int:
        """Number of batches in the epoch."""
        return self.n

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """Make batch ``index``; a slice gives another lazy sequence."""
        numbers = range(self.n)[index]
        if isinstance(numbers, range):
            return IndexedBatches(len(numbers), lambda i: self.make(numbers[i]))
        return self.make(numbers)


def batch_rng(seed: int, epoch: int, index: int = 0) -> np.random.Generator:
    """The generator for one batch's (or one epoch's) random choices: same inputs, same choices."""
    return np.random.default_rng(mix_seed(seed, epoch, index))
