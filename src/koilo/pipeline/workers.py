"""Threads that compute side by side, each on one core, with results in the order of the work.

Two threads that each run a network on their own tiles are faster than one network on two threads:
no core waits for the other at the end of each layer, least of all where other work runs. Results
do not depend on the number of workers, for each batch is computed by one thread alone.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import cv2
import torch

from koilo.runtime import set_threads

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 2
"""Batches a worker may have waiting, so that memory stays bounded."""


class Workers:
    """A pool of computing threads; on CUDA a single one, for the device is shared."""

    def __init__(self, pool: ThreadPoolExecutor, count: int) -> None:
        self._pool, self.count = pool, count

    def map_in_order(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Results of ``work`` for each item, in the items' order; few items are held at once."""
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(self._pool.submit(work, item))
                if len(waiting) >= self.count * _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def open_workers(device: torch.device) -> Iterator[Workers]:
    """Computing threads for ``device``, each of one thread only, while the block runs."""
    count = 1 if device.type == "cuda" else usable_cores()
    before, before_cv2 = torch.get_num_threads(), cv2.getNumThreads()
    set_threads(1)
    cv2.setNumThreads(1)
    try:
        with ThreadPoolExecutor(count, thread_name_prefix="koilo-worker") as pool:
            yield Workers(pool, count)
    finally:
        set_threads(before)
        cv2.setNumThreads(before_cv2)


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of ``size`` items, the last one shorter.

    >>> list(batched("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
