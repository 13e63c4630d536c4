"""The files that a screening leaves, written and read in this one place.

``DIR/<slide_id>/result.json`` is the truth; ``cells.parquet`` and ``cells.geojson`` hold the kept
cells, best first; ``DIR/slides.csv`` is rebuilt whole from the result.json files. Within a slide's
folder result.json is written last: where it stands, everything else stands too.
"""

from __future__ import annotations

import csv
import io
import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from koilo import __version__
from koilo.errors import OutputError
from koilo.files import atomic_path, remove_file, write_json, write_text
from koilo.types import (
    CELL_MEASURES,
    Adequacy,
    Cell,
    Disagreement,
    ImageQuality,
    Removal,
    SlideResult,
)

RESULT = "result.json"
CELLS = "cells.parquet"
GEOJSON = "cells.geojson"
REPORT = "report.html"
DRAWN = "report.json"
"""what report.html is drawn from beside the result (koilo.report.drawn)"""
SLIDES_CSV = "slides.csv"

EXPORTED = (
    *("report.pdf", "report_en.html", "report_zh.html", "fhir.json", "oru.hl7"),
    *("sr.dcm", "annotations.dcm", "quality_seg.dcm", "cells.geojson.gz"),
)
"""what `koilo export` writes of a result"""

FORMAT = 1

_BOX = ("x_px0", "y_px0", "w_px0", "h_px0", "detector_score")
_WEIGHTS = ("attention", "contribution")
_ORGANISM = "organism_"
"""what the columns of organisms in cells.parquet begin with"""
_RECORDS = {
    "image_quality": ImageQuality,
    "adequacy": Adequacy,
    "removal": Removal,
    "disagreement": Disagreement,
}
_UUIDS = uuid.uuid5(uuid.NAMESPACE_URL, "koilo:cells")
_COLOURS = {
    "NILM": (120, 144, 156),
    "ASC-US": (251, 192, 45),
    "LSIL": (245, 124, 0),
    "ASC-H": (216, 67, 21),
    "HSIL": (198, 40, 40),
    "SCC": (136, 14, 79),
    "AGC": (106, 27, 154),
}


def class_colour(name: str) -> tuple[int, int, int]:
    """RGB colour of a class wherever koilo shows it; a fold has its last member's."""
    return _COLOURS.get(name.split("+")[-1], (84, 110, 122))


def write_slide_result(folder: Path, result: SlideResult) -> None:
    """Write one slide's files (all but the report) into its ``folder``; result.json last.

    Raises:
        OutputError: the disk is full or the folder cannot be written; nothing half-written is left.
    """
    remove_file(folder / RESULT)
    if result.status == "failed":
        for name in (CELLS, GEOJSON, REPORT, DRAWN):
            remove_file(folder / name)
        kept = ("slide_id", "path", "status", "error", "fingerprint")
        write_json(folder / RESULT, {"format": FORMAT} | {k: getattr(result, k) for k in kept})
        return
    _write_cells(folder / CELLS, result)
    write_text(folder / GEOJSON, json.dumps(cells_geojson(result), allow_nan=False) + "\n")
    value = asdict(replace(result, cells=()))
    del value["cells"]
    write_json(folder / RESULT, {"format": FORMAT} | value)


def remove_exports(folder: Path) -> None:
    """Remove what `koilo export` wrote of a slide whose result or signature is no longer the same.

    Raises:
        OutputError: the folder cannot be changed.
    """
    for name in EXPORTED:
        remove_file(folder / name)


def read_slide_result(folder: Path, *, with_cells: bool = True) -> SlideResult:
    """Read one slide's result back from its folder.

    Raises:
        OutputError: result.json is missing or not one of koilo's.
    """
    path = folder / RESULT
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value.pop("format") != FORMAT:
            raise ValueError("another format")
        for name, kind in _RECORDS.items():
            if value.get(name):
                value[name] = kind(**_with_tuples(value[name]))
        result = SlideResult(**_with_tuples(value))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"{path} is not a result of this koilo ({error}). Delete the slide's folder and screen "
            "it again."
        ) from error
    if with_cells and result.status == "done":
        result = replace(result, cells=_read_cells(folder / CELLS))
    return result


def read_cell_measures(folder: Path) -> tuple[dict[str, float], ...]:
    """What was measured of each kept cell beyond its scores: the further columns of numbers.

    Raises:
        OutputError: cells.parquet cannot be read.
    """
    table = _read_table(folder / CELLS)
    known = {*_BOX, "attention"}
    names = [
        field.name
        for field in table.schema
        if field.name not in known
        and not field.name.startswith("p_")
        and str(field.type).startswith(("float", "double", "halffloat", "int", "uint", "bool"))
    ]
    rows = table.select(names).to_pylist()
    return tuple(
        {name: float(value) for name, value in row.items() if value is not None} for row in rows
    )


def ranked(results: Sequence[SlideResult]) -> list[SlideResult]:
    """Most suspicious first; slides without a score next (a person must look), then the failed."""

    def key(result: SlideResult) -> tuple[int, float, str]:
        if result.status == "failed":
            return 2, 0.0, result.slide_id
        if result.p_positive is None:
            return 1, 0.0, result.slide_id
        return 0, -result.p_positive, result.slide_id

    return sorted(results, key=key)


def write_slides_csv(out: Path, results: Sequence[SlideResult]) -> None:
    """Rebuild ``slides.csv``: one row a slide in the order of ``results``, UTF-8 without BOM."""
    classes = list(dict.fromkeys(name for result in results for name in result.probabilities))
    buffer = io.StringIO()
    columns = (
        ["slide_id", "path", "status", "error", "label"]
        + [f"p_{name}" for name in classes]
        + ["p_positive", "positive", "threshold", "n_cells", "n_squamous_estimate"]
        + ["image_quality", "adequacy", "quality_flags", "seconds", "bundle", "koilo_version"]
        + ["needs_human", "ood_score"]
    )
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    for result in results:
        writer.writerow(_csv_row(result, classes))
    write_text(out / SLIDES_CSV, buffer.getvalue())


def cells_geojson(result: SlideResult) -> dict[str, Any]:
    """The kept cells as QuPath detections, in level-0 pixels less OpenSlide's bounds."""
    bounds = result.slide.get("bounds_px0") or (0, 0, 0, 0)
    features = [
        _feature(result, number, cell, bounds[0], bounds[1])
        for number, cell in enumerate(result.cells)
    ]
    return {
        "type": "FeatureCollection",
        "koilo": _stamp(result),
        "features": features,
    }


def _with_tuples(value: dict[str, Any]) -> dict[str, Any]:
    """The lists of a JSON object as the tuples that a record holds."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in value.items()}


def _csv_row(result: SlideResult, classes: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "slide_id": result.slide_id,
        "path": result.path,
        "status": result.status,
        "error": result.error or "",
    }
    if result.status == "failed":
        return row
    row |= {f"p_{name}": _number(result.probabilities.get(name)) for name in classes}
    quality, adequacy = result.image_quality, result.adequacy
    return row | {
        "label": result.label or "",
        "p_positive": _number(result.p_positive),
        "positive": _truth(result.positive),
        "threshold": _number(result.threshold),
        "n_cells": result.n_cells,
        "n_squamous_estimate": ""
        if adequacy is None or adequacy.n_squamous is None
        else round(adequacy.n_squamous),
        "image_quality": quality.verdict if quality else "",
        "adequacy": adequacy.verdict if adequacy else "",
        "quality_flags": "; ".join(quality.flags) if quality else "",
        "seconds": round(result.seconds.get("total", 0.0), 2),
        "bundle": result.provenance.get("bundle", ""),
        "koilo_version": result.provenance.get("koilo_version", ""),
        "needs_human": _truth(result.needs_human),
        "ood_score": _number(result.ood_score),
    }


def _truth(value: bool | None) -> str:
    return "" if value is None else str(value).lower()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _feature(
    result: SlideResult, number: int, cell: Cell, left_px0: float, top_px0: float
) -> dict[str, Any]:
    x0, y0 = cell.x_px0 - left_px0, cell.y_px0 - top_px0
    x1, y1 = x0 + cell.w_px0, y0 + cell.h_px0
    ring = [
        [round(x, 2), round(y, 2)] for x, y in [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
    ]
    measurements = {"detector": round(cell.detector_score, 6)}
    measurements |= {f"p_{name}": round(p, 6) for name, p in cell.probabilities.items()}
    if cell.attention is not None:
        measurements["attention"] = round(cell.attention, 6)
    if cell.contribution is not None:
        measurements["contribution"] = round(cell.contribution, 6)
    measurements |= {name: float(f"{value:.4g}") for name, value in cell.measures.items()}
    measurements |= {_ORGANISM + name: round(p, 6) for name, p in cell.organisms.items()}
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(_UUIDS, f"{result.slide_id}/{result.fingerprint}/{number}")),
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "objectType": "detection",
            "classification": {"name": cell.label, "color": list(class_colour(cell.label))},
            "measurements": measurements,
        },
    }


def _stamp(result: SlideResult) -> dict[str, str]:
    return {
        "koilo_version": str(result.provenance.get("koilo_version", __version__)),
        "fingerprint": result.fingerprint,
        "bundle": str(result.provenance.get("bundle", "")),
        "bundle_sha256": str(result.provenance.get("bundle_sha256", "")),
    }


def _write_cells(path: Path, result: SlideResult) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    cells = result.cells
    names = list(cells[0].probabilities) if cells else []
    columns: dict[str, Any] = {
        name: pa.array([getattr(cell, name) for cell in cells], pa.float64()) for name in _BOX
    }
    for name in names:
        columns[f"p_{name}"] = pa.array([cell.probabilities[name] for cell in cells], pa.float32())
    columns["label"] = pa.array([cell.label for cell in cells], pa.string())
    for name in _WEIGHTS:
        columns[name] = pa.array([getattr(cell, name) for cell in cells], pa.float32())
    columns["descriptions"] = pa.array(
        [None if cell.descriptions is None else list(cell.descriptions) for cell in cells],
        pa.list_(pa.string()),
    )
    columns["flags"] = pa.array([list(cell.flags) for cell in cells], pa.list_(pa.string()))
    for name in CELL_MEASURES:
        columns[name] = pa.array([cell.measures.get(name) for cell in cells], pa.float32())
    columns["text_space"] = pa.array(
        [list(cell.text_space) for cell in cells], pa.list_(pa.float32())
    )
    for name in result.organisms:
        columns[_ORGANISM + name] = pa.array([c.organisms[name] for c in cells], pa.float32())
    table = pa.table(columns).replace_schema_metadata(_stamp(result))
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)


def _read_table(path: Path) -> Any:
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path)
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} cannot be read ({error}). Screen the slide again.") from error


def _read_cells(path: Path) -> tuple[Cell, ...]:
    rows = _read_table(path).to_pylist()
    names = [name for name in (rows[0] if rows else {}) if name.startswith("p_")]
    organisms = [name for name in (rows[0] if rows else {}) if name.startswith(_ORGANISM)]
    return tuple(
        Cell(
            x_px0=row["x_px0"],
            y_px0=row["y_px0"],
            w_px0=row["w_px0"],
            h_px0=row["h_px0"],
            detector_score=row["detector_score"],
            probabilities={name[2:]: row[name] for name in names},
            label=row["label"],
            attention=row["attention"],
            contribution=row.get("contribution"),  # results of earlier versions have none
            descriptions=None if row["descriptions"] is None else tuple(row["descriptions"]),
            measures={n: row[n] for n in CELL_MEASURES if row.get(n) is not None},
            flags=tuple(row.get("flags") or ()),
            text_space=tuple(row.get("text_space") or ()),
            organisms={name.removeprefix(_ORGANISM): row[name] for name in organisms},
        )
        for row in rows
    )
