"""Herlev, Mendeley LBC and ComparisonDetector, on folders made after their descriptions."""

from __future__ import annotations

from pathlib import Path

import pytest

from koilo.cli import main
from koilo.datasets.cells_csv import LabelledCell, read_cells
from koilo.datasets.comparison_detector import convert_comparison_detector
from koilo.datasets.conversion import SourceFacts
from koilo.datasets.herlev import LABELS, convert_herlev
from koilo.datasets.mendeley_lbc import convert_mendeley_lbc
from koilo.errors import ManifestError
from koilo.manifest import read_manifest
from tests.datasets.conftest import write_json_file, write_picture


@pytest.fixture
def herlev(tmp_path: Path) -> Path:
    folder = tmp_path / "smear2005" / "New database pictures"
    for number, name in enumerate(LABELS):
        write_picture(folder / name / f"{number}.BMP", 20 + number, 30)
        write_picture(folder / name / f"{number}-d.bmp", 20 + number, 30, grey=0)
    write_picture(folder / "extra" / "legend.bmp")
    return tmp_path / "smear2005"


def test_herlevs_grades_become_bethesdas_two_and_masks_are_no_cells(herlev: Path) -> None:
    conversion = convert_herlev(herlev, SourceFacts())
    assert len(conversion.slides) == len(conversion.cells) == 7
    by_class = {slide.path.parent.name: slide.label for slide in conversion.slides}
    assert by_class == LABELS
    assert {slide.mpp for slide in conversion.slides} == {0.201}
    [first] = [s for s in conversion.slides if s.path.parent.name == "normal_superficiel"]
    assert first.slide_id == "New database pictures__normal_superficiel__0"
    assert LabelledCell(first.slide_id, 0, 0, 20, 30, "NILM") in conversion.cells


def test_the_users_labels_and_pixel_size_win(herlev: Path) -> None:
    facts = SourceFacts(
        labels={"moderate_dysplastic": "ASC-H", "normal_columnar": "ignore"}, mpp=0.25
    )
    conversion = convert_herlev(herlev, facts)
    labels = {slide.path.parent.name: slide.label for slide in conversion.slides}
    assert labels["moderate_dysplastic"] == "ASC-H"
    assert "normal_columnar" not in labels
    assert conversion.left_out == ("1 cells (ignored)",)
    assert conversion.slides[0].mpp == 0.25
    with pytest.raises(ManifestError, match="moderate_dysplastic was given as CIN2"):
        convert_herlev(herlev, SourceFacts(labels={"moderate_dysplastic": "CIN2"}))


def test_mendeleys_fields_are_labelled_as_a_whole(tmp_path: Path) -> None:
    write_picture(tmp_path / "High squamous intra-epithelial lesion" / "hsil_01.jpg")
    write_picture(tmp_path / "Negative for Intraepithelial malignancy" / "nl_1.jpg")
    write_picture(tmp_path / "scc" / "scc_1.jpg")
    conversion = convert_mendeley_lbc(tmp_path, SourceFacts(mpp=0.3))
    assert {s.path.stem: s.label for s in conversion.slides} == {
        "hsil_01": "HSIL", "nl_1": "NILM", "scc_1": "SCC",
    }  # fmt: skip
    assert conversion.cells == ()
    assert {s.mpp for s in conversion.slides} == {0.3}


@pytest.fixture
def detector_set(tmp_path: Path) -> Path:
    for split in ("train", "test"):
        write_picture(tmp_path / split / "00001.jpg")
        write_json_file(
            tmp_path / f"{split}.json",
            {
                "images": [{"id": "00001.jpg", "file_name": "00001.jpg"}],
                "categories": [{"id": 1, "name": "ascus"}, {"id": 8, "name": "candida"}],
                "annotations": [
                    {"id": 1, "image_id": "00001.jpg", "category_id": 1, "bbox": [1, 2, 10, 8]},
                    {"id": 2, "image_id": "00001.jpg", "category_id": 8, "bbox": [5, 6, 7, 8]},
                ],
            },
        )
    return tmp_path


def test_comparison_detectors_split_stays_and_organisms_are_counted(detector_set: Path) -> None:
    conversion = convert_comparison_detector(detector_set, SourceFacts())
    assert [(s.slide_id, s.split, s.path.parent.name) for s in conversion.slides] == [
        ("train__00001", "train", "train"),
        ("test__00001", "test", "test"),
    ]
    assert conversion.cells == (
        LabelledCell("train__00001", 1, 2, 10, 8, "ASC-US"),
        LabelledCell("test__00001", 1, 2, 10, 8, "ASC-US"),
    )
    assert conversion.left_out == ("train: 1 cells (ignored)", "test: 1 cells (ignored)")
    kept = convert_comparison_detector(detector_set, SourceFacts(labels={"candida": "NILM"}))
    assert [cell.label for cell in kept.cells] == ["ASC-US", "NILM"] * 2


def test_one_split_alone_will_do_and_a_missing_picture_is_named(detector_set: Path) -> None:
    (detector_set / "train.json").unlink()
    assert len(convert_comparison_detector(detector_set, SourceFacts()).slides) == 1
    (detector_set / "test" / "00001.jpg").unlink()
    with pytest.raises(ManifestError, match=r"00001\.jpg is not there"):
        convert_comparison_detector(detector_set, SourceFacts())
    (detector_set / "test.json").unlink()
    with pytest.raises(ManifestError, match=r"neither train\.json nor test\.json"):
        convert_comparison_detector(detector_set, SourceFacts())


@pytest.mark.parametrize("convert", [convert_herlev, convert_mendeley_lbc])
def test_a_folder_without_the_classes_names_them(tmp_path: Path, convert) -> None:
    write_picture(tmp_path / "cats" / "1.png")
    with pytest.raises(ManifestError, match=r"no folder of pictures named as a class.*Folders are"):
        convert(tmp_path, SourceFacts())


def test_the_verb_says_that_the_layout_is_not_verified(
    herlev: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["data", "herlev", str(herlev), "--out", str(out)]) == 0
    assert "layout not verified" in capsys.readouterr().err
    entries = read_manifest(out / "manifest.csv")
    assert len(read_cells(out / "cells.csv", [entry.slide_id for entry in entries])) == 7
