"""How often each mimic must occur for the mimics to make up their share of the top cells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from koilo.phantom.multicentre.bank import CellBank
from koilo.phantom.multicentre.cells import draw_cells_of_slide
from koilo.phantom.multicentre.centres import CohortCentre
from koilo.phantom.multicentre.config import CohortConfig
from koilo.phantom.multicentre.kinds import COHORT_KINDS, MIMICS, NAMES
from koilo.phantom.multicentre.scores import DetectorModel

_ROUNDS = 7
_MOST = 30.0
"""Cells of one mimic a slide: kinds that the detector ranks low stay rare among the best."""
_TYPICAL_CELLS = (4_500, 8_000, 14_000)
_SLACK = 2e-3
"""Share under which a kind's count is too small to correct its rate by."""


def with_mimic_rates(
    config: CohortConfig, number: int, centre: CohortCentre, bank: CellBank, model: DetectorModel
) -> CohortCentre:
    """The centre with rates at which its mimics reach ``mimic_share`` of the top cells.

    Found by drawing negative slides again and again and moving each mimic's rate towards what is
    wanted of it.
    """
    weights = np.array([k.weight if k.name in MIMICS else 0.0 for k in COHORT_KINDS.values()])
    wanted = weights / weights.sum() * centre.mimic_share
    mimics = config.top_k * wanted
    for turn in range(_ROUNDS):
        rng = np.random.default_rng(np.random.SeedSequence([config.seed, 0xA7, number, turn]))
        found = _shares(rng, config, replace(centre, mimics=mimics), bank, model)
        step = ((wanted + _SLACK) / (found + _SLACK)).clip(0.4, 2.5)
        mimics = (mimics * step ** (1.0 if turn < _ROUNDS - 3 else 0.5)).clip(0, _MOST)
    return replace(centre, mimics=mimics)


def _shares(
    rng: np.random.Generator,
    config: CohortConfig,
    centre: CohortCentre,
    bank: CellBank,
    model: DetectorModel,
) -> NDArray[np.float64]:
    """Share of each kind among the top cells of negative slides (K,)."""
    counts = np.zeros(len(NAMES))
    for turn in range(config.calibration_slides):
        cells = draw_cells_of_slide(
            rng, bank, centre, model,
            n_cells=_TYPICAL_CELLS[turn % len(_TYPICAL_CELLS)], lesion_class="", n_lesions=0,
        )  # fmt: skip
        counts += np.bincount(bank.kind[cells.row[cells.best(config.top_k)]], minlength=len(NAMES))
    return counts / counts.sum()
