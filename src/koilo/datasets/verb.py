"""The verb ``koilo data``: convert a public or generic data set to a manifest, and split it."""

from __future__ import annotations

import importlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from koilo.config import nearest
from koilo.datasets.cells_csv import read_cells
from koilo.datasets.conversion import SourceFacts, write_conversion
from koilo.datasets.splits import UNITS, assign_splits
from koilo.errors import ConfigError
from koilo.manifest import ALLOWED, read_manifest, write_manifest
from koilo.progress import log

DATASETS = {
    "coco": "koilo.datasets.coco:convert_coco",
    "comparison_detector": "koilo.datasets.comparison_detector:convert_comparison_detector",
    "cric": "koilo.datasets.cric:convert_cric",
    "herlev": "koilo.datasets.herlev:convert_herlev",
    "mendeley_lbc": "koilo.datasets.mendeley_lbc:convert_mendeley_lbc",
    "qupath": "koilo.datasets.qupath:convert_qupath",
    "sipakmed": "koilo.datasets.sipakmed:convert_sipakmed",
    "yolo": "koilo.datasets.yolo:convert_yolo",
}


@dataclass(frozen=True)
class DataConfig:
    """Convert a data set."""

    name: str = field(metadata={"positional": "one"})
    """coco, comparison_detector, cric, herlev, mendeley_lbc, qupath, sipakmed or yolo"""
    source: Path = field(metadata={"positional": "one"})
    """folder (or COCO's JSON) of the data set"""
    out: Path = field(metadata={"result": False})
    """folder for manifest.csv and cells.csv"""
    labels: dict[str, str] = field(default_factory=dict)
    """source class to Bethesda class, fold, or "ignore": '{"koilocyte": "LSIL"}'"""
    mpp: float | None = None
    """µm a pixel, where the source does not say it"""
    centre: str | None = None
    """where the slides come from"""
    preparation: str | None = None
    """conventional, thinprep, surepath or other"""
    box_um: float = 20.5
    """side of the box put around a labelled point"""
    split_by: str | None = None
    """part into train, validation and test by case, block or centre; default: no splitting"""
    shares: tuple[float, float, float] = (0.7, 0.15, 0.15)
    """shares of slides in train, validation and test"""
    block_size: int = 10
    """slides that follow each other and stay together, for --split-by block"""
    seed: int = 0
    """seed of the split"""

    def __post_init__(self) -> None:
        """Refuse unknown words and impossible numbers, all in one error."""
        problems = []
        if self.name not in DATASETS:
            problems.append(
                f"there is no data set '{self.name}'. {nearest(self.name, [*DATASETS])}"
            )
        if self.split_by not in (None, *UNITS):
            problems.append(f"split_by is {self.split_by!r} (allowed: {', '.join(UNITS)})")
        if self.preparation not in (None, *ALLOWED["preparation"]):
            problems.append(f"preparation is {self.preparation!r} (allowed: "
                            f"{', '.join(ALLOWED['preparation'])})")  # fmt: skip
        if self.mpp is not None and not 0.05 <= self.mpp <= 4:
            problems.append(f"mpp is {self.mpp:g} (allowed: 0.05 to 4)")
        facts, unsaid = vars(self), vars(SourceFacts())
        given = [name for name, value in unsaid.items() if facts[name] != value]
        if self.name == "cric" and given:
            problems.append(f"{', '.join(given)} cannot be given to cric, which says it itself")
        if self.box_um <= 0 or self.block_size < 1:
            problems.append("box_um must be above 0 and block_size 1 or more")
        if problems:
            raise ConfigError(f"koilo data: {'; '.join(problems)} See `koilo data --help`.")


def data(config: DataConfig) -> None:
    """Convert a public data set to a manifest.

    Raises:
        ManifestError: the source is not that data set, its classes are unknown, or a split leaks.
        OutputError: ``config.out`` cannot be written.
    """
    for note in _convert(config):
        log.info("%s", note)
    manifest = config.out / "manifest.csv"
    slides = read_manifest(manifest)
    if config.split_by:
        slides = assign_splits(
            slides,
            by=config.split_by,
            shares=config.shares,
            block_size=config.block_size,
            seed=config.seed,
        )
        write_manifest(manifest, slides)
    cells = read_cells(config.out / "cells.csv", [entry.slide_id for entry in slides])
    log.info("%s: %d slides, %d cells", manifest, len(slides), len(cells))
    for what, counts in (
        ("cells", Counter(cell.label for cell in cells)),
        ("slides", Counter(entry.split or "no split" for entry in slides)),
    ):
        log.info("%s: %s", what, ", ".join(f"{name} {n}" for name, n in counts.most_common()))


def _convert(config: DataConfig) -> tuple[str, ...]:
    """Write the two files; gives what the user has to know of them."""
    module, _, function = DATASETS[config.name].partition(":")
    convert: Any = getattr(importlib.import_module(module), function)
    if config.name == "cric":  # says itself all that the others must be told
        convert(config.source, config.out)
        return ()
    conversion = convert(
        config.source,
        SourceFacts(config.labels, config.mpp, config.centre, config.preparation, config.box_um),
    )
    write_conversion(config.out, conversion)
    return (*conversion.notes, *(f"left out: {note}" for note in conversion.left_out))
