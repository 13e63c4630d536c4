"""What a kind of cell is: its attributes as distributions, from which each cell is drawn."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Spread:
    """A log-normal attribute: its median, the deviation of its logarithm, and its range."""

    median: float
    sigma: float
    low: float = 0.0
    high: float = np.inf

    def draw(self, rng: np.random.Generator) -> float:
        """One value."""
        return float(np.clip(self.median * np.exp(rng.normal(0, self.sigma)), self.low, self.high))


@dataclass(frozen=True)
class Kind:
    """What cells of one kind are like. Probabilities and weights need not sum to 1.

    ``nuclei`` are the weights of 1, 2, 3 … nuclei; ``tints`` those of the cytoplasm's colours;
    ``outlines`` those of its shapes; ``dome`` 0 is a flat flake, 1 a ball; ``grain`` multiplies the
    size of chromatin clumps; ``group`` names the arrangement in which the kind may lie;
    ``mimic_of`` the lesions that a mimic resembles.
    """

    name: str
    label: str
    cell_um: Spread
    nucleus_um2: Spread
    outlines: dict[str, float]
    tints: dict[str, float]
    cell_aspect: Spread = Spread(1.2, 0.13, 1.0, 2.2)
    nucleus_aspect: Spread = Spread(1.18, 0.1, 1.0, 2.2)
    irregularity: Spread = Spread(0.016, 0.4, 0.004, 0.2)
    darkness: Spread = Spread(0.75, 0.18, 0.25, 2.0)
    coarseness: Spread = Spread(0.16, 0.4, 0.02, 1.0)
    grain: float = 1.0
    cytoplasm: Spread = Spread(0.24, 0.3, 0.05, 0.9)
    nuclei: tuple[float, ...] = (1.0,)
    halo: float = 0.0
    halo_ratio: Spread = Spread(2.1, 0.18, 1.25, 3.4)
    nucleoli: float = 0.0
    groove: float = 0.0
    smudge: float = 0.0
    vesicular: float = 0.2
    granules: float = 0.0
    vacuoles: float = 0.0
    folds: float = 0.0
    pale_centre: float = 0.0
    dome: float = 0.2
    offset: float = 0.1
    squamous: bool = True
    group: str = "single"
    mimic_of: tuple[str, ...] = ()
    mimic_group: str = ""
    weight: float = 1.0
    extra: dict[str, float] = field(default_factory=dict)
