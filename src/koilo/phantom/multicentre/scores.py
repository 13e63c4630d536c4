"""What the detector would score each cell: a linear model, fitted to the real detector.

``runs/cohort_detector.py`` fits it on fully drawn slides and writes ``detector.json`` beside this
file. A score's logit is the kind's own level, plus weights times the cell's attributes, plus the
centre's shift, plus noise; a cell is missed altogether with its kind's probability.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from koilo.phantom.multicentre.kinds import NAMES

FEATURES = ("log_nucleus", "log_nc", "log_density", "chromatin", "contour", "halo", "defocus")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DetectorModel:
    """Fitted numbers; arrays by kind are in the order of `koilo.phantom.multicentre.kinds.NAMES`.

    ``level`` and ``missed`` (K,), ``weights`` (F,) over `FEATURES`, ``middle`` (F,) the attributes'
    means; ``noise`` and ``centre_spread`` are standard deviations of the logit.
    """

    level: Floats
    missed: Floats
    weights: Floats
    middle: Floats
    noise: float
    centre_spread: float

    def expected(self, kind: NDArray[np.int64], features: Floats) -> Floats:
        """Logits (N,) without noise and centre, for kinds (N,) and features (N, F)."""
        return self.level[kind] + (features - self.middle) @ self.weights

    def draw(
        self,
        rng: np.random.Generator,
        kind: NDArray[np.int64],
        features: Floats,
        centre_shift: float = 0.0,
    ) -> Floats:
        """Scores (N,) in 0-1 as the detector would give them; NaN for a cell that it misses."""
        logit = self.expected(kind, features) + centre_shift
        logit = logit + rng.normal(0, self.noise, len(kind))
        score = 1 / (1 + np.exp(-logit))
        return np.where(rng.random(len(kind)) < self.missed[kind], np.nan, score)


def features_of(
    measured: Mapping[str, Floats], scale: Floats, gain: Floats, defocus_um: Floats
) -> Floats:
    """Features (N, F) of placed cells: measures of their drawing, as large and dark as placed."""
    return np.stack(
        [
            np.log(measured["nucleus_um2"]) + 2 * np.log(scale),
            np.log(measured["nc_area"]),
            np.log(measured["nuclear_density"]) + np.log(gain),
            measured["chromatin"],
            measured["contour"],
            (measured["halo_um2"] > 0).astype(float),
            defocus_um,
        ],
        axis=1,
    )


@cache
def fitted_model() -> DetectorModel:
    """The model whose numbers come with the package."""
    return model_from(json.loads(files(__package__).joinpath("detector.json").read_text("utf-8")))


def model_from(page: Mapping[str, Mapping[str, float]]) -> DetectorModel:
    """The model of a page with ``level``, ``missed``, ``weights``, ``middle`` and ``spread``."""
    return DetectorModel(
        level=np.array([page["level"][name] for name in NAMES]),
        missed=np.array([page["missed"][name] for name in NAMES]),
        weights=np.array([page["weights"][name] for name in FEATURES]),
        middle=np.array([page["middle"][name] for name in FEATURES]),
        noise=float(page["spread"]["noise"]),
        centre_spread=float(page["spread"]["centre"]),
    )
