"""A slide's truth on disk: every cell as a row of Parquet and as a detection for QuPath."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from koilo.datasets import LabelledCell
from koilo.files import atomic_path
from koilo.phantom.outlines import Outline
from koilo.phantom.truth import CellTruth
from koilo.results import class_colour

_UUIDS = uuid.uuid5(uuid.NAMESPACE_URL, "koilo:phantom")
_ROWS_AT_ONCE = 4096


def write_truth_parquet(path: Path, truths: Sequence[CellTruth], facts: Mapping[str, Any]) -> None:
    """One row a cell; boxes and outlines in level-0 pixels; ``facts`` go into the file's metadata.

    Columns: ``label, kind, arrangement, source, block, squamous, descriptions``; the whole cell's
    box ``x_px0 y_px0 w_px0 h_px0``; its nuclei's ``nucleus_x_px0`` …; ``cytoplasm_px0`` as x0 y0 x1
    y1 …; ``nuclei_px0`` a list of such lists; then each measure of `koilo.phantom.morphometry`.

    Raises:
        OutputError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    measures = sorted({name for truth in truths for name in truth.measured})
    schema = _schema(measures).with_metadata({"koilo_phantom": json.dumps(dict(facts))})
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        rows = (_row(truth, measures) for truth in truths)
        while part := list(islice(rows, _ROWS_AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(part, schema))


def read_truth_parquet(path: Path) -> list[CellTruth]:
    """The truths that `write_truth_parquet` wrote, in their order."""
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    measures = [name for name in table.column_names if name not in _schema([]).names]
    return [_truth(row, measures) for row in table.to_pylist()]


def write_truth_geojson(path: Path, slide_id: str, truths: Iterable[CellTruth]) -> None:
    """A FeatureCollection that QuPath opens: each cell's outline as a detection of its class.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as handle:
        handle.write('{"type": "FeatureCollection", "features": [')
        for index, truth in enumerate(truths):
            handle.write(",\n" if index else "\n")
            json.dump(_feature(slide_id, index, truth), handle, allow_nan=False)
        handle.write("\n]}\n")


def labelled_cells(slide_id: str, truths: Iterable[CellTruth], mpp: float) -> list[LabelledCell]:
    """Rows of cells.csv: each cell with the detector's box (see `CellTruth.detection_box_px`)."""
    return [
        LabelledCell(slide_id, *truth.detection_box_px(mpp), truth.label, truth.block)
        for truth in truths
    ]


def _schema(measures: Iterable[str]) -> Any:
    import pyarrow as pa

    numbers = pa.list_(pa.float32())
    boxes = [f"{prefix}{side}_px0" for prefix in ("", "nucleus_") for side in "xywh"]
    return pa.schema(
        [(name, pa.string()) for name in ("label", "kind", "arrangement", "source", "block")]
        + [("squamous", pa.bool_()), ("descriptions", pa.list_(pa.string()))]
        + [(name, pa.float64()) for name in boxes]
        + [("cytoplasm_px0", numbers), ("nuclei_px0", pa.list_(numbers))]
        + [(name, pa.float64()) for name in measures]
    )


def _row(truth: CellTruth, measures: Iterable[str]) -> dict[str, Any]:
    boxes = {
        f"{prefix}{side}_px0": value
        for prefix, box in (("", truth.box_px), ("nucleus_", truth.nucleus_box_px))
        for side, value in zip("xywh", box, strict=True)
    }
    return {
        "label": truth.label,
        "kind": truth.kind,
        "arrangement": truth.arrangement,
        "source": truth.source,
        "block": truth.block,
        "squamous": truth.squamous,
        "descriptions": list(truth.descriptions),
        "cytoplasm_px0": truth.cytoplasm_px.ravel(),
        "nuclei_px0": [outline.ravel() for outline in truth.nuclei_px],
        **boxes,
        **{name: truth.measured.get(name) for name in measures},
    }


def _truth(row: Mapping[str, Any], measures: Iterable[str]) -> CellTruth:
    def box(prefix: str) -> tuple[float, float, float, float]:
        x, y, w, h = (float(row[f"{prefix}{side}_px0"]) for side in "xywh")
        return x, y, w, h

    return CellTruth(
        label=row["label"],
        kind=row["kind"],
        box_px=box(""),
        nucleus_box_px=box("nucleus_"),
        nuclei_px=tuple(_points(flat) for flat in row["nuclei_px0"]),
        cytoplasm_px=_points(row["cytoplasm_px0"]),
        arrangement=row["arrangement"],
        squamous=row["squamous"],
        measured={name: row[name] for name in measures if row[name] is not None},
        descriptions=tuple(row["descriptions"]),
        source=row["source"],
        block=row["block"],
    )


def _points(flat: Sequence[float]) -> Outline:
    return np.asarray(flat, np.float32).reshape(-1, 2)


def _feature(slide_id: str, index: int, truth: CellTruth) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(_UUIDS, f"{slide_id}/{index}")),
        "geometry": {"type": "Polygon", "coordinates": [_ring(truth)]},
        "properties": {
            "objectType": "detection",
            "classification": {"name": truth.label, "color": list(class_colour(truth.label))},
            "measurements": {name: round(value, 4) for name, value in truth.measured.items()},
            "metadata": {"kind": truth.kind, "descriptions": "; ".join(truth.descriptions)},
        },
    }


def _ring(truth: CellTruth) -> list[list[float]]:
    """The cell's outline, every second point (about a micrometre), closed; a real cell's box."""
    if len(truth.cytoplasm_px):
        points = truth.cytoplasm_px[::2].astype(float)
    else:
        x, y, w, h = truth.box_px
        points = np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]])
    ring: list[list[float]] = np.round(points, 1).tolist()
    return [*ring, ring[0]]
