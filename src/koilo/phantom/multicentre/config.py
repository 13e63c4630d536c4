"""The cohort's configuration: how many slides, cells and labels there are, and the seed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from koilo.errors import ConfigError

SLIDE_CLASSES = ("NILM", "ASC-US", "LSIL", "ASC-H", "HSIL+SCC", "AGC")
CELL_FOLDS = ("NILM", "ASC-US", "LSIL", "ASC-H+HSIL+SCC", "AGC")
POSITIVE_SHARES = {"ASC-US": 0.52, "LSIL": 0.23, "ASC-H": 0.12, "HSIL+SCC": 0.09, "AGC": 0.04}
TRAINING_CENTRES = 8
LABELLED_CENTRES = 2
"""The first of the training centres: only these have labelled cells."""
UNSEEN_DISTANCES = (0.05, 0.10, 0.10, 0.15, 0.20)
"""How far each unseen centre's mean colour lies from the nearest training centre's (L2, [0, 1])."""
SMOKE_DIVISOR = 20


@dataclass(frozen=True)
class SplitSize:
    """Slides of a split, and how many of them are positive."""

    slides: int
    positive: int


@dataclass(frozen=True)
class CohortConfig:
    """Everything that fixes a cohort. The defaults are the cohort on which methods are judged."""

    seed: int = 20261125
    """the same seed draws the same cohort, byte for byte"""
    splits: dict[str, SplitSize] = field(
        default_factory=lambda: {
            "train": SplitSize(1900, 400),
            "validation": SplitSize(600, 200),
            "test": SplitSize(1200, 400),
            "unseen": SplitSize(1200, 400),
        }
    )
    top_k: int = 64
    """cells of a slide that are drawn, best detection first"""
    crop_px: int = 64
    mpp: float = 0.75
    bank_cells: dict[str, int] = field(
        default_factory=lambda: {"train": 10_000, "validation": 3_000, "test": 6_000}
    )
    """cells drawn for training, for validation and for the tests, from which slides are dealt"""
    sharpness: float = 2.0
    """by what the fitted noise of the detector's logit is divided (see docs/cohort.md)"""
    calibration_slides: int = 16
    """slides drawn, as attributes, in each round of finding a centre's rates of mimics"""
    reference_crops: int = 400
    """crops on which a centre's mean colour is measured while the unseen ones are moved away"""
    labelled: dict[str, int] = field(
        default_factory=lambda: {
            "ASC-US": 65, "LSIL": 90, "ASC-H+HSIL+SCC": 65, "AGC": 30, "NILM": 4000,
        }
    )  # fmt: skip
    """labelled cells of the labelled centres by folded class, as far as there are so many"""
    overlooked: float = 0.2
    """share of the visible positives of labelled tiles that carry the label NILM"""
    swapped: float = 0.05
    """share of ASC-US and of NILM training slides that carry the other's label"""
    labelled_mimics: float = 0.03
    """share of mimics among the top cells of the labelled centres"""
    other_mimics: tuple[float, float] = (0.4, 0.6)
    """the same in all other centres: the lowest and the highest"""


def smoke(config: CohortConfig) -> CohortConfig:
    """The same cohort at a twentieth of its size, with at least two positive slides a class."""
    return scaled(config, SMOKE_DIVISOR)


def scaled(config: CohortConfig, divisor: int) -> CohortConfig:
    """The same cohort with ``1 / divisor`` of its slides, labels and bank.

    Raises:
        ConfigError: the divisor is under 1.
    """
    if divisor < 1:
        raise ConfigError(
            f"divisor is {divisor}; allowed are whole numbers from 1. Choose one and run again."
        )
    least = 2 * len(POSITIVE_SHARES)
    return replace(
        config,
        splits={
            name: SplitSize(
                round(size.slides / divisor), max(least, round(size.positive / divisor))
            )
            for name, size in config.splits.items()
        },
        bank_cells={n: max(400, round(k / divisor)) for n, k in config.bank_cells.items()},
        reference_crops=max(100, round(config.reference_crops / divisor)),
        labelled={name: max(4, round(n / divisor)) for name, n in config.labelled.items()},
    )


def checked(config: CohortConfig) -> CohortConfig:
    """The configuration, proven sound.

    Raises:
        ConfigError: a value is out of range.
    """
    if config.seed < 0:
        raise ConfigError(
            f"seed is {config.seed}; allowed are whole numbers from 0. Choose one and run again."
        )
    for name, size in config.splits.items():
        if not 2 * len(POSITIVE_SHARES) <= size.positive < size.slides:
            raise ConfigError(
                f"Split {name} has {size.slides} slides, {size.positive} of them positive; allowed "
                f"are {2 * len(POSITIVE_SHARES)} positive ones, two a class, and more slides than "
                "these. Choose a larger cohort."
            )
    return config
