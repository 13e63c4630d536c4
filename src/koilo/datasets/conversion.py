"""What every converter gives back, and the two files that are made of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from koilo.datasets.cells_csv import LabelledCell, write_cells
from koilo.errors import ManifestError
from koilo.files import ensure_folder
from koilo.manifest import IMAGE_SUFFIXES, SLIDE_SUFFIXES, SlideEntry, slide_id_of, write_manifest


@dataclass(frozen=True)
class SourceFacts:
    """What the user says of a source that does not say it itself."""

    labels: Mapping[str, str] = field(default_factory=dict)
    """source class -> Bethesda class, fold, or ``ignore``"""
    mpp: float | None = None
    """µm a pixel of every slide"""
    centre: str | None = None
    preparation: str | None = None
    box_um: float = 20.5
    """side of the box put around a point (the CRIC authors' 90 px)"""


@dataclass(frozen=True)
class Conversion:
    """A data set as koilo trains on it."""

    slides: tuple[SlideEntry, ...]
    cells: tuple[LabelledCell, ...]
    left_out: tuple[str, ...] = ()
    """what the source held and this does not, each with its reason"""
    notes: tuple[str, ...] = ()
    """what whoever uses it has to know"""


def write_conversion(out: Path, conversion: Conversion) -> None:
    """Write ``manifest.csv`` and, before it, ``cells.csv`` into ``out``.

    Raises:
        ManifestError: the source held no slide.
        OutputError: ``out`` cannot be written.
    """
    if not conversion.slides:
        raise ManifestError(
            "The source holds no slide or image. A data set needs one at least. Check SOURCE."
        )
    ensure_folder(out)
    write_cells(out / "cells.csv", conversion.cells)
    write_manifest(out / "manifest.csv", conversion.slides)


def find_pictures(folder: Path) -> dict[str, Path]:
    """Slide files and images below ``folder``: path relative to it (POSIX) -> path, in order."""
    wanted = SLIDE_SUFFIXES | IMAGE_SUFFIXES
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in wanted and path.is_file()
    }


def unique_ids(relatives: Iterable[str]) -> dict[str, str]:
    """Relative path -> slide_id; ids that collide get ``-2``, ``-3`` in order."""
    ids: dict[str, str] = {}
    taken: set[str] = set()
    for relative in relatives:
        base = slide_id_of(Path(relative))
        slide_id, number = base, 1
        while slide_id in taken:
            number += 1
            slide_id = f"{base}-{number}"
        taken.add(slide_id)
        ids[relative] = slide_id
    return ids


def require_folder(source: Path, what: str) -> None:
    """Refuse a source that is no folder.

    Raises:
        ManifestError: it is none.
    """
    if not source.is_dir():
        raise ManifestError(f"{source} is no folder. {what} Name that folder.")
