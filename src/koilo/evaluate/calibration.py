"""Do probabilities mean what they say: reliability, ECE, Brier score, temperature, prior shift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Scheme = Literal["mass", "width"]

TEMPERATURES = (0.05, 20.0)
"""Beyond these a fit has run towards its bound: any p would be called certain, or even."""

_SMALLEST = 1e-12


@dataclass(frozen=True)
class Reliability:
    """The diagram's points, bins without a slide left out; all (B,), lowest bin first."""

    p_mean: Floats
    """mean predicted probability of the bin"""
    observed: Floats
    """share of positives in it"""
    weight: Floats
    """slides in it, or the sum of their weights"""

    @property
    def ece(self) -> float:
        """Expected calibration error: mean gap of the bins, weighted; NaN where there is none."""
        total = self.weight.sum()
        gaps = self.weight * np.abs(self.p_mean - self.observed)
        return float(gaps.sum() / total) if total > 0 else float("nan")


def reliability(
    truth: ArrayLike,
    p: ArrayLike,
    *,
    bins: int = 10,
    scheme: Scheme = "mass",
    weights: ArrayLike | None = None,
) -> Reliability:
    """Sort slides into bins by probability and compare with what was observed.

    Args:
        truth: (N,) booleans, True = positive.
        p: (N,) probabilities of being positive.
        bins: how many.
        scheme: ``mass``: equally many slides a bin; equal p stay together. ``width``: equal steps.
        weights: (N,) of the slides; None: 1 each. Bins of equal mass count slides, not weights.

    Raises:
        ValueError: a probability outside 0-1, no bin, or an unknown scheme.
    """
    outcome, values = np.asarray(truth, dtype=float), np.asarray(p, dtype=float)
    _check_probabilities(values)
    if bins < 1:
        raise ValueError(f"bins is {bins}; one at least is needed.")
    weight = np.ones_like(values) if weights is None else np.asarray(weights, dtype=float)
    home = _homes(values, bins, scheme)  # (N,)
    mass = np.bincount(home, weight, bins).astype(np.float64)
    kept = mass > 0
    p_mean = np.bincount(home, weight * values, bins)[kept] / mass[kept]
    observed = np.bincount(home, weight * outcome, bins)[kept] / mass[kept]
    return Reliability(p_mean, observed, mass[kept])


def ece_by_chance(p: ArrayLike, *, bins: int = 10, draws: int = 200, seed: int = 0) -> float:
    """The ECE that right probabilities (N,) have on average, in bins of equal mass.

    Bins of few slides scatter, and every scatter counts as a gap: an ECE is read against this.
    """
    values = np.asarray(p, dtype=float)
    random = np.random.default_rng(seed)
    outcomes = random.random((draws, values.size)) < values
    return float(np.mean([reliability(each, values, bins=bins).ece for each in outcomes]))


def brier_score(truth: ArrayLike, p: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Mean squared distance of probability (N,) and outcome (N,)."""
    gaps = np.square(np.asarray(p, dtype=float) - np.asarray(truth, dtype=float))
    return float(np.average(gaps, weights=None if weights is None else np.asarray(weights)))


def temper(probabilities: ArrayLike, temperature: float) -> Floats:
    """Soften (above 1) or sharpen (below 1) rows of class probabilities (N, C).

    It is softmax(log p / temperature): where p came from a softmax, that of the scaled logits.

    Raises:
        ValueError: the temperature is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; it has to be above 0.")
    return _softmax(_logs(probabilities) / temperature)


def fit_temperature(
    probabilities: ArrayLike, classes: ArrayLike, weights: ArrayLike | None = None
) -> float:
    """The temperature under which the true classes are most likely.

    Args:
        probabilities: (N, C) of a model, rows summing to 1.
        classes: (N,) index of the true class of each row.
        weights: (N,) of the rows; None: 1 each.

    Returns:
        a number from 0.01 to 100; near a bound where p is always right, or tells nothing.

    Raises:
        ValueError: no row, or a class out of range.
    """
    from scipy.optimize import minimize_scalar

    logs, index = _logs(probabilities), np.asarray(classes, dtype=np.intp)
    if not len(index) or index.min() < 0 or index.max() >= logs.shape[1]:
        raise ValueError(
            f"classes have to be one to {logs.shape[1]} indices below {logs.shape[1]}."
        )
    weight = np.ones(len(index)) if weights is None else np.asarray(weights, dtype=float)
    rows = np.arange(len(index))

    def surprise(log_temperature: float) -> float:
        scaled = logs / np.exp(log_temperature)
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        likelihood = scaled[rows, index] - np.log(np.exp(scaled).sum(axis=1))
        return -float((weight * likelihood).sum() / weight.sum())

    # In 1/T the loss is convex, and so has one minimum in log T too.
    found = minimize_scalar(
        surprise, bounds=(np.log(0.01), np.log(100)), method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(found.x))


def why_no_temperature(temperature: float) -> str:
    """Why a fitted temperature is not to be stated, of the scores it was fitted on; empty: it is.

    >>> why_no_temperature(0.01)
    'the scores part both kinds without a mistake'
    """
    if temperature <= TEMPERATURES[0]:
        return "the scores part both kinds without a mistake"
    return "the scores tell nothing of the truth" if temperature >= TEMPERATURES[1] else ""


def shift_prior(probabilities: ArrayLike, trained_on: ArrayLike, wanted: ArrayLike) -> Floats:
    """Class probabilities (N, C) of a population with other class shares.

    Each class looks the same there, only its share differs (label shift): p is multiplied with the
    ratio of the shares and made to sum to 1 again.

    Args:
        probabilities: (N, C).
        trained_on: (C,) shares of the classes in the set for which the probabilities hold.
        wanted: (C,) shares in the population.

    Raises:
        ValueError: shares that are negative, do not sum to 1, or are 0 where ``wanted`` is not.
    """
    source, target = np.asarray(trained_on, dtype=float), np.asarray(wanted, dtype=float)
    for name, shares in (("trained_on", source), ("wanted", target)):
        if (shares < 0).any() or abs(shares.sum() - 1) > 1e-6:
            raise ValueError(f"{name} is {shares.tolist()}; shares are 0 or more and sum to 1.")
    if ((source == 0) & (target > 0)).any():
        raise ValueError("a class is wanted that the set does not hold; its ratio is unknown.")
    ratio = np.divide(target, source, out=np.zeros_like(target), where=source > 0)
    with np.errstate(divide="ignore"):
        return _softmax(_logs(probabilities) + np.log(np.maximum(ratio, _SMALLEST)))


def shift_prevalence(p: ArrayLike, trained_on: float, wanted: float) -> Floats:
    """Probabilities of being positive (N,) at another prevalence; both between 0 and 1.

    >>> shift_prevalence([0.5], 0.5, 0.05).round(3).tolist()
    [0.05]
    """
    positive = np.asarray(p, dtype=float)
    both = np.stack([1 - positive, positive], axis=1)  # (N, 2)
    return shift_prior(both, [1 - trained_on, trained_on], [1 - wanted, wanted])[:, 1]


def calibrated(
    p: float,
    temperature: float,
    set_prevalence: float | None = None,
    prevalence: float | None = None,
) -> float:
    """What p_positive means by the values that `koilo calibrate` stored with a threshold.

    Args:
        p: p_positive as the model gives it.
        temperature: of the stored operating point.
        set_prevalence: share of positives that the temperature was fitted at.
        prevalence: the laboratory's share of positives; None, or no ``set_prevalence``: no shift.

    >>> round(calibrated(0.9, 2.0), 3), round(calibrated(0.9, 2.0, 0.5, 0.05), 3)
    (0.75, 0.136)
    """
    cooled = temper([[1 - p, p]], temperature)[:, 1]
    if set_prevalence is not None and prevalence is not None:
        cooled = shift_prevalence(cooled, set_prevalence, prevalence)
    return float(cooled[0])


def _homes(p: Floats, bins: int, scheme: Scheme) -> NDArray[np.intp]:
    """The bin of each slide."""
    if scheme == "width":
        return np.minimum((p * bins).astype(np.intp), bins - 1)
    if scheme == "mass":
        from scipy.stats import rankdata

        place = rankdata(p, method="min") - 1  # equal p share the lowest place, and so the bin
        return np.minimum((place * bins / max(p.size, 1)).astype(np.intp), bins - 1)
    raise ValueError(f"scheme '{scheme}' is unknown; allowed: mass, width.")


def _logs(probabilities: ArrayLike) -> Floats:
    values = np.asarray(probabilities, dtype=float)
    _check_probabilities(values)
    if values.ndim != 2:
        raise ValueError(f"probabilities are {values.shape}; (N, C) is needed.")
    return np.log(np.maximum(values, _SMALLEST))


def _softmax(logits: Floats) -> Floats:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _check_probabilities(values: Floats) -> None:
    if not np.all((values >= 0) & (values <= 1)):
        raise ValueError("a probability lies outside 0 to 1, or is not a number.")
