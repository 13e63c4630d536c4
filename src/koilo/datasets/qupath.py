"""QuPath: GeoJSON of annotations or detections, one beside each slide, in QuPath's frame.

QuPath counts pixels from the corner of OpenSlide's bounds where a slide has them (MRXS and some
others); koilo counts from the corner of level 0, so the bounds' origin is added.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from koilo.datasets.cells_csv import LabelledCell
from koilo.datasets.conversion import (
    Conversion,
    SourceFacts,
    find_pictures,
    require_folder,
    unique_ids,
)
from koilo.datasets.labels import map_labels
from koilo.errors import ManifestError
from koilo.manifest import SlideEntry
from koilo.slides import open_slide

Feature = Mapping[str, Any]
_SUFFIXES = (".geojson", ".geojson.gz", ".json")


def convert_qupath(source: Path, facts: SourceFacts) -> Conversion:
    """One slide a picture that has a GeoJSON of its name beside it, one cell a classified object.

    Args:
        source: folder of slides and GeoJSON files (``day 1/a.svs``, ``day 1/a.geojson``).
        facts: labels of classes that are not Bethesda's; ``box_um`` for points.

    Raises:
        ManifestError: a GeoJSON is malformed, or points lie on a slide without a pixel size.
        SlideOpenError: a slide cannot be opened.
    """
    require_folder(source, "QuPath's files are a folder of slides, each with its GeoJSON beside.")
    pictures = {r: p for r, p in find_pictures(source).items() if _beside(p)}
    ids = unique_ids(pictures)
    features = {relative: _features(_beside(path)) for relative, path in pictures.items()}
    used = {name for rows in features.values() for row in rows if (name := _class_name(row))}
    labels = map_labels(source, used, facts.labels)
    slides, cells, n_unclassified, n_ignored = [], [], 0, 0
    for relative, path in pictures.items():
        with open_slide(path, mpp=facts.mpp) as slide:
            origin, mpp = slide.bounds_px0[:2], slide.mpp
        slides.append(
            SlideEntry(
                ids[relative],
                path.resolve(),
                centre=facts.centre,
                mpp=facts.mpp,
                preparation=facts.preparation,
            )
        )
        for feature in features[relative]:
            name = _class_name(feature)
            if name is None:
                n_unclassified += 1
            elif labels[name] is None:
                n_ignored += 1
            else:
                side = facts.box_um / mpp if mpp else None
                box = _box(path, feature, side)
                corner = (box[0] + origin[0], box[1] + origin[1])
                cells.append(LabelledCell(ids[relative], *corner, *box[2:], str(labels[name])))
    left = [(n_unclassified, "objects without a class"), (n_ignored, "cells (ignored)")]
    return Conversion(tuple(slides), tuple(cells), tuple(f"{n} {what}" for n, what in left if n))


def _beside(path: Path) -> Path | None:
    names = (path.with_name(path.stem + suffix) for suffix in _SUFFIXES)
    return next((name for name in names if name.is_file()), None)


def _features(path: Path | None) -> list[Feature]:
    assert path is not None  # the picture was chosen because it has one
    try:
        raw = path.read_bytes()
        value = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
        rows = value["features"] if isinstance(value, dict) else value
        return [row for row in rows if row["type"] == "Feature"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ManifestError(
            f"{path} is not QuPath's GeoJSON ({type(error).__name__}: {error}). A collection or "
            "list of features is expected. Export it again from QuPath."
        ) from error


def _class_name(feature: Feature) -> str | None:
    given = (feature.get("properties") or {}).get("classification") or {}
    names = given.get("names") or ([given["name"]] if given.get("name") else [])
    return ": ".join(map(str, names)) or None


def _box(path: Path, feature: Feature, side_px0: float | None) -> tuple[float, float, float, float]:
    """The object's box x, y, w, h in QuPath's frame; a point gets a square of ``side_px0``."""
    from shapely.errors import ShapelyError
    from shapely.geometry import shape

    try:
        x0, y0, x1, y1 = shape(feature["geometry"]).bounds
    except (KeyError, TypeError, ValueError, ShapelyError) as error:
        raise ManifestError(
            f"The GeoJSON of {path} holds an object without a shape ({error}). Polygons and "
            "points are allowed. Export it again from QuPath."
        ) from error
    if x1 > x0 and y1 > y0:
        return x0, y0, x1 - x0, y1 - y0
    if side_px0 is None:
        raise ManifestError(
            f"{path} has no pixel size, and its GeoJSON holds points, around which a box is put "
            "in micrometres. Pass --mpp."
        )
    return (x0 + x1 - side_px0) / 2, (y0 + y1 - side_px0) / 2, side_px0, side_px0
