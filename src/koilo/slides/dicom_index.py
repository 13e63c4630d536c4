"""Find the JPEG tiles of a DICOM slide: a folder of ``.dcm`` files is one slide.

Every frame's own JPEG header is believed before the file's colour tag, so that a file that says RGB
and holds YCbCr comes out in its right colours.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pydicom
from pydicom.dataset import FileDataset

from koilo.errors import SlideOpenError
from koilo.slides.backend import Level, true_downsample
from koilo.slides.jpeg_tiles import Colour, TiledLevel, stream_colour

_JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
_ITEM = struct.pack("<HH", 0xFFFE, 0xE000)
_UNDEFINED = 0xFFFFFFFF
_ASSOCIATED = {"LABEL": "label", "OVERVIEW": "macro", "THUMBNAIL": "thumbnail"}


@dataclass(frozen=True)
class DicomIndex:
    """The files of one DICOM slide: its levels, finest first, and its associated images.

    ``refusal`` says why the tiles cannot be read raw, where they cannot; ``colour_tag_lies`` is
    True where a file's colour tag contradicts its own JPEG frames.
    """

    volume_file: Path
    levels: tuple[TiledLevel, ...]
    associated: dict[str, TiledLevel]
    refusal: str
    colour_tag_lies: bool


@dataclass(frozen=True)
class _Instance:
    """What is needed of one file's header, and where its frames lie (none unless plain JPEG)."""

    path: Path
    series: str
    flavour: str
    size_px: tuple[int, int]
    tile_px: tuple[int, int]
    frames: tuple[tuple[int, int], ...]
    refusal: str
    colour: Colour
    tag_lies: bool


def dicom_files(path: Path) -> list[Path]:
    """The ``.dcm`` files of a folder, or those beside one file, sorted by name."""
    folder = path if path.is_dir() else path.parent
    try:
        names = [at for at in folder.iterdir() if at.suffix.lower() == ".dcm" and at.is_file()]
    except OSError as error:
        raise SlideOpenError(
            f"{folder} cannot be listed: {error.strerror}. A readable folder is needed. "
            "Check its permissions."
        ) from error
    return sorted(names)


def read_dicom_index(path: Path) -> DicomIndex:
    """Index a DICOM folder, or the series that one file belongs to.

    Raises:
        SlideOpenError: no slide image is there, a file is damaged, or two slides share the folder.
    """
    instances = [_read_instance(at) for at in dicom_files(path)]
    if path.is_file():
        own = _read_instance(path)
        instances = [at for at in instances if at.series == own.series] or [own]
    volumes = [at for at in instances if at.flavour == "VOLUME"]
    if not volumes:
        raise SlideOpenError(
            f"{path} holds no DICOM slide: none of its {len(instances)} .dcm files is a VOLUME "
            "image. A folder of one slide's .dcm files is needed. Check the folder."
        )
    if len({at.series for at in volumes}) > 1:
        raise SlideOpenError(
            f"{path} holds several DICOM slides (series). One folder is one slide. Put each "
            "series into a folder of its own."
        )
    return _assemble(volumes, [at for at in instances if at.flavour in _ASSOCIATED])


def _assemble(volumes: Sequence[_Instance], others: Sequence[_Instance]) -> DicomIndex:
    volumes = sorted(volumes, key=lambda at: -at.size_px[0])
    size0 = volumes[0].size_px
    refusal = next((at.refusal for at in volumes if at.refusal), "")
    if len({at.size_px for at in volumes}) < len(volumes):
        refusal = refusal or "two of its files are of one size (planes or parts of a level)"
    return DicomIndex(
        volume_file=volumes[0].path,
        levels=() if refusal else tuple(_tiled(at, size0) for at in volumes),
        associated={
            _ASSOCIATED[at.flavour]: _tiled(at, at.size_px) for at in others if not at.refusal
        },
        refusal=refusal,
        colour_tag_lies=any(at.tag_lies for at in volumes),
    )


def _tiled(instance: _Instance, size0: tuple[int, int]) -> TiledLevel:
    frames = np.asarray(instance.frames, dtype=np.int64)  # (N, 2)
    return TiledLevel(
        level=Level(*instance.size_px, true_downsample(size0, instance.size_px)),
        file=instance.path,
        tile_width_px=instance.tile_px[0],
        tile_height_px=instance.tile_px[1],
        offsets=frames[:, 0],
        lengths=frames[:, 1],
        colour=instance.colour,
    )


def _read_instance(path: Path) -> _Instance:
    try:
        with open(path, "rb") as handle, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd values in tags that are not used here
            header = pydicom.dcmread(handle, stop_before_pixels=True)
            return _instance(path, handle, header)
    except Exception as error:  # damaged headers raise anything, some only when a value is asked
        raise SlideOpenError(
            f"{path} cannot be opened as DICOM: {str(error).rstrip('.') or type(error).__name__}. "
            "Every .dcm file of a slide must be whole. Copy or export the slide again."
        ) from error


def _instance(path: Path, handle: BinaryIO, header: FileDataset) -> _Instance:
    series = str(header.get("SeriesInstanceUID", ""))
    flavour = str([*header.get("ImageType", []), "", "", ""][2]).upper()
    if "TotalPixelMatrixColumns" not in header:
        return _Instance(path, series, "", (1, 1), (1, 1), (), "no slide image", "RGB", False)
    size = (int(header.TotalPixelMatrixColumns), int(header.TotalPixelMatrixRows))
    tile = (int(header.Columns), int(header.Rows))
    if min(*size, *tile) < 1:
        raise ValueError(f"it says {size} pixels in tiles of {tile}")
    refusal = _why_not_raw(header)
    is_jpeg = header.file_meta.get("TransferSyntaxUID", "") == _JPEG_BASELINE
    frames = _frames(handle, int(header.get("NumberOfFrames", 1))) if is_jpeg else ()
    if not refusal and len(frames) != -(-size[0] // tile[0]) * -(-size[1] // tile[1]):
        refusal = "its frames are not one a tile"
    colour, lies = _colour(handle, header, frames)
    return _Instance(path, series, flavour, size, tile, frames, refusal, colour, lies)


def _why_not_raw(header: FileDataset) -> str:
    """Why the tiles of this file cannot be read raw; empty where they can."""
    if header.file_meta.get("TransferSyntaxUID", "") != _JPEG_BASELINE:
        return "its tiles are not baseline JPEG"
    if header.get("DimensionOrganizationType", "") != "TILED_FULL":
        return "its tiles are not in full rows"
    if int(header.get("SamplesPerPixel", 0)) != 3 or int(header.get("BitsAllocated", 0)) != 8:
        return "its tiles are not 8-bit colour"
    if int(header.get("NumberOfOpticalPaths", 1) or 1) > 1:
        return "it has several optical paths"
    if int(header.get("TotalPixelMatrixFocalPlanes", 1) or 1) > 1:
        return "it has several focal planes"
    return "it is one part of a concatenation" if "ConcatenationUID" in header else ""


def _frames(handle: BinaryIO, count: int) -> tuple[tuple[int, int], ...]:
    """``(offset, length)`` of each frame, from the item headers; the file stands at PixelData.

    A file in which frames are split into several items gives more entries than frames, which the
    caller refuses; the offset tables need not be believed.
    """
    tag_and_length = handle.read(12)
    if tag_and_length[:4] != struct.pack("<HH", 0x7FE0, 0x0010):
        raise ValueError("it has no pixel data")
    if struct.unpack("<I", tag_and_length[8:])[0] != _UNDEFINED:
        raise ValueError("its pixel data are not encapsulated")
    _, table_bytes = _item(handle)
    handle.seek(table_bytes, 1)
    frames = []
    for _ in range(count + 1):  # one more than there should be shows that frames are split
        tag, length = _item(handle)
        if tag != _ITEM:
            break
        frames.append((handle.tell(), length))
        handle.seek(length, 1)
    return tuple(frames)


def _item(handle: BinaryIO) -> tuple[bytes, int]:
    head = handle.read(8)
    if len(head) < 8:
        raise ValueError("it is cut short within its pixel data")
    return head[:4], struct.unpack("<I", head[4:])[0]


def _colour(
    handle: BinaryIO, header: FileDataset, frames: tuple[tuple[int, int], ...]
) -> tuple[Colour, bool]:
    """The first frame's true colour space, and whether the file's tag contradicts it."""
    tag: Colour = "RGB" if header.get("PhotometricInterpretation", "") == "RGB" else "YCbCr"
    if not frames:
        return tag, False
    offset, length = frames[0]
    handle.seek(offset)
    data = handle.read(length)
    if len(data) < length:
        raise ValueError("it is cut short within its pixel data")
    try:
        true = stream_colour(data, b"", tag)
    except ValueError:  # a damaged frame is named when it is read
        return tag, False
    return true, true != tag
