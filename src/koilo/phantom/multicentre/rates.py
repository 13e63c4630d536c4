"""How often each mimic must occur for the mimics to make up their share of the top cells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from koilo.phantom.multicentre.bank import CellBank
from koilo.phantom.multicentre.cells import draw_cells_of_slide, normal_rates
from koilo.phantom.multicentre.centres import CohortCentre
from koilo.phantom.multicentre.kinds import COHORT_KINDS, MIMICS, NAMES
from koilo.phantom.multicentre.scores import DetectorModel

_ROUNDS, _SLIDES = 9, 16
_TYPICAL_CELLS = (4_500, 8_000, 14_000)
_FIRST_RATE = 0.004


def with_mimic_rates(
    seed: int, number: int, centre: CohortCentre, bank: CellBank, model: DetectorModel, top_k: int
) -> CohortCentre:
    """The centre with rates at which its mimics reach ``mimic_share`` of the ``top_k`` cells.

    Found by drawing negative slides again and again and moving each mimic's rate towards what is
    wanted of it.
    """
    wanted = np.array([k.weight if k.name in MIMICS else 0.0 for k in COHORT_KINDS.values()])
    wanted = wanted / wanted.sum() * centre.mimic_share
    mimic = wanted > 0
    rates = normal_rates() + _FIRST_RATE * wanted / centre.mimic_share
    for turn in range(_ROUNDS):
        rng = np.random.default_rng(np.random.SeedSequence([seed, 0xA7, number, turn]))
        found = _shares(rng, replace(centre, rates=rates), bank, model, top_k)
        step = ((wanted + 2e-4) / (found + 2e-4))[mimic].clip(0.3, 4.0)
        rates[mimic] *= step ** (1.0 if turn < _ROUNDS - 3 else 0.5)
    return replace(centre, rates=rates / rates.sum())


def _shares(
    rng: np.random.Generator,
    centre: CohortCentre,
    bank: CellBank,
    model: DetectorModel,
    top_k: int,
) -> NDArray[np.float64]:
    """Share of each kind among the top cells of negative slides (K,)."""
    counts = np.zeros(len(NAMES))
    for turn in range(_SLIDES):
        cells = draw_cells_of_slide(
            rng, bank, centre, model,
            n_cells=_TYPICAL_CELLS[turn % len(_TYPICAL_CELLS)], lesion_class="", n_lesions=0,
        )  # fmt: skip
        counts += np.bincount(bank.kind[cells.row[cells.best(top_k)]], minlength=len(NAMES))
    return counts / counts.sum()
