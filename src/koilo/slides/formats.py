"""Choose the reader for a path by what the file is, not by its name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from koilo.errors import SlideOpenError
from koilo.slides.backend import FileFacts, SlideBackend
from koilo.slides.openslide_backend import OpenSlideBackend
from koilo.slides.plain_image import PlainImageBackend
from koilo.slides.raw_tiles import RawTilesBackend
from koilo.slides.tiff_index import TiffIndex, read_tiff_index

_PLAIN_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM")
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_RAW_VENDORS = ("aperio", "generic-tiff")
"""Vendors whose levels are plain grids of tiles. Others overlap, shift or pad theirs: OpenSlide."""


def open_backend(path: Path) -> SlideBackend:
    """Open ``path`` with the fastest reader that reads it right.

    Raises:
        SlideOpenError: missing, empty, damaged, or of no format known here.
    """
    if path.is_dir():
        return _open_dicom(path)
    head = _head(path)
    if head.startswith(_TIFF_MAGIC):
        return _open_tiff(path)
    if head[128:132] == b"DICM":
        return _open_dicom(path)
    if head.startswith(_PLAIN_MAGIC) and path.suffix.lower() != ".mrxs":  # MRXS begins as a JPEG
        return PlainImageBackend(path)
    return OpenSlideBackend(path)


def _open_tiff(path: Path) -> SlideBackend:
    """Raw tiles where OpenSlide agrees on the levels, or cannot open it; else OpenSlide.

    A TIFF without tiles, which neither reads, is a plain image.
    """
    index = read_tiff_index(path)
    try:
        reference = OpenSlideBackend(path)
    except SlideOpenError:
        if isinstance(index, TiffIndex):
            return RawTilesBackend(path, index.levels, index.facts)
        if index == "it is not tiled":
            return PlainImageBackend(path)
        raise
    note = _why_not_raw(index, reference)
    if note or isinstance(index, str):
        reference.facts = replace(reference.facts, reader_note=note)
        return reference
    try:
        facts = _merged_facts(reference.facts, index.facts)
        return RawTilesBackend(path, index.levels, facts, reference)
    except SlideOpenError:
        reference.close()
        raise


def _why_not_raw(index: TiffIndex | str, reference: OpenSlideBackend) -> str:
    if isinstance(index, str):
        return index
    if reference.facts.vendor not in _RAW_VENDORS:
        return f"{reference.facts.vendor} tiles may overlap or be padded"
    found = {(at.level.width_px, at.level.height_px) for at in index.levels}
    wanted = {(at.width_px, at.height_px) for at in reference.levels}
    return "" if wanted <= found else "OpenSlide finds levels that the directory does not show"


def _merged_facts(openslide: FileFacts, tiff: FileFacts) -> FileFacts:
    """OpenSlide's facts; OME metadata, which it does not read, come first where there are any."""
    if tiff.vendor != "ome":
        return openslide
    return replace(tiff, properties={**openslide.properties, **tiff.properties})


def _open_dicom(path: Path) -> SlideBackend:
    """Raw tiles where the DICOM is plain JPEG; else OpenSlide, if its colours come out true."""
    from koilo.slides.dicom_index import dicom_files, read_dicom_index

    if path.is_dir() and not dicom_files(path):
        raise SlideOpenError(
            f"{path} is a folder without .dcm files. A slide file or a DICOM folder is needed. "
            "Name the slide itself."
        )
    index = read_dicom_index(path)
    reference = OpenSlideBackend(index.volume_file)
    sizes = tuple((at.level.width_px, at.level.height_px) for at in index.levels)
    if sizes == tuple((at.width_px, at.height_px) for at in reference.levels):
        lies = "its colour tag is wrong: the JPEG tiles' own was believed"
        facts = replace(reference.facts, reader_note=lies if index.colour_tag_lies else "")
        return RawTilesBackend(path, index.levels, facts, reference, index.associated)
    note = index.refusal or "OpenSlide finds other levels"
    if index.colour_tag_lies:
        reference.close()
        raise SlideOpenError(
            f"{path}: its colour tag contradicts its JPEG tiles, and {note}. Colours would come "
            "out false. Correct PhotometricInterpretation, or export it again."
        )
    reference.facts = replace(reference.facts, reader_note=note)
    return reference


def _head(path: Path) -> bytes:
    try:
        with open(path, "rb") as handle:
            head = handle.read(256)
    except OSError as error:
        raise SlideOpenError(
            f"{path} cannot be opened: {error.strerror}. A readable file or DICOM folder is "
            "needed. Check the path and its permissions."
        ) from error
    if not head:
        raise SlideOpenError(f"{path} is empty (0 bytes). A whole file is needed. Copy it again.")
    return head
