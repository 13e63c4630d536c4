"""GeoJSON is read one feature at a time, whatever tool wrote it; what is no cell is named."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon, Point, Polygon, box, mapping

from koilo.datasets import geojson
from koilo.datasets.conversion import SourceFacts
from koilo.datasets.geojson import extents, read_features
from koilo.datasets.qupath import convert_qupath
from koilo.errors import ManifestError
from tests.datasets.conftest import write_json_file, write_picture


def feature(geometry: Any, name: Any = "HSIL") -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": {"classification": name}}


DONUT = box(10, 20, 40, 60).difference(box(15, 25, 35, 55))
TWO_PARTS = MultiPolygon([box(0, 0, 4, 4), box(8, 2, 12, 9)])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
@pytest.mark.parametrize("shape", ["collection", "collection, features first", "list", "one"])
def test_every_shape_of_file_gives_its_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool, piece: int, shape: str
) -> None:
    monkeypatch.setattr(geojson, "_CHUNK", piece)
    rows = [feature(mapping(box(n, n, n + 5, n + 5.25)), {"name": "宫颈"}) for n in range(3)]
    inner = {"crs": {"a": [1, {"features": []}]}, "n": 12}
    content = {
        "collection": {"type": "FeatureCollection", **inner, "features": rows},
        "collection, features first": {"features": rows, **inner},
        "list": rows,
        "one": rows[0],
    }[shape]
    data = json.dumps(content, ensure_ascii=False, indent=2).encode()
    path = tmp_path / ("a.geojson.gz" if packed else "a.geojson")
    path.write_bytes(gzip.compress(data) if packed else data)
    wanted = rows[:1] if shape == "one" else rows
    assert list(read_features(path)) == json.loads(json.dumps(wanted))


def test_many_cells_take_no_more_memory_than_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geojson, "_CHUNK", 1 << 16)

    def peak(n: int) -> int:
        path = tmp_path / f"{n}.geojson.gz"
        row = json.dumps(feature(mapping(box(0, 0, 90, 90))))
        with gzip.open(path, "wt", compresslevel=1) as handle:
            handle.write('{"type": "FeatureCollection", "features": [')
            handle.write(",\n".join([row] * n))
            handle.write("]}")
        tracemalloc.start()
        assert sum(1 for _ in read_features(path)) == n
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(40_000) < 1.2 * peak(10_000)


@pytest.mark.parametrize(
    ("geometry", "wanted"),
    [
        (mapping(DONUT), [DONUT.bounds]),
        (mapping(TWO_PARTS), [TWO_PARTS.bounds]),
        ({"type": "MultiPoint", "coordinates": [[1, 2], [3, 4, 0]]}, [(1, 2, 1, 2), (3, 4, 3, 4)]),
    ],
)
def test_holes_change_nothing_parts_are_one_object_and_points_are_many(
    geometry: Any, wanted: list[tuple[float, ...]]
) -> None:
    assert list(extents(geometry)) == wanted


@given(
    st.lists(
        st.tuples(*[st.floats(-1e6, 1e6) for _ in range(2)]), min_size=3, max_size=12, unique=True
    )
)
def test_a_polygons_place_is_the_one_that_shapely_finds(points: list[tuple[float, float]]) -> None:
    polygon = Polygon(points)
    x0, y0, x1, y1 = polygon.bounds
    if x1 > x0 and y1 > y0:
        assert extents(mapping(polygon)) == ((x0, y0, x1, y1),)
    assert extents(mapping(Point(points[0])))[0][:2] == points[0]


@pytest.mark.parametrize(
    ("geometry", "word"),
    [
        ({"type": "LineString", "coordinates": [[0, 0], [5, 5]]}, "a LineString"),
        ({"type": "GeometryCollection", "geometries": []}, "a GeometryCollection"),
        ({"type": "Polygon", "coordinates": []}, "without coordinates"),
        ({"type": "Polygon", "coordinates": [[[1, 1], [5, 1], [1, 1]]]}, "without area"),
        ({"type": "Polygon", "coordinates": [[[0, 0], ["x", 1], [5, 5]]]}, "could not convert"),
        ({"type": "Point", "coordinates": [1e999, 0]}, "no finite numbers"),
        (None, "no geometry"),
        ([1, 2], "no geometry"),
    ],
)
def test_an_object_that_is_no_cell_is_named_in_one_line(
    tmp_path: Path, geometry: Any, word: str
) -> None:
    write_picture(tmp_path / "a.png")
    good = feature(mapping(box(0, 0, 4, 4)), {"name": "LSIL"})
    text = json.dumps([good, feature(geometry, {"name": "HSIL"})]).replace("Infinity", "1e999")
    (tmp_path / "a.geojson").write_text(text)
    with pytest.raises(ManifestError, match=r"a\.geojson: object 2 is .*" + word) as caught:
        convert_qupath(tmp_path, SourceFacts(mpp=0.25))
    assert "\n" not in str(caught.value)


def test_a_class_given_as_bare_text_is_a_class(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png")
    write_json_file(tmp_path / "a.geojson", [feature(mapping(DONUT), "LSIL")])
    [cell] = convert_qupath(tmp_path, SourceFacts()).cells
    assert (cell.label, cell.x_px0, cell.w_px0, cell.h_px0) == ("LSIL", 10, 30, 40)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"features": [{"type": "Feature", "properties": {}}',
        b'[{"type": "Feature"}] and more',
        b'{"type": "FeatureCollection", "features": [NaN]}',
        b"[" * 100_000,
        b'\xff\xfe{"features": []}',
    ],
)
def test_what_is_cut_or_no_json_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.geojson"
    path.write_bytes(content)
    with pytest.raises(ManifestError, match="not QuPath's GeoJSON"):
        list(read_features(path))
    packed = tmp_path / "a.geojson.gz"
    packed.write_bytes(gzip.compress(b'[{"type": "Feature"}]')[:-9])
    with pytest.raises(ManifestError, match="not QuPath's GeoJSON"):
        list(read_features(packed))


def test_one_endless_value_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geojson, "_LONGEST", 1000)
    monkeypatch.setattr(geojson, "_CHUNK", 256)
    path = tmp_path / "a.geojson"
    path.write_text('[{"type": "Feature", "x": "' + "y" * 50_000)
    with pytest.raises(ManifestError, match="one value is over"):
        list(read_features(path))
