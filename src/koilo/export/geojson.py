"""cells.geojson.gz: the kept cells as QuPath detections, with all that was measured of them."""

from __future__ import annotations

import gzip
import json
import math

from koilo.export.record import Record
from koilo.results import cells_geojson, read_cell_measures


def build_geojson(record: Record) -> bytes:
    """A gzipped FeatureCollection; the same bytes each time.

    Raises:
        OutputError: cells.parquet cannot be read.
    """
    collection = cells_geojson(record.result)
    measures = read_cell_measures(record.folder)
    for feature, cell, more in zip(
        collection["features"], record.result.cells, measures, strict=True
    ):
        finite = {name: round(value, 6) for name, value in more.items() if math.isfinite(value)}
        feature["properties"]["measurements"] |= finite
        if cell.descriptions:
            feature["properties"]["metadata"] = {"descriptions": "; ".join(cell.descriptions)}
    collection["koilo"] |= {"status": record.status, "remark": record.remark}
    text = json.dumps(collection, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return gzip.compress(text.encode("utf-8"), mtime=0)
