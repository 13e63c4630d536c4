"""The composed cohort's configuration: pools, slides, lesion cells, labels and the seed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from koilo.errors import ConfigError
from koilo.phantom.multicentre.config import SplitSize

POSITIVE_SHARES = {"ASC-US": 0.54, "LSIL": 0.24, "ASC-H": 0.13, "HSIL+SCC": 0.09}
"""As in the multi-centre cohort; CRIC has no AGC."""
LESION_CELLS = {"ASC-US": 4.0, "LSIL": 8.0, "ASC-H": 4.0, "HSIL+SCC": 6.0}
"""Median of a positive slide, so that their order is that of whole slides."""
SMOKE_DIVISOR = 10


@dataclass(frozen=True)
class ComposedConfig:
    """Everything that fixes a composed cohort."""

    seed: int = 20261126
    """the same seed composes the same cohort, byte for byte"""
    splits: dict[str, SplitSize] = field(
        default_factory=lambda: {
            "train": SplitSize(160, 60),
            "validation": SplitSize(120, 40),
            "test": SplitSize(180, 60),
        }
    )
    folds: dict[str, int] = field(default_factory=lambda: {"train": 0, "validation": 2, "test": 1})
    """fold of CRIC's blocks from which each split's cells and ground come"""
    top_k: int = 48
    """cells of a slide that are kept, darkest middle first"""
    crop_px: int = 64
    mpp: float = 0.75
    cells: tuple[int, int, int] = (40, 52, 72)
    """cells of a slide whatever its label: fewest, median, most"""
    lesions: tuple[int, int] = (2, 12)
    """fewest and most lesion cells of a positive slide"""
    unlabelled: float = 0.25
    """share of the other cells that are dark places of clean fields which CRIC does not label"""
    labelled: float = 0.25
    """share of the training pool's cells of each class whose label a learner may see"""
    phantom_grounds: int = 12
    """phantom fields a pool, each of a laboratory of its own"""
    bank_cells: int = 300
    """phantom cells from which these fields are drawn"""


def smoke(config: ComposedConfig) -> ComposedConfig:
    """The same cohort at a tenth of its size, with two positive slides a class."""
    least = 2 * len(POSITIVE_SHARES)
    return replace(
        config,
        splits={
            name: SplitSize(max(2 * least, size.slides // SMOKE_DIVISOR), least)
            for name, size in config.splits.items()
        },
        top_k=12,
        cells=(14, 16, 20),
        lesions=(2, 4),
        phantom_grounds=2,
        bank_cells=90,
    )


def checked(config: ComposedConfig) -> ComposedConfig:
    """The configuration, proven sound.

    Raises:
        ConfigError: a value is out of range.
    """
    if config.seed < 0:
        raise ConfigError(
            f"seed is {config.seed}; allowed are whole numbers from 0. Choose one and run again."
        )
    if config.lesions[1] >= config.cells[0]:
        raise ConfigError(
            f"A slide may have {config.lesions[1]} lesion cells and {config.cells[0]} cells in "
            "all; lesions must be the fewer. Change lesions or cells."
        )
    return config


def positive_counts(n: int) -> dict[str, int]:
    """How many of ``n`` positive slides are of each class: at least two, where ``n`` allows it.

    >>> positive_counts(60)
    {'ASC-US': 33, 'LSIL': 14, 'ASC-H': 8, 'HSIL+SCC': 5}
    """
    counts = {name: max(2, round(share * n)) for name, share in POSITIVE_SHARES.items()}
    counts["ASC-US"] += n - sum(counts.values())
    return counts
