"""All cells of a slide as attributes: dealt from the bank, scored, and ranked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from koilo.phantom.multicentre.bank import CellBank
from koilo.phantom.multicentre.centres import CohortCentre
from koilo.phantom.multicentre.kinds import COHORT_KINDS, LESIONS, MIMICS, NAMES, NORMAL
from koilo.phantom.multicentre.scores import DetectorModel, features_of

_SIZE_SIGMA, _GAIN_SIGMA = 0.04, 0.06
_MIMIC_SIGMA = 0.3
"""How far a slide's rate of each mimic strays from its centre's (deviation of the logarithm)."""
_ALWAYS_BLURRED = np.array([not kind.focus for kind in COHORT_KINDS.values()])
_IS_MIMIC = np.array([name in MIMICS for name in NAMES])


@dataclass(frozen=True)
class SlideCells:
    """The cells of one slide, one entry a cell (n,).

    ``row`` is the cell's sprite in the bank; ``scale`` and ``gain`` how large and dark it is
    placed; ``defocus_um`` its blur; ``score`` what the detector gives it, NaN where it misses it.
    """

    row: NDArray[np.int64]
    scale: NDArray[np.float64]
    gain: NDArray[np.float64]
    defocus_um: NDArray[np.float64]
    score: NDArray[np.float64]

    def best(self, top_k: int) -> NDArray[np.int64]:
        """Entries of the ``top_k`` best found cells, best first."""
        order = np.argsort(-self.score, kind="stable")[:top_k]  # NaN comes last
        return order[~np.isnan(self.score[order])]

    def some(self, entries: NDArray[np.int64]) -> SlideCells:
        """Only these cells, in this order."""
        return SlideCells(
            self.row[entries],
            self.scale[entries],
            self.gain[entries],
            self.defocus_um[entries],
            self.score[entries],
        )


def draw_cells_of_slide(
    rng: np.random.Generator,
    bank: CellBank,
    centre: CohortCentre,
    model: DetectorModel,
    *,
    n_cells: int,
    lesion_class: str,
    n_lesions: int,
) -> SlideCells:
    """Deal a slide its cells in its centre's proportions, lesions first, and score them."""
    counts = _kind_counts(rng, centre, n_cells - n_lesions)
    for name, n in _lesion_counts(rng, lesion_class, n_lesions).items():
        counts[NAMES.index(name)] += n
    rows_of = bank.rows_of
    lesions_first = sorted(range(len(NAMES)), key=lambda k: NAMES[k] not in LESIONS)
    row = np.concatenate([rng.choice(rows_of[k], counts[k]) for k in lesions_first])
    n = len(row)
    scale = np.exp(rng.normal(0, _SIZE_SIGMA, n)).clip(0.9, 1.12)
    gain = np.exp(rng.normal(0, _GAIN_SIGMA, n))
    blurred = rng.random(n) < centre.centre.out_of_focus
    defocus = np.where(blurred, rng.uniform(0.4, 1.3, n), 0.0)
    kind = bank.kind[row]
    always = _ALWAYS_BLURRED[kind]
    defocus[always] = rng.uniform(1.4, 2.2, int(always.sum()))
    measured = {name: values[row] for name, values in bank.measured.items()}
    features = features_of(measured, scale, gain, defocus)
    score = model.draw(rng, kind, features, centre.score_shift)
    return SlideCells(row, scale, gain, defocus, score)


def class_kinds(lesion_class: str) -> dict[str, float]:
    """Kinds of a plain class with their weights."""
    mine = [name for name in LESIONS if COHORT_KINDS[name].kind.label == lesion_class]
    return {name: COHORT_KINDS[name].weight for name in mine}


def normal_rates() -> NDArray[np.float64]:
    """Weights (K,) of the normal kinds, summing to 1; 0 for all others."""
    weights = np.array([k.weight if k.name in NORMAL else 0.0 for k in COHORT_KINDS.values()])
    return np.asarray(weights / weights.sum(), np.float64)


def _kind_counts(rng: np.random.Generator, centre: CohortCentre, n_cells: int) -> NDArray[np.int64]:
    stray = np.where(_IS_MIMIC, np.exp(rng.normal(0, _MIMIC_SIGMA, len(NAMES))), 1.0)
    rates = centre.rates * stray
    return rng.multinomial(n_cells, rates / rates.sum())


def _lesion_counts(rng: np.random.Generator, lesion_class: str, n: int) -> dict[str, int]:
    if not n:
        return {}
    weights = class_kinds(lesion_class)
    shares = np.array(list(weights.values())) / sum(weights.values())
    return dict(zip(weights, rng.multinomial(n, shares).tolist(), strict=True))
