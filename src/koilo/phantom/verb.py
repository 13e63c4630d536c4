"""The verb ``phantom``: draw synthetic slides with a manifest and exact truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Literal

from koilo.datasets import LabelledCell, write_cells
from koilo.errors import ConfigError
from koilo.files import ensure_folder
from koilo.manifest import SlideEntry, write_manifest
from koilo.phantom.centre import draw_centre
from koilo.phantom.cohort import plan_cohort
from koilo.phantom.composed import Composer
from koilo.phantom.slide import SlideSize, bank_size, centre_bank, write_slide
from koilo.phantom.sources import read_sources
from koilo.progress import log, progress

_TISSUES = ("cytology",)
_LARGEST_PX = 82_000
_MARGIN_MM = 0.2


@dataclass(frozen=True)
class PhantomConfig:
    """Synthetic slides whose every cell, mask, measure, description and label is known."""

    tissue: str = field(metadata={"positional": "one"})
    """what to draw: cytology"""
    out: Path
    """folder to write: manifest.csv, cells.csv, slides/ and truth/"""
    slides: int = 1
    """number of slides; every second is NILM, the first HSIL"""
    centres: int = 1
    """number of laboratories, each with its own stain, optics, pixel size and mimics"""
    seed: int = 0
    """the same seed draws the same slides and truth"""
    size_px: int = 12_000
    """side of the square slides in pixels, at most 82,000"""
    cells: int = 3_000
    """epithelial cells a slide; leukocytes and debris come on top"""
    deposit_mm: float | None = None
    """diameter of the round cell deposit (13 SurePath, 20 ThinPrep); none: a crop of a deposit"""
    composed: Path | None = None
    """manifest.csv (cells.csv beside it) of real pictures that are set into the slides"""
    composed_of: Literal["cells", "fields"] = "cells"
    """what of these pictures: patches round single cells, or whole fields with all their cells"""


def phantom(config: PhantomConfig) -> int:
    """Draw synthetic slides whose every cell and label is known.

    Raises:
        ConfigError: a value is out of range; all problems in one line.
        ManifestError: the manifest to compose from is malformed or lacks what is needed.
        SlideError: a picture of it cannot be read.
        OutputError: the folder cannot be written.
    """
    _check(config)
    out = ensure_folder(Path(config.out))
    size = SlideSize(config.size_px, config.cells, config.deposit_mm)
    composer, labels = None, None
    if config.composed is not None:
        whole_fields = config.composed_of == "fields"
        sources = read_sources(Path(config.composed), whole_fields=whole_fields)
        composer = Composer(sources, config.seed, whole_fields=whole_fields)
        labels = sources.field_labels() if whole_fields else sources.labels()
    plans = plan_cohort(config.slides, config.centres, *([labels] if labels else []))
    drawn: dict[int, tuple[SlideEntry, list[LabelledCell]]] = {}
    for centre_index in sorted({plan.centre_index for plan in plans}):
        log.info("Centre %d: drawing a bank of %d cells", centre_index + 1, bank_size(config.cells))
        bank = centre_bank(config.seed, centre_index, config.cells)
        for plan in (p for p in plans if p.centre_index == centre_index):
            with _percent(f"slide {plan.index + 1} of {config.slides} ({plan.label})") as show:
                drawn[plan.index] = write_slide(
                    out, config.seed, plan, size, bank, composer=composer, progress=show
                )
    ordered = [drawn[index] for index in sorted(drawn)]
    write_cells(out / "cells.csv", chain.from_iterable(rows for _, rows in ordered))
    write_manifest(out / "manifest.csv", [entry for entry, _ in ordered])
    log.info("%d phantom slides in %s (synthetic: for tests, never for claims)", len(ordered), out)
    return 0


@contextmanager
def _percent(title: str) -> Iterator[Callable[[float], None]]:
    """A progress bar that is told the fraction done."""
    done = 0.0
    with progress(title, 100.0, unit="%") as advance:

        def show(fraction: float) -> None:
            nonlocal done
            advance(100 * fraction - done)
            done = 100 * fraction

        yield show


def _check(config: PhantomConfig) -> None:
    problems = []
    if config.tissue not in _TISSUES:
        problems.append(f"'{config.tissue}' cannot be drawn; this version draws cytology")
    if not 256 <= config.size_px <= _LARGEST_PX:
        problems.append(f"size_px is {config.size_px}, allowed are 256 to {_LARGEST_PX}")
    if not 8 <= config.cells <= 500_000:
        problems.append(f"cells is {config.cells}, allowed are 8 to 500,000")
    for name in ("slides", "centres"):
        if getattr(config, name) < 1:
            problems.append(f"{name} is {getattr(config, name)}, at least 1 is needed")
    if config.seed < 0:
        problems.append(f"seed is {config.seed}, it must be 0 or more")
    if config.deposit_mm is not None and not problems:
        problems += _deposit_problems(config, config.deposit_mm)
    if problems:
        raise ConfigError(f"{'; '.join(problems)}. Change these and run again.")


def _deposit_problems(config: PhantomConfig, deposit_mm: float) -> list[str]:
    finest = min(draw_centre(config.seed, index).mpp for index in range(config.centres))
    if not 0.2 <= deposit_mm <= 20:
        return [f"deposit_mm is {deposit_mm:g}, allowed are 0.2 to 20"]
    shows_mm = config.size_px * finest / 1000
    if deposit_mm + _MARGIN_MM > shows_mm:
        needed = int((deposit_mm + _MARGIN_MM) * 1000 / finest) + 1
        return [
            f"a deposit of {deposit_mm:g} mm does not fit into {config.size_px} px "
            f"({shows_mm:.2f} mm at {finest} µm a pixel): size_px of {needed} is needed, "
            "or no deposit_mm for a crop"
        ]
    return []
