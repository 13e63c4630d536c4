"""The real pictures that slides are composed of, with their labelled cells and splits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from koilo.datasets import LabelledCell, read_cells
from koilo.errors import ManifestError
from koilo.manifest import SlideEntry, read_manifest
from koilo.taxonomy import CYTOLOGY, NEGATIVE


@dataclass(frozen=True)
class Sources:
    """The real pictures of a manifest, by slide_id, with the labelled cells of each."""

    entries: dict[str, SlideEntry]
    cells: dict[str, tuple[LabelledCell, ...]]

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits; one empty name where the manifest has none."""
        return tuple(dict.fromkeys(entry.split or "" for entry in self.entries.values()))

    def labels(self) -> tuple[str, ...]:
        """Bethesda classes of which there are cells in every split, NILM left out."""
        held: list[set[str]] = []
        for split in self.splits:
            held.append({cell.label for cell in self.of_split(split)})
        common = set.intersection(*held) if held else set()
        return tuple(name for name in CYTOLOGY if name in common and name != NEGATIVE)

    def of_split(self, split: str) -> list[LabelledCell]:
        """All labelled cells of a split, in the manifest's order."""
        return [
            cell
            for slide_id, entry in self.entries.items()
            if (entry.split or "") == split
            for cell in self.cells.get(slide_id, ())
        ]

    def field_labels(self) -> tuple[str, ...]:
        """Lesion classes that are the gravest of some picture in every split."""
        held = [
            {self.gravest(i) for i, e in self.entries.items() if (e.split or "") == split}
            for split in self.splits
        ]
        common = set.intersection(*held) if held else set()
        return tuple(name for name in CYTOLOGY if name in common and name != NEGATIVE)

    def split_of_slide(self, index: int) -> str:
        """The split whose pictures a composed slide may hold: pairs of slides take turns."""
        return self.splits[index // 2 % len(self.splits)]

    def gravest(self, slide_id: str) -> str:
        """The gravest class among a picture's cells; empty where no cell of it is labelled."""
        labels = [cell.label for cell in self.cells.get(slide_id, ())]
        return max(labels, key=lambda name: CYTOLOGY.index(name.split("+")[-1]), default="")

    def clean(self, slide_id: str) -> bool:
        """True where a source holds no labelled lesion at all."""
        return all(cell.label == NEGATIVE for cell in self.cells.get(slide_id, ()))


def read_sources(manifest: Path, *, whole_fields: bool = False) -> Sources:
    """Read ``manifest.csv`` and the ``cells.csv`` beside it.

    Raises:
        ManifestError: a list is malformed, a source has no pixel size, or a split has no NILM cell
            in a picture without lesions, or no lesion cell that all splits have.
    """
    entries = {entry.slide_id: entry for entry in read_manifest(manifest)}
    cells: dict[str, list[LabelledCell]] = {}
    for cell in read_cells(manifest.parent / "cells.csv", entries.keys()):
        cells.setdefault(cell.slide_id, []).append(cell)
    sources = Sources(entries, {slide_id: tuple(found) for slide_id, found in cells.items()})
    bare = [slide_id for slide_id in cells if entries[slide_id].mpp is None]
    if bare:
        raise ManifestError(
            f"{manifest} gives no mpp for {bare[0]} and {len(bare) - 1} more. Composing needs the "
            "pixel size of every source. Add the column mpp."
        )
    for split in sources.splits:
        if not any(sources.clean(cell.slide_id) for cell in sources.of_split(split)):
            raise ManifestError(
                f"{manifest} has no picture without lesions in split '{split}'. Negative slides "
                "need NILM cells of such pictures. Add some."
            )
    if not (sources.field_labels() if whole_fields else sources.labels()):
        what = "that is the gravest of a picture" if whole_fields else "with cells"
        raise ManifestError(
            f"{manifest} has no lesion class {what} in every split. Positive slides need one. "
            "Add cells, or leave the column split out."
        )
    return sources
