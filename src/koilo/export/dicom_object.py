"""What every DICOM object of koilo has in common: who made it, by what, with which codes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID

from koilo.export.record import Record
from koilo.files import atomic_path
from koilo.types import Cell

MANUFACTURER = "koilo"
CELL = codes.SCT.Cell
ABNORMAL = codes.SCT.MorphologicallyAbnormalStructure
PROBABILITY = Code("122157", "DCM", "Probability")
NO_UNIT = codes.UCUM.NoUnits
_SCHEME = "99KOILO"


def own_code(value: str, meaning: str) -> Code:
    """A code of koilo's own scheme, where no public one was found."""
    return Code(value[:16], _SCHEME, meaning[:64])


def corners_px0(cell: Cell) -> NDArray[np.float64]:
    """The corners (4, 2) of a cell's box as column, row in level-0 pixels, clockwise."""
    x0, y0 = cell.x_px0, cell.y_px0
    x1, y1 = x0 + cell.w_px0, y0 + cell.h_px0
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float64)


def algorithm(record: Record) -> hd.AlgorithmIdentificationSequence:
    """The program and the bundle that found what is written down."""
    return hd.AlgorithmIdentificationSequence(
        name="koilo",
        family=codes.DCM.ArtificialIntelligence,
        version=record.software,
        source="koilo",
        parameters={"bundle": record.bundle, "sha256": record.bundle_sha256[:16]},
    )


def series(record: Record, number: int, kind: str) -> dict[str, Any]:
    """Keywords of an object's own series and its equipment."""
    return {
        "series_instance_uid": hd.UID(),
        "series_number": number,
        "sop_instance_uid": hd.UID(),
        "instance_number": 1,
        "manufacturer": MANUFACTURER,
        "series_description": description(record, kind),
    }


def equipment(record: Record) -> dict[str, Any]:
    """Keywords of the equipment of annotations and segmentations, which must be named in full."""
    return {
        "manufacturer_model_name": "koilo",
        "software_versions": record.software,
        "device_serial_number": record.bundle_sha256[:16] or record.bundle,
        "content_creator_name": None,
    }


def description(record: Record, kind: str) -> str:
    """One line that says what it is and how far it can be trusted; 64 characters at most."""
    test = "TEST DATA. " if record.test_data else ""
    state = "Preliminary. " if record.status == "preliminary" else ""
    return f"{test}{state}koilo {kind}"[:64]


def device_uid(record: Record) -> UID:
    """The same UID for all results of one bundle."""
    digest = int(record.bundle_sha256[:31] or "0", 16)
    return UID(f"2.25.{digest}")


def write_dicom(path: Path, dataset: Any) -> None:
    """Write a DICOM file, which also says whose codes koilo's own are."""
    scheme = Dataset()
    scheme.CodingSchemeDesignator = _SCHEME
    scheme.CodingSchemeName = "koilo"
    scheme.CodingSchemeResponsibleOrganization = MANUFACTURER
    dataset.CodingSchemeIdentificationSequence = [scheme]
    with atomic_path(path) as temporary, quiet():
        dataset.save_as(temporary, enforce_file_format=True)


@contextmanager
def quiet() -> Iterator[None]:
    """Odd values of the source are copied as they are, without a warning for each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
