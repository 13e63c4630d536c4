"""What opens, as what, with which pixel size; and one clear line for what does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from koilo.errors import PixelSizeError, SlideError, SlideOpenError, SlideReadError
from koilo.slides import open_slide, write_pyramid

from .conftest import MadeSlide, texture


def small_tiff(path: Path, mpp: float | None) -> Path:
    rgb = texture(300, 200)
    write_pyramid(path, (300, 200), mpp, lambda x, y, w, h: rgb[y : y + h, x : x + w], tile_px=128)
    return path


def assert_one_clear_line(error: SlideError, path: Path) -> None:
    message = str(error)
    assert "\n" not in message
    assert path.name in message
    assert message.count(". ") >= 2, "what was wrong. What is allowed. What to do."


def test_a_made_slide_says_all_about_itself(made_slide: MadeSlide) -> None:
    with open_slide(str(made_slide.path)) as slide:
        assert slide.kind == "slide"
        assert slide.dimensions == (1500, 1100)
        assert slide.level_dimensions[1] == (750, 550)
        assert slide.mpp == pytest.approx(0.25)
        assert (slide.mpp_source, slide.mpp_origin) == ("file", "TIFF resolution tags")
        assert (slide.objective, slide.vendor) == (None, "generic-tiff")
        assert slide.bounds_px0 == (0, 0, 1500, 1100)
        assert slide.synthetic == "phantom"
        assert len(slide.associated_images) == 0


def test_a_given_pixel_size_outranks_the_files_and_is_flagged(made_slide: MadeSlide) -> None:
    with open_slide(made_slide.path, mpp=0.5) as slide:
        assert (slide.mpp, slide.file_mpp, slide.mpp_source) == (0.5, pytest.approx(0.25), "given")
        assert slide.mpp_mismatch
        half = slide.read_at_mpp((0, 0), 1.0, (200, 200))
        np.testing.assert_array_equal(half, slide.read_at_downsample((0, 0), 2.0, (200, 200)))
    with open_slide(made_slide.path, mpp=0.26) as slide:
        assert not slide.mpp_mismatch


@pytest.mark.parametrize("mpp", [0.0, -1.0, 0.049, 4.1, 50.0, float("nan"), float("inf")])
def test_a_given_pixel_size_that_no_slide_has_is_refused(made_slide: MadeSlide, mpp: float) -> None:
    with pytest.raises(PixelSizeError, match=r"0\.05 and 4 µm") as caught:
        open_slide(made_slide.path, mpp=mpp)
    assert_one_clear_line(caught.value, made_slide.path)


@pytest.mark.parametrize(
    ("mpp", "reason"),
    [(None, "names no pixel size"), (50.0, "say 50 µm, outside 0.05-4 µm"), (0.01, "say 0.01 µm")],
)
def test_a_file_without_a_believable_pixel_size_opens_and_says_why(
    tmp_path: Path, mpp: float | None, reason: str
) -> None:
    with open_slide(small_tiff(tmp_path / "size.tiff", mpp)) as slide:
        assert slide.mpp is None
        assert slide.mpp_source.startswith("none: ")
        assert reason in slide.mpp_source
        assert slide.read_at_downsample((0, 0), 2, (50, 50)).shape == (50, 50, 3)
        with pytest.raises(PixelSizeError, match="--mpp") as caught:
            slide.read_at_mpp((0, 0), 1.0, (10, 10))
        assert_one_clear_line(caught.value, slide.path)


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("field.png", {}),
        ("field.jpg", {"quality": 98, "subsampling": 0, "dpi": (25_400, 25_400)}),
        ("field.bmp", {}),
        ("field.tif", {}),
        ("with spaces and 细胞 😐.png", {}),
        ("wrong_suffix.svs", {"format": "PNG"}),
    ],
)
def test_a_plain_image_is_a_field_of_one_level(tmp_path: Path, name: str, save: dict) -> None:
    rgb = texture(120, 80)
    PilImage.fromarray(rgb).save(tmp_path / name, **save)
    with open_slide(tmp_path / name) as slide:
        assert (slide.kind, slide.backend, slide.dimensions) == ("field", "plain", (120, 80))
        assert slide.mpp is None, "dots per inch are no pixel size"
        region = slide.read_region((-10, -10), 0, (140, 100))
        assert (region[:10] == 255).all()
        assert (region[90:] == 255).all()
        assert np.abs(region[10:90, 10:130].astype(int) - rgb).mean() < 2


def test_an_untiled_tiff_may_name_its_pixel_size_in_its_tags(tmp_path: Path) -> None:
    path = tmp_path / "camera.tif"
    PilImage.fromarray(texture(60, 50)).save(path, resolution_unit=3, resolution=40_000.0)
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx(0.25)
        assert slide.kind == "field"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_png_and_tiff_pixel_becomes_rgb(tmp_path: Path, mode: str) -> None:
    grey = PilImage.fromarray(np.linspace(0, 255, 64 * 48).reshape(48, 64).astype(np.uint8))
    if mode == "I;16":
        picture = PilImage.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    else:
        picture = grey.convert("RGB").convert(mode) if mode == "CMYK" else grey.convert(mode)
    path = tmp_path / ("cmyk.tif" if mode == "CMYK" else "picture.png")
    picture.save(path)
    with open_slide(path) as slide:
        pixels = slide.read_region((0, 0), 0, (64, 48))
    assert np.abs(pixels.astype(int) - np.asarray(grey)[..., None]).mean() < (
        128 if mode == "1" else 3
    )


def test_transparent_pixels_show_white(tmp_path: Path) -> None:
    PilImage.new("RGBA", (8, 8), (10, 20, 30, 0)).save(tmp_path / "clear.png")
    with open_slide(tmp_path / "clear.png") as slide:
        assert (slide.read_region((0, 0), 0, (8, 8)) == 255).all()


def test_a_one_pixel_image_reads_at_any_scale(tmp_path: Path) -> None:
    PilImage.new("RGB", (1, 1), (9, 99, 199)).save(tmp_path / "dot.png")
    with open_slide(tmp_path / "dot.png", mpp=0.25) as slide:
        assert slide.thumbnail((300, 300)).tolist() == [[[9, 99, 199]]]
        tile = slide.read_at_mpp((0, 0), 1.0, (512, 512))
        assert (tile[8:, 8:] == 255).all()


def broken(path: Path, kind: str, made: Path) -> None:
    whole = made.read_bytes()
    noise = np.random.default_rng(0).bytes(5000)
    contents = {
        "empty": b"",
        "text": b"slide_id,path\nnot a slide\n" * 50,
        "random": noise,
        "truncated": whole[: len(whole) // 2],
        "tiff header only": whole[:8],
        "tiff header, then noise": whole[:8] + noise,
        "truncated png": b"\x89PNG\r\n\x1a\n" + noise[:100],
        "truncated jpeg": b"\xff\xd8\xff\xe0" + noise[:100],
        "dicom head only": bytes(128) + b"DICM" + noise[:40],
    }
    path.write_bytes(contents[kind])


@pytest.mark.parametrize("suffix", [".svs", ".tiff", ".png", ".dcm"])
@pytest.mark.parametrize(
    "kind",
    [
        "empty",
        "text",
        "random",
        "truncated",
        "tiff header only",
        "tiff header, then noise",
        "truncated png",
        "truncated jpeg",
        "dicom head only",
    ],
)
def test_what_is_no_whole_slide_is_refused_in_one_clear_line(
    tmp_path: Path, made_slide: MadeSlide, kind: str, suffix: str
) -> None:
    path = tmp_path / f"broken{suffix}"
    broken(path, kind, made_slide.path)
    with pytest.raises(SlideOpenError) as caught:
        open_slide(path)
    assert_one_clear_line(caught.value, path)


@pytest.mark.parametrize("suffix", [".tiff", ".png", ".jpg", ".tif"])
def test_random_damage_ends_in_pixels_or_in_one_clear_line(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".tiff":
        small_tiff(whole, 0.25)
    else:
        PilImage.fromarray(texture(90, 70)).save(whole)
    data, rng = whole.read_bytes(), np.random.default_rng(5)
    refused = 0
    for _ in range(60):
        damaged = bytearray(data)
        ends = np.concatenate([np.arange(300), len(data) - 1 - np.arange(300)])  # the directories
        for at in rng.choice(ends, 4):
            damaged[int(at)] = int(rng.integers(256))
        path = tmp_path / f"damaged{suffix}"
        path.write_bytes(damaged)
        try:
            with open_slide(path) as slide:
                slide.thumbnail((30, 30))
        except SlideError as error:
            assert_one_clear_line(error, path)
            refused += 1
    assert refused > 3


def test_missing_files_and_folders_that_are_no_slide_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.svs", tmp_path):
        with pytest.raises(SlideOpenError) as caught:
            open_slide(path)
        assert_one_clear_line(caught.value, path)


def test_a_level_that_is_not_there_is_refused(made_slide: MadeSlide) -> None:
    with open_slide(made_slide.path) as slide, pytest.raises(SlideReadError, match="no level 9"):
        slide.read_region((0, 0), 9, (10, 10))


def test_a_picture_too_large_for_memory_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("koilo.slides.plain_image.MAX_PIXELS", 1000)
    PilImage.fromarray(texture(40, 30)).save(tmp_path / "large.png")
    with pytest.raises(SlideOpenError, match="40 x 30 pixels"):
        open_slide(tmp_path / "large.png")


@pytest.mark.data
def test_the_odd_files_open_or_are_refused_with_a_reason(data_dir: Path, tmp_path: Path) -> None:
    odd = data_dir / "slides" / "odd"
    with pytest.raises(SlideOpenError, match="Unsupported TIFF compression"):
        open_slide(odd / "unopenable.tiff")
    with open_slide(odd / "unreadable.svs") as slide:
        with pytest.raises(SlideReadError, match="column 0, row 0 of level 0"):
            slide.thumbnail((16, 16))
        with pytest.raises(SlideReadError, match="thumbnail"):
            slide.associated_images["thumbnail"]
    with open_slide(odd / "😐.svs") as slide:
        assert slide.thumbnail((16, 16)).shape == (16, 16, 3)
    with open_slide(odd / "boxes.tiff") as slide:
        assert slide.mpp is None, "352.8 µm is a meaningless default"
    with open_slide(odd / "boxes_0.dcm") as slide:
        assert (slide.mpp, slide.objective) == (pytest.approx(0.499), 20)
    spaced = tmp_path / "ein Präparat, 細胞 🔬.svs"
    shutil.copy(data_dir / "slides" / "CMU-1-Small-Region.svs", spaced)
    with open_slide(spaced) as slide:
        assert (slide.mpp, slide.mpp_origin, slide.objective) == (0.499, "aperio metadata", 20)
        assert set(slide.associated_images) == {"label", "macro", "thumbnail"}
        assert slide.associated_images["label"].shape == (463, 387, 3)
        assert "icc" not in slide.associated_images


@pytest.mark.data
def test_the_default_tag_of_1000_um_is_not_believed(data_dir: Path) -> None:
    for name in ("cytology_csf_pap_penmark.tiff", "histology_lung_scc_he.tiff"):
        with open_slide(data_dir / "slides" / name) as slide:
            assert slide.mpp is None
            assert "1000 µm" in slide.mpp_source
            assert slide.thumbnail((800, 800)).shape[1] == 800
