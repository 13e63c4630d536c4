"""DICOM results: what dciodvfy says of them, and where others find the cells in them."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from shapely.geometry import MultiPolygon, box

from koilo.errors import SlideError
from koilo.export import dicom_quality
from koilo.export.dicom import write_dicom_results
from koilo.export.dicom_source import DicomSource
from koilo.export.record import Record, read_record
from koilo.report.laboratory import Laboratory
from koilo.slides.foreground import Foreground
from koilo.types import Cell, SlideResult
from tests.export.conftest import make_result, sign, without_cells, write_results
from tests.slides.conftest import texture
from tests.slides.dicom_maker import write_dicom_slide

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

FALSE_ERROR = "Only valid for AnnotationCoordinateType of 3D - attribute <CommonZCoordinateValue>"
"""dciodvfy says this of every 2D group, also of one without the attribute, as these are."""


def record_of(out: Path, result: SlideResult, **changes: Any) -> Record:
    write_results(out, result)
    laboratory = changes.pop("laboratory", Laboratory())
    return read_record(out / result.slide_id, patient=None, laboratory=laboratory, test_data=False)


def read(path: Path) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path)


def errors_of(dciodvfy: str, path: Path) -> list[str]:
    done = subprocess.run([dciodvfy, str(path)], capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    assert any("Warning" in line or "Error" in line for line in lines), "it looked at the file"
    return [line for line in lines if line.startswith("Error") and FALSE_ERROR not in line]


def by_hand(source: Dataset, mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Column and row (N, 2) of points on the glass (N, 3), by inverting the standard's equation."""
    origin = source.TotalPixelMatrixOriginSequence[0]
    along_row, along_column = np.reshape(np.array(source.ImageOrientationSlide, float), (2, 3))
    row_mm, column_mm = map(
        float, source.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    )
    offset = mm[:, :2] - [
        float(origin.XOffsetInSlideCoordinateSystem),
        float(origin.YOffsetInSlideCoordinateSystem),
    ]
    matrix = np.stack([along_row[:2] * column_mm, along_column[:2] * row_mm], axis=1)  # (2, 2)
    return np.linalg.solve(matrix, offset.T).T + 0.5  # the origin is the first pixel's centre


def corners(cells: Sequence[Cell]) -> NDArray[np.float64]:
    """(N, 4, 2), each box's corners in order of column, then row."""
    return np.array(
        [
            sorted(
                (x, y) for x in (c.x_px0, c.x_px0 + c.w_px0) for y in (c.y_px0, c.y_px0 + c.h_px0)
            )
            for c in cells
        ]
    )


def in_order(points: NDArray[np.floating[Any]]) -> list[list[float]]:
    """Points (4, 2) by column, then row, whatever the noise of their last digits."""
    return sorted(points.tolist(), key=lambda point: (round(point[0], 2), round(point[1], 2)))


def annotated(annotations: Dataset, source: Dataset) -> NDArray[np.float64]:
    """The corners (N, 4, 2) in an annotation file, from its raw numbers."""
    found = []
    for group in annotations.AnnotationGroupSequence:
        assert group.GraphicType == "RECTANGLE"
        if annotations.AnnotationCoordinateType == "3D":
            flat = np.frombuffer(group.DoublePointCoordinatesData, np.float64).reshape(-1, 2)
            z = np.full((len(flat), 1), float(group.CommonZCoordinateValue))
            points = by_hand(source, np.hstack([flat, z]))
        else:
            assert annotations.PixelOriginInterpretation == "VOLUME"
            points = np.frombuffer(group.PointCoordinatesData, np.float32).reshape(-1, 2)
        found += [in_order(box) for box in points.reshape(-1, 4, 2)]
    return np.array(found)


def reported(report: Dataset, source: Dataset) -> NDArray[np.float64]:
    """The corners (N, 4, 2) of the regions of a structured report."""
    found: list[list[list[float]]] = []

    def walk(items: Sequence[Dataset]) -> None:
        for item in items:
            if item.ValueType in ("SCOORD", "SCOORD3D"):
                width = 3 if item.ValueType == "SCOORD3D" else 2
                points = np.array(item.GraphicData, float).reshape(-1, width)
                assert (points[0] == points[-1]).all(), "a region is closed"
                if width == 3:
                    assert item.ReferencedFrameOfReferenceUID == source.FrameOfReferenceUID
                    points = by_hand(source, points)
                found.append(in_order(points[:4]))
            walk(item.get("ContentSequence", []))

    walk(report.ContentSequence)
    return np.array(found)


def same_boxes(found: NDArray[np.float64], cells: Sequence[Cell]) -> bool:
    wanted = corners(cells)
    order = lambda boxes: boxes[np.lexsort(boxes[:, 0].round(1).T)]  # noqa: E731
    return found.shape == wanted.shape and np.abs(order(found) - order(wanted)).max() < 0.5


def check_all(record: Record, source: Path, dciodvfy: str) -> Dataset:
    written = {path.name: path for path in write_dicom_results(record)}
    assert set(written) == {"sr.dcm", "annotations.dcm", "quality_seg.dcm"}
    level0 = read(source)
    annotations, report = read(written["annotations.dcm"]), read(written["sr.dcm"])
    assert same_boxes(annotated(annotations, level0), record.result.cells)
    assert same_boxes(reported(report, level0), record.result.cells)
    for path in written.values():
        assert errors_of(dciodvfy, path) == []
        made = read(path)
        assert made.StudyInstanceUID == level0.StudyInstanceUID
        assert made.PatientID == level0.get("PatientID", "")
        text = made.to_json()
        assert level0.SOPInstanceUID in text
    return annotations


@given(
    angle=st.floats(0, 6.28),
    mirrored=st.booleans(),
    spacing_mm=st.tuples(st.floats(1e-4, 1e-2), st.floats(1e-4, 1e-2)),
    origin_mm=st.tuples(st.floats(-80, 80), st.floats(-80, 80)),
    points=st.lists(st.tuples(st.floats(0, 2e5), st.floats(0, 2e5)), min_size=1, max_size=5),
)
def test_a_point_is_found_again_however_a_slide_lies(
    angle: float,
    mirrored: bool,
    spacing_mm: tuple[float, float],
    origin_mm: tuple[float, float],
    points: list[tuple[float, float]],
) -> None:
    cos, sin = np.cos(angle), np.sin(angle)
    across = (sin, -cos) if mirrored else (-sin, cos)
    header, measures, groups, origin = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [f"{value:.10f}" for value in spacing_mm]
    groups.PixelMeasuresSequence = [measures]
    header.SharedFunctionalGroupsSequence = [groups]
    header.ImageOrientationSlide = [f"{v:.10f}" for v in (cos, sin, 0, *across, 0)]
    origin.XOffsetInSlideCoordinateSystem = f"{origin_mm[0]:.10f}"
    origin.YOffsetInSlideCoordinateSystem = f"{origin_mm[1]:.10f}"
    header.TotalPixelMatrixOriginSequence = [origin]
    source = DicomSource(header, (), positions_known=True, shared_frame=True)
    found = by_hand(header, source.to_mm(np.array(points)))
    np.testing.assert_allclose(found, points, atol=0.05)


ROTATED = (0.0, -1.0, 0.0, -1.0, 0.0, 0.0)
TILTED = (0.6, 0.8, 0.0, 0.8, -0.6, 0.0)


@pytest.mark.parametrize("orientation", [(0.0, 1.0, 0.0, 1.0, 0.0, 0.0), ROTATED, TILTED])
def test_others_find_every_box_on_a_slide_whichever_way_it_lies(
    tmp_path: Path, dciodvfy: str, orientation: tuple[float, ...]
) -> None:
    slide = write_dicom_slide(tmp_path / "slide", texture(1200, 900), orientation=orientation)
    record = record_of(tmp_path / "out", make_result(path=str(slide)))
    annotations = check_all(record, slide / "level-0.dcm", dciodvfy)
    assert annotations.AnnotationCoordinateType == "3D"


@pytest.mark.data
def test_others_find_every_box_on_a_real_rotated_slide_that_lacks_its_place(
    tmp_path: Path, dciodvfy: str, data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slide = data_dir / "slides" / "CMU-1-Small-Region-dicom"
    facts = {"kind": "slide", "dimensions": [2220, 2967], "mpp": 0.499}
    record = record_of(tmp_path, make_result(path=str(slide), slide=facts))
    annotations = check_all(record, slide / "level-0-frames-0-30.dcm", dciodvfy)
    assert annotations.AnnotationCoordinateType == "2D"
    assert all(
        "CommonZCoordinateValue" not in group for group in annotations.AnnotationGroupSequence
    )
    assert "lacks PatientID, PatientName" in caplog.text
    assert "does not say where its first pixel lies" in caplog.text


@pytest.mark.data
def test_the_real_rotated_slide_with_its_place_known_gives_millimetres(
    tmp_path: Path, dciodvfy: str, data_dir: Path
) -> None:
    name = "level-0-frames-0-30.dcm"
    level0 = read(data_dir / "slides" / "CMU-1-Small-Region-dicom" / name)
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = 20.5, 40.25
    level0.TotalPixelMatrixOriginSequence = [origin]
    (tmp_path / "slide").mkdir()
    level0.save_as(tmp_path / "slide" / name)
    facts = {"kind": "slide", "dimensions": [2220, 2967], "mpp": 0.499}
    record = record_of(tmp_path / "out", make_result(path=str(tmp_path / "slide"), slide=facts))
    annotations = check_all(record, tmp_path / "slide" / name, dciodvfy)
    assert annotations.AnnotationCoordinateType == "3D"


def test_highdicom_reads_groups_and_measures_back(tmp_path: Path, dicom_slide: Path) -> None:
    record = record_of(tmp_path, make_result(path=str(dicom_slide)))
    write_dicom_results(record)
    annotations = hd.ann.MicroscopyBulkSimpleAnnotations.from_dataset(
        read(record.folder / "annotations.dcm")
    )
    groups = annotations.get_annotation_groups()
    assert [group.label for group in groups] == ["SCC", "HSIL", "ASC-H", "LSIL", "ASC-US", "NILM"]
    names, values, _ = groups[0].get_measurements()
    assert [name.meaning for name in names] == ["Detector score", "Probability"]
    np.testing.assert_allclose(values[:, 1], 0.5)
    report = hd.sr.srread(record.folder / "sr.dcm")
    cells = report.content.get_planar_roi_measurement_groups()
    assert len(cells) == 12
    assert (report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag) == (
        "PARTIAL", "UNVERIFIED", "PRELIMINARY",
    )  # fmt: skip
    [slide_group] = report.content.get_image_measurement_groups()
    assert len(slide_group.get_measurements()) == 1 + len(record.result.probabilities)


def test_the_quality_mask_lies_where_the_specimen_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    area = box(512, 256, 1280, 768).difference(box(640, 384, 768, 512))
    pen = MultiPolygon([box(0, 0, 128, 64)])
    found = Foreground(
        MultiPolygon([area]), np.ones((1, 1), bool), 1.0, (0, 0), "deposit", excluded={"pen": pen}
    )
    monkeypatch.setattr(dicom_quality, "foreground", lambda _: found)
    slide = write_dicom_slide(tmp_path / "slide", texture(1600, 1200), orientation=ROTATED)
    facts = {"kind": "slide", "dimensions": [1600, 1200], "mpp": 0.5}
    record = record_of(tmp_path / "out", make_result(path=str(slide), slide=facts, cells=()))
    assert [path.name for path in write_dicom_results(record)] == ["quality_seg.dcm"]
    mask = hd.seg.segread(record.folder / "quality_seg.dcm")
    labels = {mask.get_segment_description(n).SegmentLabel: n for n in mask.segment_numbers}
    matrix = mask.get_total_pixel_matrix(combine_segments=False)
    read_, pen_ = (
        matrix[:, :, labels[name] - 1] > 0 for name in ("Area that was read", "Pen marks, left out")
    )
    wanted = np.zeros((19, 25), bool)
    wanted[4:12, 8:20] = True
    wanted[6:8, 10:12] = False
    np.testing.assert_array_equal(read_, wanted)
    assert np.argwhere(pen_).tolist() == [[0, 0], [0, 1]]
    spacing = mask.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    assert [float(value) for value in spacing] == [0.032, 0.032]
    origin = mask.TotalPixelMatrixOriginSequence[0]
    place = np.array([[origin.XOffsetInSlideCoordinateSystem,
                       origin.YOffsetInSlideCoordinateSystem, 0.0]], float)  # fmt: skip
    np.testing.assert_allclose(by_hand(read(slide / "level-0.dcm"), place)[0], 32, atol=0.01)


def test_a_signed_result_is_final_and_verified_only_for_a_laboratorys_use(
    tmp_path: Path, dicom_slide: Path, dciodvfy: str
) -> None:
    write_results(tmp_path, make_result(path=str(dicom_slide)))
    sign(tmp_path / "S-001", "HSIL")
    flags = []
    for use in ("research", "laboratory"):
        laboratory = Laboratory(name="Laboratorium Süd", intended_use=use)
        record = read_record(
            tmp_path / "S-001", patient=None, laboratory=laboratory, test_data=False
        )
        write_dicom_results(record)
        report = read(tmp_path / "S-001" / "sr.dcm")
        assert errors_of(dciodvfy, tmp_path / "S-001" / "sr.dcm") == []
        flags.append((report.CompletionFlag, report.PreliminaryFlag, report.VerificationFlag))
    assert flags == [("PARTIAL", "PRELIMINARY", "UNVERIFIED"), ("COMPLETE", "FINAL", "VERIFIED")]
    assert "王小明" in str(report.VerifyingObserverSequence[0].VerifyingObserverName)


def test_the_patient_of_the_source_is_the_patient_of_the_result(tmp_path: Path) -> None:
    who = {"PatientName": "王^小明", "PatientID": "7|^~\\&", "SpecificCharacterSet": "GB18030"}
    slide = write_dicom_slide(tmp_path / "slide", texture(1200, 900), more=who)
    record = record_of(tmp_path / "out", make_result(path=str(slide)))
    for path in write_dicom_results(record):
        assert str(read(path).PatientName) == "王^小明"


@pytest.mark.parametrize(
    "name",
    ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"],
)
def test_a_source_without_identity_is_refused_and_none_is_invented(
    tmp_path: Path, name: str
) -> None:
    slide = write_dicom_slide(tmp_path / "slide", texture(300, 300), levels=1, more={name: ""})
    facts = {"kind": "slide", "dimensions": [300, 300], "mpp": 0.5}
    record = record_of(tmp_path / "out", make_result(path=str(slide), slide=facts))
    with pytest.raises(SlideError, match=f"lacks {name}"):
        write_dicom_results(record)
    assert not list(record.folder.glob("*.dcm"))


def test_a_slide_that_is_no_dicom_is_declined_with_what_to_do(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.svs").write_bytes(b"II*\0" + bytes(500))
    record = record_of(tmp_path / "out", make_result(path=str(tmp_path / "a.svs")))
    with pytest.raises(SlideError, match=r"no DICOM slide.*Convert the slide to DICOM first"):
        write_dicom_results(record)


def test_a_slide_that_has_moved_or_changed_is_named(tmp_path: Path, dicom_slide: Path) -> None:
    record = record_of(tmp_path / "a", make_result(path=str(tmp_path / "gone")))
    with pytest.raises(SlideError, match=r"no longer at .*gone.*screen it where it is now"):
        write_dicom_results(record)
    facts = {"kind": "slide", "dimensions": [4, 4], "mpp": 0.5}
    record = record_of(tmp_path / "b", make_result(path=str(dicom_slide), slide=facts))
    with pytest.raises(SlideError, match="was read from another image"):
        write_dicom_results(record)


def test_an_odd_source_is_refused_in_one_line(
    tmp_path: Path, dicom_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(*_: Any) -> None:
        raise ValueError("no such thing\nat all")

    monkeypatch.setattr("koilo.export.dicom_report.build_report", odd)
    record = record_of(tmp_path, make_result(path=str(dicom_slide)))
    with pytest.raises(SlideError, match=r"cannot be referred to .*no such thing at all"):
        write_dicom_results(record)


def test_levels_in_frames_of_their_own_give_pixels(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, dciodvfy: str
) -> None:
    slide = write_dicom_slide(tmp_path / "slide", texture(1200, 900))
    other = read(slide / "level-1.dcm")
    other.FrameOfReferenceUID = "2.25.12345"
    other.save_as(slide / "level-1.dcm")
    record = record_of(tmp_path / "out", make_result(path=str(slide)))
    annotations = check_all(record, slide / "level-0.dcm", dciodvfy)
    assert annotations.AnnotationCoordinateType == "2D"
    assert "own frame of reference" in caplog.text


def test_without_cells_only_the_mask_is_written_and_older_files_go(
    tmp_path: Path, dicom_slide: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = record_of(tmp_path, without_cells(make_result(path=str(dicom_slide))))
    (record.folder / "annotations.dcm").write_bytes(b"old")
    assert [path.name for path in write_dicom_results(record)] == ["quality_seg.dcm"]
    assert "no cell was kept" in caplog.text
    assert not (record.folder / "annotations.dcm").exists()


def test_many_cells_are_all_annotated_and_the_most_suspicious_reported(
    tmp_path: Path, dicom_slide: Path
) -> None:
    [first, *_] = make_result().cells
    cells = tuple(
        replace(first, x_px0=float(n), probabilities={"NILM": n / 200, "HSIL": 1 - n / 200})
        for n in range(200)
    )
    result = make_result(path=str(dicom_slide), cells=cells, n_cells=200)
    record = record_of(tmp_path, result)
    write_dicom_results(record)
    level0 = read(dicom_slide / "level-0.dcm")
    assert len(annotated(read(record.folder / "annotations.dcm"), level0)) == 200
    assert same_boxes(reported(read(record.folder / "sr.dcm"), level0), cells[:48])
