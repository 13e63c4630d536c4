"""A small DICOM slide made on the spot: whole, with every attribute that the standard asks for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage, generate_uid

TILE_PX = 256
ROOT = "2.25.77"


def uid(*parts: object) -> str:
    """The same UID for the same parts."""
    return str(generate_uid(prefix="2.25.", entropy_srcs=[str(part) for part in parts]))


def code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def write_dicom_slide(
    folder: Path,
    rgb: NDArray[np.uint8],
    *,
    spacing_mm: float = 0.0005,
    orientation: Sequence[float] = (0.0, 1.0, 0.0, 1.0, 0.0, 0.0),
    origin_mm: tuple[float, float] = (12.5, 31.25),
    levels: int = 2,
    more: dict[str, Any] | None = None,
    label_rgb: NDArray[np.uint8] | None = None,
) -> Path:
    """Write ``rgb`` (H, W, 3) and its halves as one series; ``more`` are further attributes."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = rgb
    for level in range(levels):
        kind = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE" if level == 0 else "RESAMPLED"]
        dataset = _instance(picture, kind, spacing_mm * 2**level, orientation, origin_mm, level)
        _save(folder / f"level-{level}.dcm", dataset, more)
        picture = picture[::2, ::2]
    if label_rgb is not None:
        kind = ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]
        dataset = _instance(label_rgb, kind, 0.01, orientation, origin_mm, 90)
        _save(folder / "label.dcm", dataset, more)
    return folder


def _save(path: Path, dataset: Dataset, more: dict[str, Any] | None) -> None:
    for name, value in (more or {}).items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)


def _instance(
    rgb: NDArray[np.uint8],
    kind: list[str],
    spacing_mm: float,
    orientation: Sequence[float],
    origin_mm: tuple[float, float],
    number: int,
) -> Dataset:
    height, width = rgb.shape[:2]
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.file_meta.MediaStorageSOPClassUID = VLWholeSlideMicroscopyImageStorage
    dataset.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    dataset.SOPInstanceUID = uid("instance", number)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid("study"), uid("series")
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = uid("frame"), "SLIDE_CORNER"
    for name in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID"):
        setattr(dataset, name, "")
    dataset.AccessionNumber = dataset.StudyDate = dataset.StudyTime = ""
    dataset.ReferringPhysicianName = ""
    dataset.ContentDate, dataset.ContentTime = "20240102", "030405"
    dataset.AcquisitionDateTime = "20240102030405"
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "SM", 1, number + 1
    dataset.ImageType = kind
    dataset.Manufacturer, dataset.ManufacturerModelName = "Maker", "Model"
    dataset.DeviceSerialNumber, dataset.SoftwareVersions = "1", "1"
    _add_specimen(dataset)
    _add_pixels(dataset, rgb)
    dataset.TotalPixelMatrixColumns, dataset.TotalPixelMatrixRows = width, height
    dataset.TotalPixelMatrixFocalPlanes = 1
    dataset.ImagedVolumeWidth, dataset.ImagedVolumeHeight = width * spacing_mm, height * spacing_mm
    dataset.ImagedVolumeDepth = 0.001
    dataset.ImageOrientationSlide = list(orientation)
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = origin_mm
    dataset.TotalPixelMatrixOriginSequence = [origin]
    dataset.SharedFunctionalGroupsSequence = [_functional_groups(kind, spacing_mm)]
    return dataset


def _add_specimen(dataset: Dataset) -> None:
    dataset.ContainerIdentifier = "C-1"
    dataset.IssuerOfTheContainerIdentifierSequence = []
    dataset.ContainerTypeCodeSequence = [code("433466003", "SCT", "Microscope slide")]
    specimen = Dataset()
    specimen.SpecimenIdentifier, specimen.SpecimenUID = "S-1", uid("specimen")
    specimen.IssuerOfTheSpecimenIdentifierSequence = []
    specimen.SpecimenPreparationSequence = []
    dataset.SpecimenDescriptionSequence = [specimen]
    dataset.AcquisitionContextSequence = []


def _add_pixels(dataset: Dataset, rgb: NDArray[np.uint8]) -> None:
    height, width = rgb.shape[:2]
    frames = []
    for top in range(0, height, TILE_PX):
        for left in range(0, width, TILE_PX):
            tile = np.full((TILE_PX, TILE_PX, 3), 255, np.uint8)
            part = rgb[top : top + TILE_PX, left : left + TILE_PX]
            tile[: part.shape[0], : part.shape[1]] = part
            frames.append(simplejpeg.encode_jpeg(tile, quality=92, colorsubsampling="422"))
    dataset.Rows = dataset.Columns = TILE_PX
    dataset.NumberOfFrames = len(frames)
    dataset.DimensionOrganizationType = "TILED_FULL"
    organization = Dataset()
    organization.DimensionOrganizationUID = uid("dimensions")
    dataset.DimensionOrganizationSequence = [organization]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "YBR_FULL_422"
    dataset.PlanarConfiguration = dataset.PixelRepresentation = 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.BurnedInAnnotation, dataset.SpecimenLabelInImage = "NO", "NO"
    dataset.LossyImageCompression, dataset.LossyImageCompressionMethod = "01", "ISO_10918_1"
    dataset.LossyImageCompressionRatio = 10
    dataset.VolumetricProperties, dataset.FocusMethod = "VOLUME", "AUTO"
    dataset.ExtendedDepthOfField = "NO"
    path = Dataset()
    path.OpticalPathIdentifier = "1"
    path.IlluminationTypeCodeSequence = [code("111744", "DCM", "Brightfield illumination")]
    path.IlluminationColorCodeSequence = [code("371251000", "SCT", "White color")]
    path.ICCProfile = b"\0" * 4 + b"a profile of the scanner "
    dataset.OpticalPathSequence = [path]
    dataset.NumberOfOpticalPaths = 1
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True


def _functional_groups(kind: list[str], spacing_mm: float) -> Dataset:
    groups, measures, frame, path = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [spacing_mm, spacing_mm], 0.001
    measures.SpacingBetweenSlices = 0.001
    frame.FrameType = kind
    path.OpticalPathIdentifier = "1"
    groups.PixelMeasuresSequence = [measures]
    groups.WholeSlideMicroscopyImageFrameTypeSequence = [frame]
    groups.OpticalPathIdentificationSequence = [path]
    return groups
