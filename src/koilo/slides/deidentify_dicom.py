"""Write a DICOM series anew with its pyramid alone: known attributes, new UIDs, dummy dates."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEGBaseline8Bit, generate_uid

from koilo.errors import SlideOpenError
from koilo.files import ensure_folder, output_errors
from koilo.slides.dicom_index import dicom_files, read_dicom_index
from koilo.slides.jpeg_comments import without_comments

DUMMY = "DEIDENTIFIED"
_DATE, _TIME = "19000101", "000000"
_METHOD = "koilo: written anew of known attributes, main image only"
_STANDARD_UIDS = "1.2.840.10008."

_NAMES = """
SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID PyramidUID
DimensionOrganizationUID Modality ImageType InstanceNumber SeriesNumber FrameType
PositionReferenceIndicator VolumetricProperties FocusMethod ExtendedDepthOfField SamplesPerPixel
PhotometricInterpretation PlanarConfiguration NumberOfFrames Rows Columns BitsAllocated
BitsStored HighBit PixelRepresentation BurnedInAnnotation LossyImageCompression
LossyImageCompressionRatio LossyImageCompressionMethod RepresentativeFrameNumber
ImagedVolumeWidth ImagedVolumeHeight ImagedVolumeDepth TotalPixelMatrixColumns
TotalPixelMatrixRows TotalPixelMatrixFocalPlanes TotalPixelMatrixOriginSequence
XOffsetInSlideCoordinateSystem YOffsetInSlideCoordinateSystem ZOffsetInSlideCoordinateSystem
ImageOrientationSlide NumberOfOpticalPaths OpticalPathSequence OpticalPathIdentifier
IlluminationTypeCodeSequence IlluminationColorCodeSequence IlluminationWaveLength
ObjectiveLensPower ObjectiveLensNumericalAperture CondenserLensPower CodeValue
CodingSchemeDesignator CodeMeaning DimensionOrganizationType DimensionOrganizationSequence
DimensionIndexSequence DimensionIndexPointer FunctionalGroupPointer
SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence PixelMeasuresSequence
PixelSpacing SliceThickness SpacingBetweenSlices WholeSlideMicroscopyImageFrameTypeSequence
OpticalPathIdentificationSequence PlanePositionSlideSequence
ColumnPositionInTotalImagePixelMatrix RowPositionInTotalImagePixelMatrix FrameContentSequence
DimensionIndexValues
"""
_KEPT = frozenset(_NAMES.split())
"""Numbers, codes and identifiers without which the image cannot be read or placed."""


def copy_dicom(path: Path, out: Path) -> tuple[str, ...]:
    """Copy the VOLUME images of a series into the new folder ``out``; gives what was left out.

    Raises:
        SlideOpenError: there is no DICOM slide, or a file of it is damaged.
        OutputError: ``out`` cannot be written.
    """
    volume = read_dicom_index(path).volume_file
    series = _read(volume, pixels=False).SeriesInstanceUID
    headers = {file: _read(file, pixels=False) for file in dicom_files(path)}
    levels = [
        file
        for file, header in headers.items()
        if header.get("SeriesInstanceUID") == series and _flavour(header) == "VOLUME"
    ]
    levels.sort(key=lambda file: -int(headers[file].TotalPixelMatrixColumns))
    dropped = _write(levels, out)
    images = [
        f"an image ({_flavour(header) or 'no slide image'})"
        for file, header in headers.items()
        if file not in levels
    ]
    return (*images, f"{len(dropped)} attributes: {', '.join(sorted(dropped))}")


def _write(levels: Sequence[Path], out: Path) -> set[str]:
    """Write all levels or none; gives the names of the attributes that were left out."""
    uids: dict[str, str] = {}
    dropped: set[str] = set()
    unfinished = out.with_name(f".{out.name}.part")
    try:
        ensure_folder(unfinished)
        for number, file in enumerate(levels):
            copy = _anew(_read(file, pixels=True), uids, dropped)
            with output_errors(out), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                copy.save_as(unfinished / f"level-{number}.dcm", enforce_file_format=True)
        with output_errors(out):
            unfinished.rename(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return dropped


def _read(path: Path, *, pixels: bool) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd values: what is kept is checked when it is read
        try:
            return pydicom.dcmread(path, stop_before_pixels=not pixels)
        except Exception as error:  # damaged files raise anything
            raise SlideOpenError(
                f"{path} cannot be read as DICOM ({error}). Copy or export the slide again."
            ) from error


def _flavour(header: Dataset) -> str:
    return str([*header.get("ImageType", []), "", "", ""][2])


def _anew(source: Dataset, uids: dict[str, str], dropped: set[str]) -> Dataset:
    """A new data set of what is known; ``uids`` maps old identifiers to new ones."""

    def renewed(uid: str) -> str:
        if uid.startswith(_STANDARD_UIDS):
            return uid
        return uids.setdefault(uid, str(generate_uid(prefix="2.25.")))

    copy = _filtered(source, renewed, dropped)
    syntax = source.file_meta.TransferSyntaxUID
    copy.file_meta = FileMetaDataset()
    copy.file_meta.TransferSyntaxUID = syntax
    copy.file_meta.MediaStorageSOPClassUID = copy.SOPClassUID
    copy.file_meta.MediaStorageSOPInstanceUID = copy.SOPInstanceUID
    _add_dummies(copy)
    pixels = source.PixelData
    if syntax == JPEGBaseline8Bit:
        frames = generate_frames(pixels, number_of_frames=int(source.get("NumberOfFrames", 1)))
        pixels = encapsulate([without_comments(frame) for frame in frames])
    elif "ExtendedOffsetTable" in source:
        copy.ExtendedOffsetTable = source.ExtendedOffsetTable
        copy.ExtendedOffsetTableLengths = source.ExtendedOffsetTableLengths
    copy.PixelData = pixels
    copy["PixelData"].VR = source["PixelData"].VR
    copy["PixelData"].is_undefined_length = syntax.is_encapsulated
    return copy


def _filtered(source: Dataset, renewed: Callable[[str], str], dropped: set[str]) -> Dataset:
    """The known attributes of ``source`` and of the items of its known sequences."""
    copy = Dataset()
    for element in source:
        name = element.keyword
        if name == "PixelData":
            continue
        if name not in _KEPT or element.tag.is_private:
            dropped.add(name or str(element.tag))
        elif element.VR == "SQ":
            setattr(copy, name, [_filtered(item, renewed, dropped) for item in element.value])
        else:
            setattr(copy, name, _value(element, renewed))
    return copy


def _value(element: Any, renewed: Callable[[str], str]) -> Any:
    if element.VR != "UI" or not element.value:
        return element.value
    if isinstance(element.value, str):
        return renewed(str(element.value))
    return [renewed(str(uid)) for uid in element.value]


def _add_dummies(copy: Dataset) -> None:
    """What the standard wants to be there, without a content."""
    copy.SpecificCharacterSet = "ISO_IR 192"
    if copy.get("PositionReferenceIndicator") != "SLIDE_CORNER":
        copy.PositionReferenceIndicator = ""
    for name in (
        *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "ReferringPhysicianName"),
        *("AccessionNumber", "StudyID", "StudyDate", "StudyTime"),
    ):
        setattr(copy, name, "")
    copy.PatientIdentityRemoved = "YES"
    copy.DeidentificationMethod = _METHOD
    copy.ContentDate, copy.ContentTime = _DATE, _TIME
    copy.AcquisitionDateTime = _DATE + _TIME
    for name in ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions"):
        setattr(copy, name, DUMMY)
    copy.SpecimenLabelInImage = "NO"
    copy.ContainerIdentifier = DUMMY
    copy.IssuerOfTheContainerIdentifierSequence = []
    copy.ContainerTypeCodeSequence = []
    copy.AcquisitionContextSequence = []
    specimen = Dataset()
    specimen.SpecimenIdentifier = DUMMY
    specimen.SpecimenUID = generate_uid(prefix="2.25.")
    specimen.IssuerOfTheSpecimenIdentifierSequence = []
    specimen.SpecimenPreparationSequence = []
    copy.SpecimenDescriptionSequence = [specimen]
