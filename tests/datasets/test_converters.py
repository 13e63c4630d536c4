"""COCO, YOLO, QuPath and SIPaKMeD become the same two files; what is wrong is said in one line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from koilo.datasets.cells_csv import LabelledCell, read_cells, write_cells
from koilo.datasets.coco import convert_coco
from koilo.datasets.conversion import SourceFacts, write_conversion
from koilo.datasets.qupath import convert_qupath
from koilo.datasets.sipakmed import LABELS, convert_sipakmed
from koilo.datasets.yolo import convert_yolo
from koilo.errors import ManifestError
from koilo.manifest import read_manifest
from tests.datasets.conftest import write_json_file, write_picture

KOILOCYTES = SourceFacts(labels={"koilocyte": "LSIL"}, centre="Lab A", mpp=0.25)


def test_coco_boxes_stay_where_they_are_and_classes_are_mapped(coco: Path, tmp_path: Path) -> None:
    conversion = convert_coco(coco, KOILOCYTES)
    write_conversion(tmp_path / "out", conversion)
    first, second = read_manifest(tmp_path / "out" / "manifest.csv")
    assert (first.slide_id, first.mpp, first.case_id, first.centre) == (
        "a field", 0.3, "12", "Lab A",
    )  # fmt: skip
    assert (second.slide_id, second.mpp, second.case_id) == ("b", 0.25, None)
    assert first.path.is_file()
    assert read_cells(tmp_path / "out" / "cells.csv", ["a field", "b"]) == (
        LabelledCell("a field", 1, 2, 10, 8, "HSIL"),
        LabelledCell("b", 5.5, 6, 7, 8.25, "LSIL"),
    )


def test_a_class_that_is_not_bethesdas_is_named_with_what_to_do(coco: Path) -> None:
    with pytest.raises(ManifestError, match=r"koilocyte.*--labels"):
        convert_coco(coco, SourceFacts())


def test_ignored_classes_are_left_out_and_counted(coco: Path) -> None:
    conversion = convert_coco(coco, SourceFacts(labels={"koilocyte": "ignore"}))
    assert [cell.label for cell in conversion.cells] == ["HSIL"]
    assert conversion.left_out == ("1 cells (ignored)",)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("annotations", 0, "image_id"), 99, "annotation 1 has no image"),
        (("annotations", 1, "bbox"), [1, 2, 0, 4], "annotation 2"),
        (("annotations", 1, "bbox"), [1, 2, "x"], "annotation 2"),
        (("annotations", 0, "category_id"), 5, "KeyError"),
        (("images", 1, "file_name"), "gone.png", "gone.png is not there"),
        (("images", 1, "file_name"), "a field.png", "stands twice"),
    ],
)
def test_a_broken_coco_file_is_refused_in_one_line(
    coco: Path, place: tuple[str, int, str], value: Any, said: str
) -> None:
    path = coco / "annotations.json"
    content = json.loads(path.read_text())
    content[place[0]][place[1]][place[2]] = value
    write_json_file(path, content)
    with pytest.raises(ManifestError, match=said) as caught:
        convert_coco(path, KOILOCYTES)
    assert "\n" not in str(caught.value)


def test_text_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("not json")
    with pytest.raises(ManifestError, match="is not COCO"):
        convert_coco(tmp_path, SourceFacts())


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    folder = tmp_path / "yolo"
    write_picture(folder / "images" / "train" / "a.png", 100, 50)
    write_picture(folder / "images" / "val" / "b.png", 20, 20, grey=90)
    (folder / "labels" / "train").mkdir(parents=True)
    (folder / "labels" / "train" / "a.txt").write_text("1 0.5 0.5 0.2 0.4\n\n0 0.1 0.2 0.1 0.1\n")
    (folder / "data.yaml").write_text("names: {0: NILM, 1: koilocyte}\n")
    return folder


def test_yolo_shares_become_pixels_and_folders_become_splits(yolo: Path) -> None:
    conversion = convert_yolo(yolo, KOILOCYTES)
    assert [(s.slide_id, s.split) for s in conversion.slides] == [
        ("images__train__a", "train"),
        ("images__val__b", "validation"),
    ]
    first, second = conversion.cells
    assert (first.x_px0, first.y_px0, first.w_px0, first.h_px0) == pytest.approx((40, 15, 20, 20))
    assert (first.label, second.label) == ("LSIL", "NILM")


@pytest.mark.parametrize(
    "line", ["2 .5 .5 .1 .1", "0 .5 .5 .1", "0 .5 .5 0 .1", "0 50 50 10 10", "a b c d e"]
)
def test_a_malformed_yolo_line_is_named(yolo: Path, line: str) -> None:
    (yolo / "labels" / "train" / "a.txt").write_text(f"0 .5 .5 .1 .1\n{line}\n")
    with pytest.raises(ManifestError, match=r"train/a\.png line 2"):
        convert_yolo(yolo, KOILOCYTES)


def test_yolo_without_class_names_is_refused(yolo: Path) -> None:
    (yolo / "data.yaml").unlink()
    with pytest.raises(ManifestError, match=r"classes\.txt"):
        convert_yolo(yolo, KOILOCYTES)


def feature(geometry: dict[str, Any], name: str | None) -> dict[str, Any]:
    given = {} if name is None else {"classification": {"name": name, "color": [1, 2, 3]}}
    return {"type": "Feature", "geometry": geometry, "properties": given}


SQUARE = {"type": "Polygon", "coordinates": [[[2, 3], [12, 3], [12, 9], [2, 9], [2, 3]]]}
POINT = {"type": "Point", "coordinates": [20, 10]}


def test_qupath_polygons_and_points_become_boxes(tmp_path: Path) -> None:
    write_picture(tmp_path / "day 1" / "a.png")
    write_picture(tmp_path / "without.png")
    rows = [feature(SQUARE, "HSIL"), feature(POINT, "koilocyte"), feature(SQUARE, None)]
    packed = gzip.compress(json.dumps({"type": "FeatureCollection", "features": rows}).encode())
    (tmp_path / "day 1" / "a.geojson.gz").write_bytes(packed)
    facts = SourceFacts(labels={"koilocyte": "LSIL"}, mpp=0.5, box_um=4)
    conversion = convert_qupath(tmp_path, facts)
    assert [slide.slide_id for slide in conversion.slides] == ["day 1__a"]
    assert conversion.cells == (
        LabelledCell("day 1__a", 2, 3, 10, 6, "HSIL"),
        LabelledCell("day 1__a", 16, 6, 8, 8, "LSIL"),
    )
    assert conversion.left_out == ("1 objects without a class",)


def test_qupaths_frame_begins_at_the_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_picture(tmp_path / "a.png")
    write_json_file(tmp_path / "a.geojson", [feature(SQUARE, "HSIL")])
    from koilo.datasets import qupath

    class Bounded:
        bounds_px0, mpp = (100, 200, 40, 30), 0.25

        def __enter__(self) -> Bounded:
            return self

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(qupath, "open_slide", lambda *_, **__: Bounded())
    [cell] = convert_qupath(tmp_path, SourceFacts()).cells
    assert (cell.x_px0, cell.y_px0) == (102, 203)


def test_points_on_a_slide_without_a_pixel_size_are_refused(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png")
    write_json_file(tmp_path / "a.geojson", [feature(POINT, "HSIL")])
    with pytest.raises(ManifestError, match="--mpp"):
        convert_qupath(tmp_path, SourceFacts())


@pytest.mark.parametrize("content", ["{}", "[1]", '{"features": [{"type": "Feature"}]'])
def test_a_geojson_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    write_picture(tmp_path / "a.png")
    (tmp_path / "a.geojson").write_text(content)
    with pytest.raises(ManifestError, match="not QuPath's GeoJSON"):
        convert_qupath(tmp_path, SourceFacts())


def test_sipakmed_crops_are_whole_cells_grouped_by_overlapping_fields(tmp_path: Path) -> None:
    write_picture(tmp_path / "Koilocytotic" / "1.png", 60, 50)
    write_picture(tmp_path / "Dyskeratotic" / "1.png", 30, 20)
    (tmp_path / "cells.csv").write_text(
        "image,label,source_field,group\n"
        "Koilocytotic/1.png,Koilocytotic,K/1,K/1\n"
        "Dyskeratotic/1.png,Dyskeratotic,D/1,D/9\n"
    )
    conversion = convert_sipakmed(tmp_path, SourceFacts())
    assert [(c.label, c.w_px0, c.h_px0) for c in conversion.cells] == [
        ("LSIL", 60, 50),
        ("LSIL+ASC-H+HSIL+SCC", 30, 20),
    ]
    assert [s.case_id for s in conversion.slides] == ["sipakmed-K/1", "sipakmed-D/9"]
    given = SourceFacts({"Koilocytotic": "ignore", "Dyskeratotic": "HSIL"}, preparation="thinprep")
    conversion = convert_sipakmed(tmp_path, given)
    assert [(s.label, s.preparation) for s in conversion.slides] == [("HSIL", "thinprep")]
    assert conversion.left_out == ("1 cells (ignored)",)
    with pytest.raises(ManifestError, match="SIPaKMeD has no class koilocytotic"):
        convert_sipakmed(tmp_path, SourceFacts({"koilocytotic": "LSIL"}))
    (tmp_path / "Dyskeratotic" / "1.png").unlink()
    with pytest.raises(ManifestError, match=r"row 3: Dyskeratotic/1\.png is missing"):
        convert_sipakmed(tmp_path, SourceFacts())


@pytest.mark.data
def test_sipakmed_itself_is_read(data_dir: Path, tmp_path: Path) -> None:
    lines = (data_dir / "sipakmed" / "cells.csv").read_text().splitlines()
    (tmp_path / "cells.csv").write_text("\n".join([lines[0], *lines[1::100]]) + "\n")
    for name in LABELS:
        (tmp_path / name).symlink_to(data_dir / "sipakmed" / name)
    conversion = convert_sipakmed(tmp_path, SourceFacts())
    assert len(conversion.slides) == len(conversion.cells) == 41
    assert {cell.label for cell in conversion.cells} == set(LABELS.values())
    assert all(31 <= min(cell.w_px0, cell.h_px0) <= 531 for cell in conversion.cells)


def test_cells_are_read_as_they_were_written(tmp_path: Path) -> None:
    cells = (
        LabelledCell("a", 1.25, 2, 3, 4, "HSIL+SCC"),
        LabelledCell("b", -3, 0, 1, 1, "NILM", "7"),
        LabelledCell("b", 5, 0, 1, 1, "AGC", fine="AGC-FN"),
    )
    write_cells(tmp_path / "cells.csv", cells)
    assert read_cells(tmp_path / "cells.csv", ["a", "b"]) == cells


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("c,1,1,1,1,NILM,", "slide 'c' is not in the manifest"),
        ("a,1,x,1,1,NILM,", "not four numbers"),
        ("a,1,1,0,1,NILM,", "no area"),
        ("a,1,1,nan,1,NILM,", "no area"),
        ("a,1,1,1,1,CIN2,", "'CIN2' is not a class"),
        ("a,1,1,1,1", "'' is not a class"),
    ],
)
def test_a_wrong_row_of_cells_is_named(tmp_path: Path, row: str, said: str) -> None:
    path = tmp_path / "cells.csv"
    path.write_text(f"slide_id,x_px0,y_px0,w_px0,h_px0,label,block\na,1,1,1,1,NILM,\n{row}\n")
    with pytest.raises(ManifestError, match=f"row 3: .*{said}"):
        read_cells(path, ["a"])


def test_a_cell_finds_its_slide_however_its_letters_are_written(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    decomposed = "e\u0301 1"  # as macOS writes it; the manifest's ids are composed
    path.write_text(
        f"slide_id,x_px0,y_px0,w_px0,h_px0,label\n {decomposed},1,1,1,1, HSIL \n", "utf-8"
    )
    [cell] = read_cells(path, ["\u00e9 1"])
    assert (cell.slide_id, cell.label) == ("\u00e9 1", "HSIL")
