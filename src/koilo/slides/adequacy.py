"""Estimate how many squamous cells a specimen holds, with an interval, against its limit.

An estimate only: a reader, not a program, calls a specimen unsatisfactory, and a slide with
suspicious cells is never held back for scant ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy import stats

from koilo.taxonomy import load_table
from koilo.types import Adequacy

SAMPLE_TILES = 100
LEVEL = 0.95


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = load_table("adequacy")
    return table


@dataclass(frozen=True, slots=True)
class Total:
    """An estimated number of cells with its 95 % interval."""

    n: float
    low: float
    high: float


def limits_by_preparation(own: Mapping[str, int] | None = None) -> dict[str, int]:
    """The least number of squamous cells by preparation.

    Args:
        own: a laboratory's own limits, which replace or add to the table's.

    Raises:
        ValueError: a limit is below 1.
    """
    limits = {**_table()["limits"], **(own or {})}
    wrong = {name: limit for name, limit in limits.items() if limit < 1}
    if wrong:
        raise ValueError(f"adequacy limits are 1 cell or more, not {wrong}; leave a limit out")
    return {name: int(limit) for name, limit in limits.items()}


def sample_tiles(n_tiles: int, *, most: int = SAMPLE_TILES, seed: int = 0) -> list[int]:
    """Which of a slide's tiles to count: all where they are few, else a simple random sample.

    Returns:
        Distinct indices in ascending order, the same for the same arguments.
    """
    if n_tiles <= most:
        return list(range(n_tiles))
    chosen = np.random.default_rng(seed).choice(n_tiles, size=most, replace=False)
    return sorted(int(index) for index in chosen)


def estimate_total(
    counts: Sequence[float],
    n_tiles: int,
    *,
    tile_share: float = 1.0,
    counting_error: float | None = None,
) -> Total:
    """Cells in all tiles from the counts of a simple random sample of them.

    The sampling error is that of a mean without replacement (Student's t); the counting error is
    systematic and proportional. They are joined on the log scale, for counts of clustered cells are
    skewed. Where nothing was counted the upper end is the rule of three.

    Args:
        counts: cells in each sampled tile; 0 for a tile out of focus: not well visualised.
        n_tiles: number of tiles from which the sample was drawn.
        tile_share: share of a tile that is its own where tiles overlap: (step / size)².
        counting_error: standard deviation of the log of counted over true; by default the
            calibrated one of the table.
    """
    sample = np.asarray(counts, np.float64)
    n = len(sample)
    if not 1 <= n <= n_tiles:
        raise ValueError(f"counts must be of 1 to n_tiles = {n_tiles} tiles, not {n}")
    error = float(_table()["counting_error"]) if counting_error is None else counting_error
    scale = n_tiles * tile_share
    mean = float(sample.mean())
    if mean == 0:
        return Total(0.0, 0.0, 3.0 * scale / n * float(np.exp(2 * error)) if n < n_tiles else 0.0)
    spread = float(sample.std(ddof=1)) if n > 1 else mean
    sampling = spread / mean * np.sqrt((1 - n / n_tiles) / n)
    reach = np.hypot(
        stats.t.ppf((1 + LEVEL) / 2, max(n - 1, 1)) * np.sqrt(np.log1p(sampling**2)),
        stats.norm.ppf((1 + LEVEL) / 2) * error,
    )
    total = mean * scale
    return Total(total, float(total * np.exp(-reach)), float(total * np.exp(reach)))


def estimate_adequacy(
    total: Total | None,
    *,
    preparation: str | None,
    kind: str = "slide",
    suspicious: bool = False,
    limits: Mapping[str, int] | None = None,
    reason: str = "cells not counted",
) -> Adequacy:
    """Compare an estimate with the limit of the preparation.

    Args:
        total: from `estimate_total`; None where nothing could be counted, for ``reason``.
        preparation: as in the manifest; None or empty where not given.
        kind: the slide's ``kind``; a ``field`` is never assessed.
        suspicious: whether suspicious cells were found.
        limits: a laboratory's own limits by preparation.
        reason: why nothing was counted.

    Returns:
        ``adequate``, ``scant``, ``scant, abnormal cells suspected`` or ``not assessable: …``. The
        estimate is given wherever there is one, with or without a limit.
    """
    if kind == "field":
        return Adequacy("not assessable: field")
    if total is None:
        return Adequacy(f"not assessable: {reason}", preparation=preparation or None)
    limit = limits_by_preparation(limits).get(preparation or "")
    if limit is None:
        why = f"no limit for preparation {preparation}" if preparation else "preparation not given"
        verdict = f"not assessable: {why}"
    elif total.n >= limit:
        verdict = "adequate"
    else:
        verdict = "scant, abnormal cells suspected" if suspicious else "scant"
    return Adequacy(verdict, total.n, total.low, total.high, limit, preparation or None)
