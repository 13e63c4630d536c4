"""A folder of .dcm files is one slide, in its true colours, the same as its SVS twin."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest

from koilo.errors import SlideOpenError
from koilo.slides import open_slide

pytestmark = pytest.mark.data


@pytest.fixture
def twin(data_dir: Path) -> Path:
    return data_dir / "slides" / "CMU-1-Small-Region-dicom"


@pytest.fixture
def lying(data_dir: Path) -> Path:
    return data_dir / "slides" / "odd" / "dicom-lying-colour-tag"


def at_one_um(path: Path) -> np.ndarray:
    with open_slide(path) as slide:
        width, height = slide.dimensions
        size = (int(width * 0.499), int(height * 0.499))
        return slide.read_at_mpp((0, 0), 1.0, size).astype(int)


@pytest.mark.parametrize("which", ["twin", "lying"])
def test_the_svs_and_its_dicom_twin_agree_at_one_um(
    data_dir: Path, which: str, request: pytest.FixtureRequest
) -> None:
    svs = at_one_um(data_dir / "slides" / "CMU-1-Small-Region.svs")
    dicom = at_one_um(request.getfixturevalue(which))
    assert np.abs(svs - dicom).mean() < 8
    assert np.abs((svs - dicom).mean((0, 1))).max() < 2, "no colour is shifted as a whole"


def test_a_folder_is_one_slide_with_all_its_levels(twin: Path) -> None:
    with open_slide(twin) as slide, open_slide(twin / "level-1-frames-0-9.dcm") as by_file:
        assert slide.backend == "raw-jpeg"
        assert slide.mpp == pytest.approx(0.499)
        assert len(slide.level_dimensions) == 12
        assert slide.levels[6].downsample == 64
        assert by_file.level_dimensions == slide.level_dimensions
        tops = [slide.read_region((0, 0), n, size) for n, size in enumerate(slide.level_dimensions)]
    assert np.ptp([top.mean() for top in tops[:6]]) < 3


def test_a_damaged_or_cut_file_of_the_series_is_named(twin: Path, tmp_path: Path) -> None:
    for name in ("level-3-frames-0-1.dcm", "level-2-frames-0-4.dcm"):
        shutil.copy(twin / name, tmp_path / name)
    cut = tmp_path / "level-2-frames-0-4.dcm"
    cut.write_bytes(cut.read_bytes()[:60_000])
    with pytest.raises(SlideOpenError, match="cut short") as caught:
        open_slide(tmp_path)
    assert "level-2-frames-0-4.dcm" in str(caught.value)
    cut.write_bytes(b"no DICOM at all" * 40)
    with pytest.raises(SlideOpenError, match=r"level-2-frames-0-4\.dcm cannot be opened as DICOM"):
        open_slide(tmp_path)


def test_two_series_in_one_folder_are_refused(twin: Path, data_dir: Path, tmp_path: Path) -> None:
    shutil.copy(twin / "level-3-frames-0-1.dcm", tmp_path)
    shutil.copy(data_dir / "slides" / "odd" / "boxes_0.dcm", tmp_path)
    with pytest.raises(SlideOpenError, match="several DICOM slides"):
        open_slide(tmp_path)
    with open_slide(tmp_path / "boxes_0.dcm") as slide:
        assert slide.dimensions == (16, 16)


def test_a_lying_tag_that_cannot_be_read_raw_is_refused_not_shown_in_false_colours(
    lying: Path, tmp_path: Path
) -> None:
    source = next(lying.glob("*.dcm"))
    dataset = pydicom.dcmread(source)
    dataset.NumberOfOpticalPaths = 2  # a reason not to read raw, which OpenSlide overlooks
    dataset.save_as(tmp_path / "lying.dcm")
    with pytest.raises(SlideOpenError, match="colour tag contradicts its JPEG tiles"):
        open_slide(tmp_path)


def test_a_header_that_lacks_what_is_needed_is_refused_in_one_line(
    data_dir: Path, tmp_path: Path
) -> None:
    dataset = pydicom.dcmread(data_dir / "slides" / "odd" / "boxes_0.dcm")
    del dataset.Columns
    dataset.save_as(tmp_path / "headless.dcm")
    with pytest.raises(SlideOpenError, match=r"headless\.dcm cannot be opened as DICOM"):
        open_slide(tmp_path)
