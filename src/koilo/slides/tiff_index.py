"""Find the JPEG tiles of a TIFF, SVS or OME-TIFF: its directories are read once, by tifffile."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile

from koilo.slides.backend import FileFacts, Level, true_downsample
from koilo.slides.jpeg_tiles import Colour, TiledLevel, shared_tables, stream_colour
from koilo.slides.pixel_size import judge_mpp, number

_JPEG = 7
_COLOUR_OF_PHOTOMETRIC: dict[int, Colour] = {2: "RGB", 6: "YCbCr"}
_UM_PER_UNIT = {2: 25_400.0, 3: 10_000.0}  # TIFF ResolutionUnit: inch, centimetre
_UM_PER_OME_UNIT = {"µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6}
_PAGES_MOST = 200  # more is a stack of planes, not a slide

# What is wrong with a file reaches the user as one line of ours, not as tifffile's own log lines.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class TiffIndex:
    """The levels of a TIFF whose tiles can be read raw, finest first, and its own facts."""

    levels: tuple[TiledLevel, ...]
    facts: FileFacts


def read_tiff_index(path: Path) -> TiffIndex | str:
    """Index a TIFF's JPEG tiles, or say in words why they cannot be read raw."""
    try:
        with tifffile.TiffFile(path) as tiff:
            if len(tiff.pages) > _PAGES_MOST:
                return f"it has {len(tiff.pages)} pages"
            return _index(path, tiff)
    except Exception as error:  # damaged directories raise anything; OpenSlide then decides
        return f"its directory cannot be read ({type(error).__name__}: {error})"


def _index(path: Path, tiff: tifffile.TiffFile) -> TiffIndex | str:
    first = tiff.pages.first
    if not first.is_tiled:
        return "it is not tiled"
    levels = []
    for page in (first, *(first.pages or ()), *tiff.pages[1:]):
        if not page.is_tiled or not _is_smaller_copy(page, first):
            continue
        tiled = _tiled_level(path, tiff, page, first)
        if isinstance(tiled, str):
            return tiled
        levels.append(tiled)
    levels.sort(key=lambda at: at.level.downsample)
    if tiff.is_svs and any((at.lengths == 0).any() for at in levels):
        return "tiles are missing, which Aperio fills from other levels"
    return TiffIndex(tuple(levels), _facts(tiff, first))


def _is_smaller_copy(page: tifffile.TiffPage, first: tifffile.TiffPage) -> bool:
    """True for page 0 and for pages of the same shape: a map or a second scene is no level."""
    if page is first:
        return True
    width, height = page.imagewidth, page.imagelength
    ratio = first.imagewidth / width
    same_shape = abs(first.imagelength / ratio - height) <= 1 + 1 / ratio
    return bool(ratio > 1 and same_shape)


def _tiled_level(
    path: Path, tiff: tifffile.TiffFile, page: tifffile.TiffPage, first: tifffile.TiffPage
) -> TiledLevel | str:
    colour = _COLOUR_OF_PHOTOMETRIC.get(int(page.photometric))
    if int(page.compression) != _JPEG:
        return f"its tiles are {page.compression.name}, not JPEG"
    if colour is None or page.samplesperpixel != 3 or page.bitspersample != 8:
        return "its tiles are not 8-bit colour"
    if int(page.planarconfig) != 1 or page.imagedepth != 1:
        return "its colour planes are apart"
    offsets = np.asarray(page.dataoffsets, dtype=np.int64)
    lengths = np.asarray(page.databytecounts, dtype=np.int64)
    size0 = (first.imagewidth, first.imagelength)
    size = (page.imagewidth, page.imagelength)
    level = Level(*size, true_downsample(size0, size))
    tables = shared_tables(page.jpegtables)
    tiled = TiledLevel(
        level, path, page.tilewidth, page.tilelength, offsets, lengths, colour, tables
    )
    if len(offsets) != tiled.columns * tiled.rows or len(lengths) != len(offsets):
        return "its directory names a wrong number of tiles"
    true_colour = _colour_of_first_tile(tiff, tiled)
    if true_colour == colour:
        return tiled
    return TiledLevel(
        level, path, page.tilewidth, page.tilelength, offsets, lengths, true_colour, tables
    )


def _colour_of_first_tile(tiff: tifffile.TiffFile, tiled: TiledLevel) -> Colour:
    present = np.flatnonzero(tiled.lengths)
    if present.size == 0:
        return tiled.colour
    tiff.filehandle.seek(int(tiled.offsets[present[0]]))
    data = tiff.filehandle.read(int(tiled.lengths[present[0]]))
    try:
        return stream_colour(data, tiled.tables, tiled.colour)
    except ValueError:  # a damaged tile is named when it is read
        return tiled.colour


def _facts(tiff: tifffile.TiffFile, first: tifffile.TiffPage) -> FileFacts:
    """What the directories say; OpenSlide's word is taken instead where it knows the vendor."""
    properties = {"tiff.ImageDescription": first.description} if first.description else {}
    whole = (0, 0, first.imagewidth, first.imagelength)
    if tiff.is_ome and tiff.ome_metadata:
        mpp, origin = _ome_mpp(tiff.ome_metadata)
        power, power_origin = _ome_objective(tiff.ome_metadata)
        return FileFacts(
            format="ome-tiff",
            vendor="ome",
            mpp=mpp,
            mpp_origin=origin,
            objective=power,
            objective_origin=power_origin,
            bounds_px0=whole,
            properties=properties,
        )
    mpp, origin = _tag_mpp(first)
    return FileFacts("tiff", None, mpp, origin, bounds_px0=whole, properties=properties)


def _tag_mpp(page: tifffile.TiffPage) -> tuple[float | None, str]:
    x_per_unit, y_per_unit = page.resolution
    um_per_unit = _UM_PER_UNIT.get(int(page.resolutionunit))
    if um_per_unit is None or x_per_unit <= 0 or y_per_unit <= 0:
        return None, "the file names no pixel size"
    return judge_mpp(um_per_unit / x_per_unit, um_per_unit / y_per_unit, "TIFF resolution tags")


def _ome_mpp(xml: str) -> tuple[float | None, str]:
    pixels = ElementTree.fromstring(xml).find(".//{*}Pixels")
    sizes = []
    for axis in ("X", "Y"):
        value = number(None if pixels is None else pixels.get(f"PhysicalSize{axis}"))
        unit = "µm" if pixels is None else pixels.get(f"PhysicalSize{axis}Unit", "µm")
        if value is None or unit not in _UM_PER_OME_UNIT:
            return None, "its OME metadata name no pixel size"
        sizes.append(value * _UM_PER_OME_UNIT[unit])
    return judge_mpp(sizes[0], sizes[1], "OME PhysicalSize")


def _ome_objective(xml: str) -> tuple[float | None, str]:
    objective = ElementTree.fromstring(xml).find(".//{*}Objective")
    power = number(None if objective is None else objective.get("NominalMagnification"))
    if power is None:
        return None, "the file names no objective"
    return power, "OME NominalMagnification"
