"""Whether two samples differ: population stability index, tests, effect sizes, a line in words."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koilo.evaluate.scores import auc

Size = Literal["negligible", "small", "medium", "large"]

ALPHA = 0.01
"""A difference is called one where p, corrected for the number of measures, is below this."""

_BINS = 10
_RARE = 5
"""Below this expected count chi-squared's p is too small."""
_COUNTED = 1000
"""Up to this many slides a side the p of numbers is counted exactly."""
_MIXES = 9999
"""Mixes of classes drawn by chance."""
_DEALS, _DEALS_AT_ONCE = 500, 100
"""Deals of the numbers of both samples into two new ones; with ten bins 500 give the mean PSI to
2 %."""
_DELTA_STEPS = ((0.147, "negligible"), (0.33, "small"), (0.474, "medium"))
"""Bounds of |Cliff's delta| by Romano et al. 2006."""
_D_STEPS = ((0.1, "negligible"), (0.24, "small"), (0.35, "medium"))
"""The same for Kolmogorov-Smirnov's D: what normal values have at those deltas. It sees a change of
spread, for which delta is blind."""
_SIZES: tuple[Size, ...] = ("negligible", "small", "medium", "large")
_V_STEPS = ((0.1, "negligible"), (0.3, "small"), (0.5, "medium"))
"""Bounds of Cramér's V for one degree of freedom by Cohen 1988."""


@dataclass(frozen=True)
class Drift:
    """One measure in two samples, A the reference."""

    measure: str
    n_a: int
    n_b: int
    a: str
    """A in words: its median, or the share of each class"""
    b: str
    psi: float
    """population stability index; under 0.1 is usually called stable, over 0.25 a shift"""
    psi_by_chance: float
    """mean PSI of these slides dealt into A and B by chance: it grows as samples shrink"""
    statistic: float
    """Kolmogorov-Smirnov's D, or chi-squared"""
    p: float
    """exact for numbers; chi-squared's for classes, of mixes drawn by chance where one is rare"""
    effect: float
    """Cliff's delta (-1 to 1, above 0: B is higher), or Cramér's V (0 to 1)"""
    size: Size
    direction: str
    p_corrected: float = float("nan")
    """by Holm over all measures of a report"""

    @property
    def differs(self) -> bool:
        """True where the difference is more than chance, and not negligible."""
        return bool(self.p_corrected < ALPHA) and self.size != "negligible"

    @property
    def line(self) -> str:
        """What was found, in words."""
        if not np.isfinite(self.p):
            return f"{self.measure}: cannot be compared ({self.n_a} and {self.n_b} values)."
        figures = f"effect {self.effect:.2f}, PSI {self.psi:.2f}, p {self.p_corrected:.2g}"
        if self.differs:
            return (
                f"{self.measure}: a {self.size} difference, {self.direction} in B "
                f"({self.a} against {self.b}; {figures})."
            )
        return f"{self.measure}: no difference beyond chance ({self.a} and {self.b}; {figures})."


def compare_numbers(measure: str, a: ArrayLike, b: ArrayLike) -> Drift:
    """Compare a number of slides: Kolmogorov-Smirnov, Cliff's delta, PSI over bins of A.

    Args:
        measure: its name.
        a: (N,) values of the reference; those that are not finite are left out.
        b: (M,) values of the other sample.
    """
    first, second = _finite(a), _finite(b)
    in_a, in_b = _median(first), _median(second)
    if min(first.size, second.size) < 2:
        return _unknown(measure, first.size, second.size, in_a, in_b)
    statistic, p = _kolmogorov_smirnov(first, second)
    truth = np.repeat([False, True], [first.size, second.size])
    delta = 2 * auc(truth, np.concatenate([first, second])) - 1
    moved, apart = _size(delta, _DELTA_STEPS), _size(statistic, _D_STEPS)
    direction = "higher" if delta > 0 else "lower"
    if moved == "negligible":
        direction = "spread otherwise"
    return Drift(
        measure, first.size, second.size, in_a, in_b, float(_psi(first, second)),
        _psi_by_chance(first, second), statistic, p, delta, max(moved, apart, key=_SIZES.index),
        direction,
    )  # fmt: skip


def compare_classes(measure: str, a: Sequence[str], b: Sequence[str]) -> Drift:
    """Compare the mix of classes: chi-squared, Cramér's V, PSI over the classes.

    Args:
        measure: its name.
        a: (N,) names of the reference.
        b: (M,) names of the other sample.
    """
    first, second = Counter(a), Counter(b)
    names = sorted({*first, *second})
    table = np.array([[counts[name] for name in names] for counts in (first, second)], dtype=float)
    in_a, in_b = _mix(first), _mix(second)
    if min(len(a), len(b)) < 2:
        return _unknown(measure, len(a), len(b), in_a, in_b)
    statistic, p = _chi_squared(table)
    v = float(np.sqrt(statistic / table.sum()))
    psi = float(population_stability(table[0], table[1]))
    mixes = _mixes(table)  # (M, C)
    by_chance = float(population_stability(mixes, table.sum(axis=0) - mixes).mean())
    shares = table / table.sum(axis=1, keepdims=True)
    most = names[int(np.argmax(np.abs(shares[1] - shares[0])))]
    more = "more" if shares[1][names.index(most)] > shares[0][names.index(most)] else "fewer"
    return Drift(
        measure, len(a), len(b), in_a, in_b, psi, by_chance, statistic, p, v, _size(v, _V_STEPS),
        f"{more} {most}",
    )  # fmt: skip


def population_stability(counts_a: ArrayLike, counts_b: ArrayLike) -> NDArray[np.float64]:
    """PSI of two histograms (…, B), or of many pairs of them: (…).

    PSI is the sum of (b - a) ln(b / a) over the shares; half a slide is added to every bin, so
    that an empty one does not make it infinite. Bins empty in both say nothing and are left out.

    >>> float(population_stability([50, 50], [50, 50]))
    0.0
    """
    a, b = np.asarray(counts_a, dtype=float), np.asarray(counts_b, dtype=float)
    used = (a + b) > 0  # (…, B)
    share_a, share_b = (
        (side + 0.5) / ((side + 0.5) * used).sum(axis=-1, keepdims=True) for side in (a, b)
    )
    return np.asarray((used * (share_b - share_a) * np.log(share_b / share_a)).sum(axis=-1))


def correct_for_number(found: Sequence[Drift]) -> tuple[Drift, ...]:
    """The same with p corrected by Holm for the number of measures that could be compared."""
    p = np.array([drift.p for drift in found])
    order = [i for i in np.argsort(p) if np.isfinite(p[i])]
    corrected, highest = np.full(len(p), np.nan), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p[i]))
        corrected[i] = highest
    return tuple(replace(d, p_corrected=float(c)) for d, c in zip(found, corrected, strict=True))


def _kolmogorov_smirnov(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float]:
    """D and its exact p: the asymptotic one is 0 where two slides lie above two others."""
    from scipy.stats import ks_2samp

    with warnings.catch_warnings():  # where it cannot count the paths: ties with p near 1, or many
        warnings.filterwarnings("ignore", "ks_2samp: Exact calculation unsuccessful")
        found = ks_2samp(a, b, method="exact" if max(a.size, b.size) <= _COUNTED else "asymp")
    return float(found.statistic), float(found.pvalue)


def _chi_squared(table: NDArray[np.float64]) -> tuple[float, float]:
    """Chi-squared of two rows of counts (2, C) and its p."""
    from scipy.stats import chi2

    totals, n = table.sum(axis=0), table.sum()
    expected = np.outer(table.sum(axis=1), totals) / n  # (2, C)

    def distance(counts_a: NDArray[Any]) -> NDArray[np.float64]:
        """Of counts (…, C) of A; B has the rest."""
        return np.asarray(
            (np.square(counts_a - expected[0]) * (1 / expected[0] + 1 / expected[1])).sum(axis=-1)
        )

    statistic = float(distance(table[0]))
    if table.shape[1] < 2:
        return statistic, 1.0
    if expected.min() >= _RARE:
        return statistic, float(chi2.sf(statistic, table.shape[1] - 1))
    as_far = int((distance(_mixes(table)) >= statistic - 1e-9).sum())
    return statistic, (1 + as_far) / (1 + _MIXES)


def _mixes(table: NDArray[np.float64]) -> NDArray[np.int64]:
    """What A (M, C) would hold if all slides of a table (2, C) were dealt by chance."""
    counts = table.sum(axis=0).astype(int)
    random = np.random.default_rng(0)
    return random.multivariate_hypergeometric(counts, int(table[0].sum()), size=_MIXES)


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=float)
    return numbers[np.isfinite(numbers)]


def _psi(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """PSI of numbers (…, N) and (…, M) over bins of equally many of A, at least five each."""
    bins = int(np.clip(a.shape[-1] // 5, 2, _BINS))
    inner = np.quantile(a, np.linspace(0, 1, bins + 1)[1:-1], axis=-1)  # (B - 1, …)
    counts = []
    for side in (a, b):
        below = [(side < edge[..., None]).sum(axis=-1) for edge in inner]
        ends = np.zeros_like(below[0]), np.full_like(below[0], side.shape[-1])
        counts.append(np.diff(np.stack([ends[0], *below, ends[1]], axis=-1)))  # (…, B)
    return population_stability(*counts)


def _psi_by_chance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Mean PSI of all these numbers dealt into two samples of the same sizes, binned anew.

    The usual (B - 1)(1/N + 1/M) is too high by a tenth and more for tens of slides: it knows
    neither that half a slide a bin draws shares together, nor that bins of A fit A.
    """
    both, random = np.concatenate([a, b]), np.random.default_rng(0)
    many = np.tile(both, (_DEALS_AT_ONCE, 1))
    found = []
    for _ in range(_DEALS // _DEALS_AT_ONCE):
        dealt = random.permuted(many, axis=1)  # (D, N + M)
        found.append(_psi(dealt[:, : a.size], dealt[:, a.size :]).mean())
    return float(np.mean(found))


def _size(effect: float, steps: tuple[tuple[float, str], ...]) -> Size:
    name = next((name for bound, name in steps if abs(effect) < bound), "large")
    return name  # type: ignore[return-value]


def _median(values: NDArray[np.float64]) -> str:
    if not values.size:
        return "none"
    middle = float(np.median(values))
    return f"median {middle:,.0f}" if abs(middle) >= 1000 else f"median {middle:.3g}"


def _mix(counts: Counter[str]) -> str:
    total = sum(counts.values())
    return ", ".join(f"{name} {n / total:.0%}" for name, n in counts.most_common(4)) or "none"


def _unknown(measure: str, n_a: int, n_b: int, a: str, b: str) -> Drift:
    nan = float("nan")
    return Drift(measure, n_a, n_b, a, b, nan, nan, nan, nan, nan, "negligible", "")
