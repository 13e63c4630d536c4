"""Planted names, dates and label pixels are not in the copy; its main image is the same."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pydicom
import pytest
import simplejpeg
import tifffile
from PIL import Image
from pydicom.dataset import Dataset

from koilo.cli import main
from koilo.errors import OutputError
from koilo.slides import open_slide
from koilo.slides.deidentify import DeidentifyConfig, deidentify
from koilo.slides.jpeg_comments import without_comments
from tests.slides.conftest import MadeSlide, texture
from tests.slides.dicom_maker import TILE_PX, write_dicom_slide

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

CANARY = b"Jane CANARY"
LABEL = np.tile(np.arange(0, 240, dtype=np.uint8), (200, 1))[..., None].repeat(3, axis=2)
LABEL_BYTES = LABEL.tobytes()[:600]


def jpeg_with_comment(rgb: np.ndarray) -> bytes:
    data = bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(rgb), quality=90))
    comment = b"\xff\xfe" + (len(CANARY) + 2).to_bytes(2, "big") + CANARY
    return data[:2] + comment + data[2:]


def aperio_text(rgb: np.ndarray) -> str:
    height, width = rgb.shape[:2]
    return (
        f"Aperio Image Library v10.0\r\n{width}x{height} (256x256) JPEG/RGB Q=30|AppMag = 20"
        "|Filename = Jane CANARY|User = Jane CANARY|Date = 12/29/09|Time = 09:59:15"
        "|MPP = 0.4990|ScanScope ID = CANARY77"
    )


def tiles_of(rgb: np.ndarray) -> Any:
    height, width = rgb.shape[:2]
    for top in range(0, height, TILE_PX):
        for left in range(0, width, TILE_PX):
            tile = np.full((TILE_PX, TILE_PX, 3), 255, np.uint8)
            part = rgb[top : top + TILE_PX, left : left + TILE_PX]
            tile[: part.shape[0], : part.shape[1]] = part
            yield jpeg_with_comment(tile)


def write_svs(path: Path, rgb: np.ndarray, *, byteorder: Any = "<", bigtiff: bool = False) -> Path:
    """An SVS with thumbnail, label and macro, and canaries wherever a text fits."""
    texts = [(n, "s", 0, CANARY.decode(), False) for n in (315, 306, 305, 316, 33432, 65000)]
    with tifffile.TiffWriter(path, byteorder=byteorder, bigtiff=bigtiff) as tiff:

        def plain(image: np.ndarray, text: str) -> None:
            tiff.write(image, photometric="rgb", description=text, metadata=None,
                       extratags=texts, rowsperstrip=50)  # fmt: skip

        def level(image: np.ndarray) -> None:
            tiff.write(tiles_of(image), shape=image.shape, dtype=np.uint8, tile=(TILE_PX, TILE_PX),
                       photometric="ycbcr", subsampling=(2, 2), compression="jpeg",
                       description=aperio_text(rgb), metadata=None, extratags=texts,
                       iccprofile=b"\0" * 128 + CANARY, datetime="2024:05:06 07:08:09")  # fmt: skip

        level(rgb)
        plain(np.ascontiguousarray(rgb[::8, ::8]), aperio_text(rgb))
        level(np.ascontiguousarray(rgb[::2, ::2]))
        plain(LABEL, "Aperio Image Library v10.0\r\nlabel 240x200 Jane CANARY")
        plain(np.ascontiguousarray(LABEL[:, ::-1]), "Aperio Image Library v10.0\r\nmacro 240x200")
    with open(path, "ab") as handle:
        handle.write(b"left behind: " + CANARY)
    return path


def assert_clean(data: bytes) -> None:
    assert b"CANARY" not in data
    assert CANARY.decode().encode("utf-16-le") not in data
    assert LABEL_BYTES not in data
    assert LABEL[:, ::-1].tobytes()[:600] not in data
    assert b"2024" not in data
    assert b"12/29/09" not in data


@pytest.mark.parametrize("bigtiff", [False, True])
def test_nothing_planted_in_an_svs_is_in_its_copy_and_its_pixels_are_the_same(
    tmp_path: Path, bigtiff: bool, caplog: pytest.LogCaptureFixture
) -> None:
    source = write_svs(tmp_path / "a.svs", texture(900, 700), bigtiff=bigtiff)
    planted = source.read_bytes()
    assert planted.count(b"CANARY") > 20, "the canaries are there to be found"
    assert LABEL_BYTES in planted
    out = tmp_path / "copy.svs"
    assert deidentify(DeidentifyConfig(source, out)) == 0
    assert source.read_bytes() == planted, "the source stays as it is"
    assert_clean(out.read_bytes())
    assert "look at the copy" in caplog.text
    with openslide.OpenSlide(source) as before, openslide.OpenSlide(out) as after:
        assert after.properties["openslide.vendor"] == "aperio"
        assert after.properties["openslide.mpp-x"] == before.properties["openslide.mpp-x"]
        assert after.properties["openslide.objective-power"] == "20"
        assert dict(after.associated_images) == {}
        assert after.level_dimensions == before.level_dimensions == ((900, 700), (450, 350))
        for level, size in enumerate(after.level_dimensions):
            same = [np.asarray(s.read_region((0, 0), level, size)) for s in (before, after)]
            np.testing.assert_array_equal(*same)


def test_a_tiff_of_the_other_byte_order_is_copied_tile_by_tile(tmp_path: Path) -> None:
    source = write_svs(tmp_path / "a.tiff", texture(900, 700), byteorder=">")
    out = tmp_path / "copy.tiff"
    assert deidentify(DeidentifyConfig(source, out)) == 0
    assert_clean(out.read_bytes())
    assert out.read_bytes()[:2] == b"MM"
    with tifffile.TiffFile(source) as before, tifffile.TiffFile(out) as after:
        assert len(after.pages) == 2
        for page, wanted in zip(after.pages, [before.pages[0], before.pages[2]], strict=True):
            np.testing.assert_array_equal(page.asarray(), wanted.asarray())


def test_a_generic_tiff_keeps_that_it_was_drawn_and_nothing_else(
    tmp_path: Path, made_slide: MadeSlide
) -> None:
    out = tmp_path / "copy.tiff"
    assert deidentify(DeidentifyConfig(made_slide.path, out)) == 0
    assert b'"centre"' in made_slide.path.read_bytes()
    assert b"centre" not in out.read_bytes()
    with open_slide(made_slide.path) as before, open_slide(out) as after:
        assert after.synthetic == "phantom"
        assert after.level_dimensions == before.level_dimensions
        size = after.dimensions
        np.testing.assert_array_equal(
            before.read_region((0, 0), 0, size), after.read_region((0, 0), 0, size)
        )


def planted_attributes() -> dict[str, Any]:
    request = Dataset()
    request.RequestedProcedureDescription = CANARY.decode()
    return {
        "PatientName": "Jane^CANARY",
        "PatientID": "CANARY77",
        "PatientBirthDate": "20240506",
        "StudyDate": "20240506",
        "SeriesDescription": CANARY.decode(),
        "InstitutionName": CANARY.decode(),
        "ContainerIdentifier": "CANARY-1",
        "BarcodeValue": "CANARY-1",
        "RequestAttributesSequence": [request],
        "DeviceSerialNumber": "CANARY",
        "PositionReferenceIndicator": CANARY.decode(),
    }


def test_nothing_planted_in_a_dicom_series_is_in_its_copy_and_its_pixels_are_the_same(
    tmp_path: Path,
) -> None:
    source = write_dicom_slide(
        tmp_path / "Jane CANARY", texture(700, 500), more=planted_attributes(), label_rgb=LABEL
    )
    old_uids = set()
    for file in source.iterdir():
        dataset = pydicom.dcmread(file)
        block = dataset.private_block(0x0099, "CANARY", create=True)
        block.add_new(1, "LO", CANARY.decode())
        dataset.OpticalPathSequence[0].ICCProfile = b"\0" * 128 + CANARY + b"\0"
        dataset.SpecimenDescriptionSequence[0].SpecimenIdentifier = CANARY.decode()
        dataset.preamble = CANARY.ljust(128, b"\0")
        dataset.save_as(file)
        old_uids |= {dataset[name].value for name in ("SOPInstanceUID", "SeriesInstanceUID",
                     "StudyInstanceUID", "FrameOfReferenceUID")}  # fmt: skip
    out = tmp_path / "copy"
    assert deidentify(DeidentifyConfig(source, out)) == 0
    copies = sorted(out.iterdir())
    assert [file.name for file in copies] == ["level-0.dcm", "level-1.dcm"], "no label"
    for file in copies:
        data = file.read_bytes()
        assert_clean(data)
        assert all(uid.encode() not in data for uid in old_uids)
        dataset = pydicom.dcmread(file)
        assert dataset.PatientIdentityRemoved == "YES"
        assert not any(element.tag.is_private for element in dataset.iterall())
        for element in dataset.iterall():
            if element.VR in ("DA", "DT", "TM") and element.value:
                assert str(element.value) in ("19000101", "000000", "19000101000000")
    first, second = (pydicom.dcmread(file) for file in copies)
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert first[name].value == second[name].value, "what belonged together still does"
    with open_slide(source) as before, open_slide(out) as after:
        assert after.level_dimensions == before.level_dimensions
        assert after.mpp == before.mpp
        assert dict(after.associated_images) == {}
        for level, size in enumerate(after.level_dimensions):
            np.testing.assert_array_equal(
                before.read_region((0, 0), level, size), after.read_region((0, 0), level, size)
            )


def test_a_comment_in_a_dicom_frame_goes_and_the_frame_stays(tmp_path: Path) -> None:
    source = write_dicom_slide(tmp_path / "a", texture(256, 256), levels=1)
    file = source / "level-0.dcm"
    dataset = pydicom.dcmread(file)
    frame = jpeg_with_comment(texture(256, 256))
    dataset.PixelData = pydicom.encaps.encapsulate([frame])
    dataset.save_as(file)
    out = tmp_path / "copy"
    assert deidentify(DeidentifyConfig(source, out)) == 0
    data = (out / "level-0.dcm").read_bytes()
    assert b"CANARY" not in data
    with open_slide(source) as before, open_slide(out) as after:
        size = after.dimensions
        np.testing.assert_array_equal(
            before.read_region((0, 0), 0, size), after.read_region((0, 0), 0, size)
        )


def test_a_copy_of_a_whole_dicom_slide_is_still_valid(tmp_path: Path) -> None:
    path = shutil.which("dciodvfy")
    if path is None:
        from tests.conftest import skip_or_fail

        skip_or_fail("dciodvfy is not installed (apt-get install dicom3tools)")
    import subprocess

    source = write_dicom_slide(tmp_path / "a", texture(700, 500))
    assert deidentify(DeidentifyConfig(source, tmp_path / "copy")) == 0
    said = []
    for file in (source / "level-0.dcm", tmp_path / "copy" / "level-0.dcm"):
        done = subprocess.run([str(path), str(file)], capture_output=True, text=True)
        lines = (done.stdout + done.stderr).splitlines()
        said.append({line for line in lines if line.startswith("Error")})
    # The colour profile is left out on purpose: it names the scanner and the day.
    assert all("ICCProfile" in line for line in said[1] - said[0])


@pytest.mark.data
@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "CMU-1-Small-Region-dicom"])
def test_a_real_slide_keeps_its_pixels_and_loses_its_label(
    data_dir: Path, tmp_path: Path, name: str
) -> None:
    source, out = data_dir / "slides" / name, tmp_path / name
    assert deidentify(DeidentifyConfig(source, out)) == 0
    with open_slide(source) as before, open_slide(out) as after:
        assert after.dimensions == before.dimensions
        assert after.mpp == before.mpp
        assert dict(after.associated_images) == {}
        size = after.dimensions
        np.testing.assert_array_equal(
            before.read_region((0, 0), 0, size), after.read_region((0, 0), 0, size)
        )


def test_other_formats_and_untiled_pictures_are_refused_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Image.fromarray(texture(64, 64)).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tiff", texture(64, 64), photometric="rgb")
    tifffile.imwrite(tmp_path / "b.ome.tiff", texture(600, 600), photometric="rgb",
                     tile=(256, 256), metadata={"axes": "YXS"})  # fmt: skip
    (tmp_path / "broken.tiff").write_bytes(b"II*\0" + b"\xff" * 40)
    for name in ("a.png", "a.tiff", "b.ome.tiff", "broken.tiff", "gone.svs"):
        caplog.clear()
        out = tmp_path / f"copy of {name}"
        assert deidentify(DeidentifyConfig(tmp_path / name, out)) == 1
        [record] = caplog.records
        assert name in record.message
        assert "\n" not in record.message
        assert not out.exists()


def test_a_copy_never_replaces_anything(tmp_path: Path, made_slide: MadeSlide) -> None:
    with pytest.raises(OutputError, match="exists already"):
        deidentify(DeidentifyConfig(made_slide.path, made_slide.path))
    assert main(["deidentify", str(made_slide.path), "--out", str(tmp_path)]) == 2


def test_comments_go_and_what_colours_need_stays() -> None:
    plain = bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(texture(64, 64))))
    exif = b"\xff\xe1\x00\x08Exif\0\0"
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x01"
    stuffed = plain[:2] + exif + adobe + plain[2:]
    kept = without_comments(stuffed)
    assert exif not in kept
    assert adobe in kept
    assert kept == plain[:2] + adobe + plain[2:]
    assert without_comments(b"no picture") == b"no picture"
    assert without_comments(plain[:20]) == plain[:20], "a damaged one is left as it is"
    codestream = b"\xff\x4f\xff\x64\x00\x0c\x00\x01Jane C77\xff\x52\x00\x03x\xff\x90\x00\x02rest"
    assert without_comments(codestream) == b"\xff\x4f\xff\x52\x00\x03x\xff\x90\x00\x02rest"
