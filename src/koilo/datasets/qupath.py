"""QuPath: GeoJSON of annotations or detections, one beside each slide, in QuPath's frame.

QuPath counts pixels from the corner of OpenSlide's bounds where a slide has them (MRXS and some
others); koilo counts from the corner of level 0, so the bounds' origin is added.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from koilo.datasets.cells_csv import LabelledCell
from koilo.datasets.conversion import (
    Conversion,
    SourceFacts,
    find_pictures,
    require_folder,
    unique_ids,
)
from koilo.datasets.geojson import Extent, Feature, extents, read_features
from koilo.datasets.labels import map_labels
from koilo.errors import ManifestError
from koilo.manifest import SlideEntry
from koilo.slides import open_slide

_SUFFIXES = (".geojson", ".geojson.gz", ".json")


@dataclass(frozen=True)
class _Objects:
    """The file of objects beside one slide, the slide's id, pixel size and bounds' corner."""

    path: Path
    slide_id: str
    mpp: float | None
    corner_px0: tuple[int, int]
    box_um: float
    left_out: Counter[str] = field(default_factory=Counter)

    def cells(self, labels: Mapping[str, str | None]) -> Iterator[LabelledCell]:
        """Every object with a class that is not ignored; the others are counted."""
        for number, row in enumerate(read_features(self.path), start=1):
            name = _class_name(row)
            if name is None:
                self.left_out["objects without a class"] += 1
            elif labels[name] is None:
                self.left_out["cells (ignored)"] += 1
            else:
                for place in self._places(row, number):
                    x_px0, y_px0, w_px0, h_px0 = self._box(place)
                    x_px0, y_px0 = x_px0 + self.corner_px0[0], y_px0 + self.corner_px0[1]
                    label = str(labels[name])
                    yield LabelledCell(self.slide_id, x_px0, y_px0, w_px0, h_px0, label)

    def _places(self, row: Feature, number: int) -> tuple[Extent, ...]:
        try:
            return extents(row.get("geometry"))
        except ValueError as error:
            raise ManifestError(
                f"{self.path}: object {number} is {error}. Polygons (also with holes or of several "
                "parts) and points are allowed. Mend or delete the object and export again."
            ) from error

    def _box(self, place: Extent) -> tuple[float, float, float, float]:
        """The object's x, y, w, h in QuPath's frame; a point gets a square around it."""
        x0, y0, x1, y1 = place
        if x1 > x0:
            return x0, y0, x1 - x0, y1 - y0
        if self.mpp is None:
            raise ManifestError(
                f"{self.path} holds points, around which a box is put in micrometres, and its "
                "slide has no pixel size. Pass --mpp."
            )
        side_px0 = self.box_um / self.mpp
        return x0 - side_px0 / 2, y0 - side_px0 / 2, side_px0, side_px0


def convert_qupath(source: Path, facts: SourceFacts) -> Conversion:
    """One slide a picture that has a GeoJSON of its name beside it, one cell a classified object.

    The files are read twice, one object at a time: for their classes, then for their cells.

    Args:
        source: folder of slides and GeoJSON files (``day 1/a.svs``, ``day 1/a.geojson``).
        facts: labels of classes that are not Bethesda's; ``box_um`` for points.

    Raises:
        ManifestError: a GeoJSON is malformed, or points lie on a slide without a pixel size.
        SlideOpenError: a slide cannot be opened.
    """
    require_folder(source, "QuPath's files are a folder of slides, each with its GeoJSON beside.")
    pictures = {
        relative: (path, beside)
        for relative, path in find_pictures(source).items()
        if (beside := _beside(path))
    }
    used = {
        name
        for _, beside in pictures.values()
        for row in read_features(beside)
        if (name := _class_name(row))
    }
    labels = map_labels(source, used, facts.labels)
    ids = unique_ids(pictures)
    slides: list[SlideEntry] = []
    cells: list[LabelledCell] = []
    left_out: Counter[str] = Counter()
    for relative, (path, beside) in pictures.items():
        entry, objects = _open(path, beside, ids[relative], facts)
        slides.append(entry)
        cells += objects.cells(labels)
        left_out += objects.left_out
    notes = tuple(f"{n} {what}" for what, n in sorted(left_out.items(), reverse=True))
    return Conversion(tuple(slides), tuple(cells), notes)


def _open(
    path: Path, beside: Path, slide_id: str, facts: SourceFacts
) -> tuple[SlideEntry, _Objects]:
    with open_slide(path, mpp=facts.mpp) as slide:
        objects = _Objects(beside, slide_id, slide.mpp, slide.bounds_px0[:2], facts.box_um)
    entry = SlideEntry(
        slide_id,
        path.resolve(),
        centre=facts.centre,
        mpp=facts.mpp,
        preparation=facts.preparation,
    )
    return entry, objects


def _beside(path: Path) -> Path | None:
    names = (path.with_name(path.stem + suffix) for suffix in _SUFFIXES)
    return next((name for name in names if name.is_file()), None)


def _class_name(feature: Feature) -> str | None:
    given = (feature.get("properties") or {}).get("classification") or {}
    if not isinstance(given, Mapping):  # other tools write the bare name
        return str(given)
    names = given.get("names") or ([given["name"]] if given.get("name") else [])
    return ": ".join(map(str, names)) or None
