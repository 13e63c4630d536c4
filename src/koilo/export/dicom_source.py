"""The DICOM image that a result was read from: what an export must refer to, and where it lies."""

from __future__ import annotations

import copy
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import VLWholeSlideMicroscopyImageStorage

from koilo.errors import SlideOpenError
from koilo.slides.dicom_index import dicom_files, read_dicom_index
from koilo.types import SlideResult

_IDENTITY = (
    *("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID"),
    *("SOPInstanceUID", "FrameOfReferenceUID"),
)
"""Without these there is nothing to refer to; they are never invented."""
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime"),
)


@dataclass(frozen=True)
class DicomSource:
    """Level 0 of a DICOM slide.

    ``header`` has no pixels and every attribute that an export copies; ``filled`` names those that
    the file lacks and that stand empty here. ``positions_known`` is False where the file does not
    say where its first pixel lies; then 0, 0 is taken, in the file's own frame of reference.
    ``shared_frame``: all levels lie in one frame of reference.
    """

    header: Dataset
    filled: tuple[str, ...]
    positions_known: bool
    shared_frame: bool

    @property
    def in_slide_coordinates(self) -> bool:
        """True where millimetres on the glass mean the same at every level."""
        return self.positions_known and self.shared_frame

    @property
    def size_px0(self) -> tuple[int, int]:
        """Width and height of level 0."""
        return int(self.header.TotalPixelMatrixColumns), int(self.header.TotalPixelMatrixRows)

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """Millimetres from row to row and from column to column."""
        measures = self.header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        row, column = measures.PixelSpacing
        return float(row), float(column)

    @property
    def orientation(self) -> tuple[float, ...]:
        """Direction cosines of a row, then of a column: six numbers."""
        return tuple(float(value) for value in self.header.ImageOrientationSlide)

    @property
    def origin_mm(self) -> tuple[float, float, float]:
        """Where the centre of the first pixel lies."""
        item = self.header.TotalPixelMatrixOriginSequence[0]
        return (
            float(item.XOffsetInSlideCoordinateSystem),
            float(item.YOffsetInSlideCoordinateSystem),
            float(item.get("ZOffsetInSlideCoordinateSystem") or 0.0),
        )

    def to_mm(self, points_px0: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Millimetres (N, 3) of points (N, 2) as column, row, counted from the first corner."""
        from highdicom.spatial import ImageToReferenceTransformer

        transform = ImageToReferenceTransformer(self.origin_mm, self.orientation, self.spacing_mm)
        return np.asarray(transform(np.asarray(points_px0, np.float64)), np.float64)


def read_source(result: SlideResult) -> DicomSource:
    """Find the image that ``result`` was read from.

    Raises:
        SlideOpenError: it is gone, changed, no DICOM slide, or lacks what a reference needs.
    """
    path = Path(result.path)
    _check_is_dicom(path, result.slide_id)
    index = read_dicom_index(path)
    header = _read_header(index.volume_file)
    missing = [name for name in _IDENTITY if not header.get(name)]
    if missing or header.SOPClassUID != VLWholeSlideMicroscopyImageStorage:
        what = f"lacks {', '.join(missing)}" if missing else "is no whole-slide image"
        raise SlideOpenError(
            f"{index.volume_file} {what}. A DICOM result refers to its image by these, and they "
            "are never invented. Export the slide from the scanner again."
        )
    if "ConcatenationUID" in header:
        raise SlideOpenError(
            f"{path} holds a level in several parts (a concatenation). A result refers to one "
            "image. Have the parts joined and screen the slide again."
        )
    _check_geometry(index.volume_file, header, result)
    filled, positions_known = _fill(header)
    return DicomSource(header, filled, positions_known, _shares_frame(path, header))


def _check_is_dicom(path: Path, slide_id: str) -> None:
    if not path.exists():
        raise SlideOpenError(
            f"The file of {slide_id} is no longer at {path}, and a DICOM result refers to its "
            "image. Put it back, or screen it where it is now into the same folder: an unchanged "
            "slide is not read again."
        )
    if path.is_dir():
        is_dicom = bool(dicom_files(path))
    else:
        with open(path, "rb") as handle:
            is_dicom = handle.read(132)[128:] == b"DICM"
    if not is_dicom:
        raise SlideOpenError(
            f"{path} is no DICOM slide, and a DICOM result refers to DICOM images. Convert the "
            "slide to DICOM first (wsidicomizer does), screen the converted one, and export that."
        )


def _read_header(path: Path) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd values in tags that are not used here
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
            return copy.deepcopy(header)
        except Exception as error:  # damaged headers raise anything
            raise SlideOpenError(
                f"{path} cannot be read as DICOM ({error}). Copy the slide again."
            ) from error


def _check_geometry(path: Path, header: Dataset, result: SlideResult) -> None:
    size = [int(header.TotalPixelMatrixColumns), int(header.TotalPixelMatrixRows)]
    if size != list(result.slide.get("dimensions", size)):
        raise SlideOpenError(
            f"{path} is {size[0]} x {size[1]} pixels, and {result.slide_id} was read from another "
            "image. Coordinates would point beside the cells. Screen the slide again."
        )
    try:
        measures = header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        numbers = [*map(float, measures.PixelSpacing), *map(float, header.ImageOrientationSlide)]
        if len(numbers) != 8 or not all(map(math.isfinite, numbers)) or min(numbers[:2]) <= 0:
            raise ValueError("they are no eight numbers")
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise SlideOpenError(
            f"{path} does not say its pixel spacing and orientation ({error}). Coordinates need "
            "both. Export the slide from the scanner again."
        ) from error


def _fill(header: Dataset) -> tuple[tuple[str, ...], bool]:
    """Give the header empty values for what it lacks: their names, and whether its place is known.

    Only in this copy: the file stays as it is.
    """
    filled = [name for name in _MAY_BE_EMPTY if name not in header]
    for name in filled:
        setattr(header, name, "")
    header.SpecificCharacterSet = header.get("SpecificCharacterSet") or "ISO_IR 192"
    if header.get("TotalPixelMatrixOriginSequence"):
        return tuple(filled), True
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem = 0
    origin.YOffsetInSlideCoordinateSystem = 0
    header.TotalPixelMatrixOriginSequence = [origin]
    return (*filled, "TotalPixelMatrixOriginSequence"), False


def _shares_frame(path: Path, level0: Dataset) -> bool:
    """Whether all levels of the slide name one frame of reference."""
    for file in dicom_files(path):
        header = _read_header(file)
        flavour = [*header.get("ImageType", []), "", "", ""][2]
        if header.get("SeriesInstanceUID") != level0.SeriesInstanceUID or flavour != "VOLUME":
            continue
        if header.get("FrameOfReferenceUID") != level0.FrameOfReferenceUID:
            return False
    return True
