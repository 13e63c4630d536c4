"""Kinds of cells: normal ones, mimics and lesions, each as distributions of what is drawn.

Sizes and rates follow spec/cytology.md; where it is silent the number is a choice. A mimic shares
one or two attributes with a lesion and lacks the others; every attribute's distributions overlap
between classes: nothing here is a threshold. Nuclear areas of lesions lie between the teaching
factors (ASC-US 2.5-3 x an intermediate nucleus of 35 µm², LSIL over 3 x) and the medians measured
on CRIC.
"""

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
    ``outlines`` those of its shapes; ``dome`` 0 is a flat flake, 1 a ball; ``group`` names the
    arrangement in which the kind may lie; ``mimic_of`` the lesions that a mimic resembles.
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


_BLUE = {"cyan": 0.72, "pink": 0.2, "mixed": 0.08}
_PINK = {"pink": 0.62, "orange": 0.16, "cyan": 0.1, "mixed": 0.12}
_DENSE = {"cyan": 0.72, "mixed": 0.18, "pink": 0.1}
_LESION = {"cyan": 0.5, "pink": 0.26, "mixed": 0.14, "orange": 0.1}

_NORMAL = (
    Kind(
        "superficial",
        "NILM",
        Spread(44, 0.13, 30, 62),
        Spread(16, 0.3, 8, 34),
        {"polygon": 1},
        _PINK,
        darkness=Spread(1.2, 0.16, 0.6, 1.9),
        smudge=0.8,
        granules=0.5,
        folds=1.6,
        dome=0.05,
        weight=26,
        nuclei=(0.985, 0.015),
    ),
    Kind(
        "intermediate",
        "NILM",
        Spread(46, 0.15, 30, 66),
        Spread(38, 0.25, 22, 75),
        {"polygon": 0.85, "round": 0.15},
        _BLUE,
        groove=0.2,
        vesicular=0.6,
        folds=1.5,
        dome=0.1,
        weight=46,
        nuclei=(0.975, 0.025),
    ),
    Kind(
        "parabasal",
        "NILM",
        Spread(23, 0.2, 14, 36),
        Spread(50, 0.22, 28, 95),
        {"round": 0.9, "ragged": 0.1},
        _DENSE,
        darkness=Spread(0.85, 0.17, 0.4, 1.6),
        coarseness=Spread(0.2, 0.35, 0.04, 1),
        cytoplasm=Spread(0.4, 0.25, 0.12, 0.9),
        dome=0.6,
        weight=3.5,
    ),
    Kind(
        "metaplastic_mature",
        "NILM",
        Spread(34, 0.15, 22, 50),
        Spread(48, 0.22, 28, 90),
        {"round": 0.65, "ragged": 0.35},
        _DENSE,
        cytoplasm=Spread(0.4, 0.25, 0.12, 0.9),
        darkness=Spread(0.88, 0.17, 0.4, 1.6),
        pale_centre=0.35,
        dome=0.5,
        weight=3,
        nucleoli=0.12,
    ),
    Kind(
        "endocervical",
        "NILM",
        Spread(19, 0.13, 13, 28),
        Spread(52, 0.22, 28, 95),
        {"column": 1},
        {"cyan": 0.75, "mixed": 0.25},
        cell_aspect=Spread(2.1, 0.18, 1.3, 3.4),
        cytoplasm=Spread(0.26, 0.25, 0.08, 0.6),
        vacuoles=0.45,
        nucleoli=0.3,
        offset=0.5,
        dome=0.4,
        squamous=False,
        group="glandular",
        weight=1.6,
    ),
)

_MIMICS = (
    Kind(
        "navicular",
        "NILM",
        Spread(42, 0.15, 28, 60),
        Spread(44, 0.28, 22, 100),
        {"round": 0.5, "polygon": 0.5},
        _BLUE,
        pale_centre=1.0,
        offset=0.45,
        dome=0.15,
        mimic_of=("LSIL",),
        mimic_group="pale_centre",
        weight=2,
    ),
    Kind(
        "pseudo_koilocyte",
        "NILM",
        Spread(43, 0.15, 28, 62),
        Spread(60, 0.34, 24, 150),
        {"polygon": 0.8, "round": 0.2},
        {"cyan": 0.4, "pink": 0.5, "mixed": 0.1},
        irregularity=Spread(0.022, 0.45, 0.004, 0.2),
        halo=1.0,
        halo_ratio=Spread(1.55, 0.14, 1.2, 2.4),
        darkness=Spread(0.85, 0.2, 0.4, 1.6),
        coarseness=Spread(0.22, 0.4, 0.03, 1),
        folds=1,
        nuclei=(0.9, 0.1),
        mimic_of=("LSIL", "ASC-US"),
        mimic_group="pale_centre",
        weight=1.6,
    ),
    Kind(
        "enlarged_bland",
        "NILM",
        Spread(46, 0.15, 30, 66),
        Spread(88, 0.24, 52, 160),
        {"polygon": 0.8, "round": 0.2},
        _BLUE,
        darkness=Spread(0.66, 0.2, 0.3, 1.3),
        irregularity=Spread(0.022, 0.5, 0.005, 0.2),
        vesicular=0.6,
        groove=0.2,
        folds=1.2,
        nuclei=(0.93, 0.07),
        mimic_of=("ASC-US", "LSIL"),
        mimic_group="enlarged",
        weight=2.2,
    ),
    Kind(
        "reactive",
        "NILM",
        Spread(36, 0.2, 22, 55),
        Spread(92, 0.3, 45, 210),
        {"ragged": 0.6, "polygon": 0.4},
        _LESION,
        darkness=Spread(0.86, 0.22, 0.35, 1.6),
        coarseness=Spread(0.3, 0.45, 0.04, 1),
        irregularity=Spread(0.02, 0.5, 0.005, 0.2),
        nucleoli=0.75,
        cytoplasm=Spread(0.34, 0.3, 0.1, 0.9),
        vacuoles=0.15,
        nuclei=(0.9, 0.09, 0.01),
        mimic_of=("ASC-US", "LSIL", "SCC"),
        mimic_group="enlarged",
        group="sheet",
        weight=1.4,
    ),
    Kind(
        "metaplastic_immature",
        "NILM",
        Spread(19.5, 0.2, 12, 32),
        Spread(66, 0.3, 32, 150),
        {"round": 0.55, "ragged": 0.45},
        _DENSE,
        darkness=Spread(0.98, 0.19, 0.45, 1.8),
        coarseness=Spread(0.22, 0.42, 0.04, 1),
        irregularity=Spread(0.02, 0.5, 0.005, 0.2),
        cytoplasm=Spread(0.44, 0.25, 0.14, 0.9),
        dome=0.6,
        nucleoli=0.25,
        offset=0.2,
        mimic_of=("ASC-H", "HSIL"),
        mimic_group="high_nc",
        group="cobblestone",
        weight=2.2,
    ),
    Kind(
        "atrophic",
        "NILM",
        Spread(17.5, 0.2, 11, 30),
        Spread(66, 0.32, 28, 160),
        {"round": 0.8, "ragged": 0.2},
        {"cyan": 0.65, "pink": 0.2, "mixed": 0.15},
        darkness=Spread(1.05, 0.22, 0.45, 1.9),
        coarseness=Spread(0.26, 0.5, 0.03, 1),
        irregularity=Spread(0.028, 0.55, 0.005, 0.2),
        cytoplasm=Spread(0.36, 0.3, 0.1, 0.9),
        smudge=0.35,
        dome=0.5,
        mimic_of=("ASC-H", "HSIL", "SCC"),
        mimic_group="high_nc",
        group="sheet",
        weight=1.4,
    ),
    Kind(
        "degenerated",
        "NILM",
        Spread(27, 0.32, 12, 52),
        Spread(62, 0.45, 18, 190),
        {"ragged": 0.6, "polygon": 0.4},
        _LESION,
        darkness=Spread(1.45, 0.17, 0.8, 2.1),
        coarseness=Spread(0.2, 0.6, 0.02, 1),
        irregularity=Spread(0.05, 0.55, 0.008, 0.25),
        smudge=0.85,
        vacuoles=0.3,
        halo=0.15,
        mimic_of=("ASC-H", "HSIL", "SCC", "LSIL"),
        mimic_group="dark",
        weight=1.3,
    ),
    Kind(
        "parakeratosis",
        "NILM",
        Spread(21, 0.25, 11, 36),
        Spread(34, 0.5, 9, 120),
        {"polygon": 0.45, "spindle": 0.3, "round": 0.25},
        {"orange": 0.75, "pink": 0.25},
        darkness=Spread(1.4, 0.16, 0.8, 2.1),
        smudge=0.9,
        cytoplasm=Spread(0.5, 0.25, 0.15, 1.0),
        irregularity=Spread(0.034, 0.6, 0.005, 0.2),
        cell_aspect=Spread(1.8, 0.3, 1, 4),
        nucleus_aspect=Spread(1.4, 0.25, 1, 3.2),
        coarseness=Spread(0.25, 0.6, 0.02, 1),
        dome=0.3,
        mimic_of=("SCC",),
        mimic_group="dark",
        group="sheet",
        weight=1.2,
    ),
    Kind(
        "histiocyte",
        "NILM",
        Spread(18, 0.22, 11, 34),
        Spread(50, 0.34, 20, 130),
        {"round": 0.6, "ragged": 0.4},
        {"cyan": 0.9, "mixed": 0.1},
        nucleus_aspect=Spread(1.5, 0.15, 1, 2.4),
        irregularity=Spread(0.04, 0.45, 0.006, 0.2),
        darkness=Spread(0.9, 0.2, 0.4, 1.6),
        coarseness=Spread(0.28, 0.42, 0.03, 1),
        cytoplasm=Spread(0.18, 0.3, 0.05, 0.5),
        vacuoles=0.9,
        offset=0.45,
        dome=0.4,
        squamous=False,
        nuclei=(0.93, 0.05, 0.02),
        mimic_of=("ASC-H", "HSIL"),
        mimic_group="inflammatory",
        group="file",
        weight=1.1,
    ),
    Kind(
        "lymphocyte",
        "NILM",
        Spread(9.3, 0.12, 7, 14),
        Spread(40, 0.2, 24, 68),
        {"round": 1},
        {"cyan": 1},
        darkness=Spread(1.4, 0.14, 0.8, 2.0),
        coarseness=Spread(0.42, 0.35, 0.06, 1),
        irregularity=Spread(0.014, 0.4, 0.005, 0.2),
        squamous=False,
        mimic_of=("ASC-H", "HSIL"),
        mimic_group="inflammatory",
        group="loose",
        weight=1.0,
        dome=0.4,
    ),
    Kind(
        "endometrial",
        "NILM",
        Spread(11.5, 0.18, 7.5, 19),
        Spread(48, 0.28, 22, 110),
        {"round": 0.8, "ragged": 0.2},
        {"cyan": 0.8, "mixed": 0.2},
        darkness=Spread(1.22, 0.17, 0.6, 1.9),
        coarseness=Spread(0.36, 0.4, 0.05, 1),
        irregularity=Spread(0.022, 0.5, 0.005, 0.2),
        squamous=False,
        vacuoles=0.2,
        offset=0.3,
        mimic_of=("HSIL", "AGC"),
        mimic_group="glandular",
        group="ball",
        weight=0.6,
    ),
    Kind(
        "tubal",
        "NILM",
        Spread(19.5, 0.16, 12, 30),
        Spread(82, 0.34, 32, 200),
        {"column": 1},
        {"cyan": 0.8, "mixed": 0.2},
        cell_aspect=Spread(2.2, 0.18, 1.3, 3.4),
        nucleus_aspect=Spread(1.62, 0.2, 1, 2.6),
        darkness=Spread(1.12, 0.2, 0.5, 1.9),
        coarseness=Spread(0.26, 0.42, 0.05, 1),
        irregularity=Spread(0.021, 0.5, 0.005, 0.2),
        vacuoles=0.12,
        offset=0.35,
        nucleoli=0.25,
        squamous=False,
        mimic_of=("AGC",),
        mimic_group="glandular",
        group="glandular",
        weight=0.9,
    ),
    Kind(
        "multinucleated_reactive",
        "NILM",
        Spread(44, 0.17, 26, 64),
        Spread(58, 0.3, 26, 130),
        {"polygon": 0.7, "round": 0.3},
        _BLUE,
        irregularity=Spread(0.02, 0.5, 0.005, 0.2),
        coarseness=Spread(0.25, 0.45, 0.03, 1),
        darkness=Spread(0.85, 0.2, 0.35, 1.5),
        nuclei=(0, 0.8, 0.15, 0.05),
        folds=0.8,
        mimic_of=("LSIL",),
        mimic_group="inflammatory",
        weight=0.5,
    ),
)

_LESIONS = (
    Kind(
        "ascus",
        "ASC-US",
        Spread(43, 0.17, 26, 64),
        Spread(97, 0.3, 52, 215),
        {"polygon": 0.75, "round": 0.25},
        _LESION,
        darkness=Spread(0.8, 0.2, 0.4, 1.6),
        coarseness=Spread(0.38, 0.4, 0.06, 1),
        irregularity=Spread(0.04, 0.5, 0.006, 0.2),
        groove=0.12,
        nucleoli=0.08,
        folds=1.0,
        nuclei=(0.88, 0.12),
        halo=0.08,
        weight=1.0,
    ),
    Kind(
        "koilocyte",
        "LSIL",
        Spread(47, 0.17, 30, 70),
        Spread(96, 0.38, 42, 260),
        {"polygon": 0.6, "round": 0.4},
        _LESION,
        darkness=Spread(0.95, 0.2, 0.5, 1.8),
        coarseness=Spread(0.4, 0.42, 0.06, 1),
        irregularity=Spread(0.044, 0.55, 0.008, 0.22),
        halo=1.0,
        halo_ratio=Spread(2.1, 0.2, 1.35, 3.4),
        smudge=0.25,
        nuclei=(0.66, 0.3, 0.04),
        cytoplasm=Spread(0.34, 0.28, 0.12, 0.9),
        dome=0.2,
        weight=0.62,
        extra={"rim": 1.0},
    ),
    Kind(
        "lsil",
        "LSIL",
        Spread(46, 0.17, 28, 68),
        Spread(106, 0.38, 44, 290),
        {"polygon": 0.7, "round": 0.3},
        _LESION,
        darkness=Spread(0.96, 0.2, 0.5, 1.8),
        coarseness=Spread(0.42, 0.42, 0.06, 1),
        irregularity=Spread(0.042, 0.55, 0.008, 0.22),
        nuclei=(0.68, 0.27, 0.05),
        folds=0.8,
        smudge=0.1,
        weight=0.38,
    ),
    Kind(
        "asch",
        "ASC-H",
        Spread(20, 0.22, 12, 34),
        Spread(76, 0.34, 34, 190),
        {"round": 0.55, "ragged": 0.45},
        _DENSE,
        darkness=Spread(1.22, 0.18, 0.6, 2.0),
        coarseness=Spread(0.4, 0.42, 0.06, 1),
        irregularity=Spread(0.054, 0.5, 0.008, 0.25),
        nucleus_aspect=Spread(1.28, 0.14, 1, 2.4),
        cytoplasm=Spread(0.4, 0.28, 0.1, 0.9),
        dome=0.5,
        offset=0.25,
        groove=0.12,
        group="small",
        weight=1.0,
    ),
    Kind(
        "hsil",
        "HSIL",
        Spread(16, 0.26, 9.5, 30),
        Spread(84, 0.38, 34, 240),
        {"round": 0.5, "ragged": 0.5},
        {"cyan": 0.72, "mixed": 0.2, "pink": 0.08},
        darkness=Spread(1.3, 0.18, 0.7, 2.15),
        coarseness=Spread(0.44, 0.42, 0.08, 1),
        irregularity=Spread(0.056, 0.52, 0.012, 0.28),
        nucleus_aspect=Spread(1.35, 0.16, 1, 2.6),
        cytoplasm=Spread(0.36, 0.32, 0.08, 0.9),
        groove=0.3,
        nucleoli=0.05,
        dome=0.45,
        offset=0.25,
        nuclei=(0.97, 0.03),
        group="syncytium",
        weight=1.0,
    ),
    Kind(
        "scc_keratinising",
        "SCC",
        Spread(27, 0.32, 12, 60),
        Spread(88, 0.45, 28, 300),
        {"spindle": 0.45, "tadpole": 0.3, "ragged": 0.25},
        {"orange": 0.7, "pink": 0.3},
        cell_aspect=Spread(2.6, 0.35, 1.1, 6.0),
        darkness=Spread(1.45, 0.17, 0.8, 2.2),
        coarseness=Spread(0.4, 0.6, 0.04, 1),
        smudge=0.55,
        irregularity=Spread(0.072, 0.55, 0.012, 0.3),
        nucleus_aspect=Spread(1.55, 0.3, 1, 4),
        cytoplasm=Spread(0.55, 0.28, 0.15, 1.0),
        dome=0.3,
        weight=0.45,
    ),
    Kind(
        "scc_nonkeratinising",
        "SCC",
        Spread(16.5, 0.25, 10, 30),
        Spread(88, 0.4, 34, 260),
        {"ragged": 0.7, "round": 0.3},
        _DENSE,
        darkness=Spread(1.32, 0.18, 0.7, 2.2),
        coarseness=Spread(0.58, 0.4, 0.1, 1),
        nucleoli=0.55,
        irregularity=Spread(0.06, 0.55, 0.01, 0.3),
        nucleus_aspect=Spread(1.3, 0.16, 1, 2.4),
        cytoplasm=Spread(0.3, 0.3, 0.06, 0.8),
        dome=0.4,
        offset=0.2,
        group="syncytium",
        weight=0.55,
    ),
    Kind(
        "agc_endocervical",
        "AGC",
        Spread(20, 0.16, 13, 32),
        Spread(102, 0.36, 44, 260),
        {"column": 1},
        {"cyan": 0.8, "mixed": 0.2},
        cell_aspect=Spread(1.9, 0.2, 1.2, 3.2),
        nucleus_aspect=Spread(1.45, 0.18, 1, 2.8),
        darkness=Spread(1.25, 0.18, 0.6, 2.0),
        coarseness=Spread(0.5, 0.36, 0.06, 1),
        irregularity=Spread(0.046, 0.5, 0.008, 0.22),
        nucleoli=0.4,
        vacuoles=0.2,
        offset=0.15,
        squamous=False,
        group="glandular",
        weight=0.6,
    ),
    Kind(
        "ais",
        "AGC",
        Spread(17.5, 0.16, 11, 28),
        Spread(66, 0.32, 30, 160),
        {"column": 1},
        {"cyan": 0.85, "mixed": 0.15},
        cell_aspect=Spread(2.5, 0.2, 1.4, 4.2),
        nucleus_aspect=Spread(1.85, 0.18, 1.1, 3.6),
        darkness=Spread(1.3, 0.16, 0.7, 2.1),
        coarseness=Spread(0.44, 0.38, 0.08, 1),
        irregularity=Spread(0.038, 0.5, 0.006, 0.22),
        nucleoli=0.15,
        offset=0.1,
        squamous=False,
        group="glandular",
        weight=0.4,
    ),
)

KINDS: dict[str, Kind] = {kind.name: kind for kind in (*_NORMAL, *_MIMICS, *_LESIONS)}
NORMAL = tuple(kind.name for kind in _NORMAL)
MIMICS = tuple(kind.name for kind in _MIMICS)
LESIONS = tuple(kind.name for kind in _LESIONS)


def kinds_of(label: str) -> tuple[str, ...]:
    """Names of the kinds that carry a Bethesda class.

    Raises:
        ValueError: no kind carries it.

    >>> kinds_of("HSIL")
    ('hsil',)
    """
    names = tuple(name for name, kind in KINDS.items() if kind.label == label)
    if not names:
        known = ", ".join(dict.fromkeys(kind.label for kind in KINDS.values()))
        raise ValueError(f"No phantom cell is of class {label!r}. Known classes: {known}. Use one.")
    return names
