"""The verb deidentify: a copy of a slide that holds its main image and what is needed to read it.

Nothing is struck out of the old file: a new one is written of what is known to be harmless. Label
and macro images, names, dates and private data never reach it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from koilo.errors import OutputError, SlideError, SlideOpenError
from koilo.files import output_errors
from koilo.progress import log
from koilo.slides.slide import open_slide

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
KINDS = ("aperio", "generic-tiff")
CANNOT_SEE = (
    "Text within the main image (writing on the glass that was scanned, a name in the picture) "
    "cannot be seen by this program: look at the copy before you give it away."
)


@dataclass(frozen=True)
class DeidentifyConfig:
    """Which slide is copied, and where to."""

    slide: Path = field(metadata={"positional": "one"})
    """an SVS or tiled TIFF file, or a folder of one DICOM series"""
    out: Path = field(metadata={"result": False})
    """the new file; for DICOM the new folder"""


def deidentify(config: DeidentifyConfig) -> int:
    """Copy a slide without label and macro images, names, dates and private data.

    Kept are the pyramid's tiles, their sizes and colours' encoding, pixel size and magnification.
    Colour profiles are left out: they carry dates and serial numbers of the scanner.

    Returns:
        exit status: 0, or 1 where the slide cannot be copied.

    Raises:
        OutputError: something stands at ``config.out`` already, or it cannot be written.
    """
    if config.out.exists():
        raise OutputError(
            f"{config.out} exists already. A copy never replaces anything. Choose another --out."
        )
    try:
        left_out = _copy(config.slide, config.out)
        with open_slide(config.out) as copy:
            width, height = copy.dimensions
    except SlideError as error:
        log.error("%s", error)
        return 1
    for what in left_out:
        log.info("left out: %s", what)
    log.info("%s: %d x %d pixels", config.out, width, height)
    log.warning("%s", CANNOT_SEE)
    return 0


def _copy(path: Path, out: Path) -> tuple[str, ...]:
    """Write the copy; gives what was left out, in words."""
    if path.is_dir() or _head(path)[128:132] == b"DICM":
        from koilo.slides.deidentify_dicom import copy_dicom

        return copy_dicom(path, out)
    kind = _kind(path)
    if kind not in KINDS:
        raise SlideOpenError(
            f"{path} is {kind or 'no format that is known here'}. SVS, plain tiled TIFF and DICOM "
            "series can be de-identified. Convert it to one of these first."
        )
    from koilo.slides.deidentify_tiff import copy_tiff

    return copy_tiff(path, out, kind)


def _head(path: Path) -> bytes:
    try:
        with open(path, "rb") as handle:
            return handle.read(132)
    except OSError as error:
        raise SlideOpenError(
            f"{path} cannot be opened: {error.strerror}. A readable file or DICOM folder is "
            "needed. Check the path and its permissions."
        ) from error


def _kind(path: Path) -> str | None:
    """OpenSlide's name of the format; plain TIFFs that it does not know are generic, too."""
    import openslide

    with output_errors(path):
        found = openslide.OpenSlide.detect_format(path)
    if found is None and _head(path).startswith(_TIFF_MAGIC):
        return "generic-tiff"
    return str(found) if found else None
