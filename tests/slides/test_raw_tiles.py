"""Raw JPEG tiles give OpenSlide's pixels, from many threads, and name the tile that is broken."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import tifffile

from koilo.errors import SlideOpenError, SlideReadError
from koilo.slides import open_slide
from koilo.slides.openslide_backend import OpenSlideBackend
from koilo.slides.tiff_index import TiffIndex, read_tiff_index

from .conftest import MadeSlide, texture

REAL = ["CMU-1-Small-Region.svs", "cytology_csf_pap_penmark.tiff", "histology_lung_scc_he.tiff"]


def mean_difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b).mean())


def damage_tile(path: Path, number: int, patch: bytes = b"") -> None:
    """Overwrite the middle of one level-0 tile, or put ``patch`` at its start."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        offset, length = page.dataoffsets[number], page.databytecounts[number]
    with open(path, "r+b") as handle:
        handle.seek(offset if patch else offset + length // 2)
        handle.write(patch or b"\xff\xd9" * (length // 8))


@pytest.mark.data
@pytest.mark.parametrize("name", REAL)
def test_pixels_of_real_slides_are_those_of_openslide(data_dir: Path, name: str) -> None:
    path = data_dir / "slides" / name
    reference = OpenSlideBackend(path)
    with open_slide(path) as slide:
        assert slide.backend == "raw-jpeg"
        width, height = slide.dimensions
        for x, y in ((width // 2 + 3, height // 2 - 7), (width - 300, height - 200), (-40, -30)):
            ours = slide.read_region((x, y), 0, (700, 500))
            assert mean_difference(ours, reference.read_level(0, x, y, 700, 500)) < 0.01
        for level, (at_width, at_height) in enumerate(slide.level_dimensions):
            size = (min(at_width, 600), min(at_height, 600))
            ours = slide.read_region((0, 0), level, size)
            assert mean_difference(ours, reference.read_level(level, 0, 0, *size)) < 1
    reference.close()


def test_pixels_of_a_made_slide_are_those_of_openslide(made_slide: MadeSlide) -> None:
    reference = OpenSlideBackend(made_slide.path)
    with open_slide(made_slide.path) as slide:
        ours = slide.read_region((101, 57), 0, (900, 800))
        np.testing.assert_array_equal(ours, reference.read_level(0, 101, 57, 900, 800))
        assert slide.level_downsamples == pytest.approx(reference._slide.level_downsamples)
    reference.close()


def test_eight_threads_read_what_one_reads(made_slide: MadeSlide) -> None:
    rng = np.random.default_rng(3)
    places = [(int(x), int(y)) for x, y in rng.integers(-100, 1400, (150, 2))]
    with open_slide(made_slide.path) as slide, open_slide(made_slide.path) as alone:
        with ThreadPoolExecutor(8) as pool:
            together = list(
                pool.map(lambda at: slide.read_at_downsample(at, 1.7, (120, 90)), places)
            )
        for place, pixels in zip(places, together, strict=True):
            np.testing.assert_array_equal(pixels, alone.read_at_downsample(place, 1.7, (120, 90)))


def test_a_caller_may_write_into_what_it_was_given(made_slide: MadeSlide) -> None:
    with open_slide(made_slide.path) as slide:
        for place in ((0, 256), (10, 266)):  # one whole tile; parts of four, which are cached
            first = slide.read_region(place, 0, (256, 256))
            kept = first.copy()
            first[:] = 0
            np.testing.assert_array_equal(slide.read_region(place, 0, (256, 256)), kept)


@pytest.mark.parametrize("patch", [b"", b"\0\0\0\0"], ids=["body", "start"])
def test_a_damaged_tile_is_named_and_its_neighbours_are_read(
    made_slide: MadeSlide, tmp_path: Path, patch: bytes
) -> None:
    path = tmp_path / "damaged.tiff"
    shutil.copy(made_slide.path, path)
    damage_tile(path, 8, patch)  # 6 columns: column 2, row 1
    with open_slide(path) as slide:
        with pytest.raises(SlideReadError, match=r"column 2, row 1 of level 0 .* is damaged"):
            slide.read_region((500, 200), 0, (300, 300))
        assert slide.read_region((0, 0), 0, (256, 256)).shape == (256, 256, 3)


def test_a_file_that_ends_before_its_last_tile_is_refused_at_once(
    made_slide: MadeSlide, tmp_path: Path
) -> None:
    index = read_tiff_index(made_slide.path)
    assert isinstance(index, TiffIndex)
    path = tmp_path / "moved.tiff"
    with tifffile.TiffFile(made_slide.path) as tiff:
        entry = tiff.pages.first.tags["TileByteCounts"].valueoffset
    data = bytearray(made_slide.path.read_bytes())
    data[entry : entry + 4] = (len(data)).to_bytes(4, "little")  # the first tile, beyond the end
    path.write_bytes(data)
    with pytest.raises(SlideOpenError, match="cut short: its tiles reach to byte"):
        open_slide(path)


def write_tiff(path: Path, rgb: np.ndarray, photometric: int, streams: list[bytes]) -> None:
    """A tiled TIFF of JPEG streams made elsewhere, under a photometric tag of our choosing."""
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(
            iter(streams),
            shape=rgb.shape,
            dtype=np.uint8,
            tile=(256, 256),
            compression="jpeg",
            photometric="ycbcr",
            subsampling=(1, 1),
        )
    with tifffile.TiffFile(path, mode="r+") as tiff:  # tifffile corrects the tag on its own
        tiff.pages.first.tags["PhotometricInterpretation"].overwrite(photometric)


@pytest.mark.parametrize("photometric", [2, 6], ids=["rgb", "ycbcr"])
def test_a_streams_own_marker_outranks_the_containers_colour_tag(
    tmp_path: Path, photometric: int
) -> None:
    rgb = texture(256, 256)
    jfif = simplejpeg.encode_jpeg(rgb, 95, "RGB", "444")
    assert jfif[2:4] == b"\xff\xe0"  # JFIF: YCbCr by definition
    write_tiff(tmp_path / "tag.tiff", rgb, photometric, [jfif])
    with open_slide(tmp_path / "tag.tiff") as slide:
        assert slide.backend == "raw-jpeg"
        assert mean_difference(slide.read_region((0, 0), 0, (256, 256)), rgb) < 3


@pytest.mark.parametrize("photometric", [2, 6], ids=["rgb", "ycbcr"])
def test_without_a_marker_the_containers_tag_names_the_colour(
    tmp_path: Path, photometric: int
) -> None:
    rgb = texture(256, 256)
    jfif = simplejpeg.encode_jpeg(rgb, 95, "RGB", "444")
    length = 2 + int.from_bytes(jfif[4:6], "big")
    bare = jfif[:2] + jfif[2 + length :]
    write_tiff(tmp_path / "bare.tiff", rgb, photometric, [bare])
    with open_slide(tmp_path / "bare.tiff") as slide:
        pixels = slide.read_region((0, 0), 0, (256, 256))
    right = mean_difference(pixels, rgb) < 3
    assert right == (photometric == 6)  # YCbCr numbers shown as RGB are far off


def test_tiles_that_are_not_jpeg_are_read_by_openslide_which_says_why(tmp_path: Path) -> None:
    rgb = texture(512, 512)
    tifffile.imwrite(tmp_path / "zip.tiff", rgb, tile=(256, 256), compression="zlib")
    with open_slide(tmp_path / "zip.tiff") as slide:
        assert slide.backend == "openslide"
        assert "not JPEG" in slide.reader_note
        np.testing.assert_array_equal(slide.read_region((9, 5), 0, (400, 300)), rgb[5:305, 9:409])


def test_an_ome_tiff_has_the_levels_and_pixel_size_of_its_metadata(tmp_path: Path) -> None:
    rgb = texture(1024, 768)
    path = tmp_path / "slide.ome.tiff"
    metadata = {"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.5}
    options = {"tile": (256, 256), "compression": "jpeg", "photometric": "rgb"}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        tiff.write(rgb, subifds=1, metadata={**metadata, "axes": "YXS"}, **options)
        tiff.write(rgb[::2, ::2], subfiletype=1, **options)
    with open_slide(path) as slide:
        assert slide.level_dimensions == ((1024, 768), (512, 384))
        assert (slide.mpp, slide.mpp_origin, slide.backend) == (0.5, "OME PhysicalSize", "raw-jpeg")
        assert mean_difference(slide.read_region((0, 0), 0, (1024, 768)), rgb) < 4


def test_reading_a_closed_slide_says_so(made_slide: MadeSlide) -> None:
    slide = open_slide(made_slide.path)
    slide.close()
    with pytest.raises(SlideReadError, match="closed"):
        slide.read_region((0, 0), 0, (100, 100))


def test_a_property_of_garbled_name_does_not_cost_the_slide(
    made_slide: MadeSlide, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = OpenSlideBackend(made_slide.path)._slide.properties
    monkeypatch.setattr(type(names), "__iter__", lambda _: iter(["openslide.vendor", "\ufffd"]))
    with open_slide(made_slide.path) as slide:
        assert slide.properties == {"openslide.vendor": "generic-tiff"}
