"""sr.dcm: the most suspicious cells as a DICOM structured report (TID 1500)."""

from __future__ import annotations

from typing import Any

import highdicom as hd
import numpy as np
from pydicom.sr.codedict import codes
from pydicom.uid import VLWholeSlideMicroscopyImageStorage

from koilo.export.dicom_object import (
    CELL,
    NO_UNIT,
    PROBABILITY,
    corners_px0,
    device_uid,
    own_code,
    quiet,
    series,
)
from koilo.export.dicom_source import DicomSource
from koilo.export.record import Record
from koilo.taxonomy import NEGATIVE
from koilo.types import Cell

MOST_CELLS = 48
"""As many as the report pictures; annotations.dcm holds them all."""


def build_report(record: Record, source: DicomSource) -> hd.sr.Comprehensive3DSR:
    """The slide's probability and its most suspicious cells, each with its region.

    Partial, unverified and preliminary unless a reader signed. There is no DICOM template for the
    Bethesda System: the interpretation is in FHIR, HL7 and the PDF.
    """
    cells = sorted(record.result.cells, key=_suspicion, reverse=True)[:MOST_CELLS]
    with quiet():
        groups = [_slide_group(record, source)]
        groups += [_cell_group(n, cell, record, source) for n, cell in enumerate(cells, start=1)]
        content = hd.sr.MeasurementReport(
            observation_context=_context(record),
            procedure_reported=own_code("CYTOSCREEN", "Screening of a cervical cytology slide"),
            imaging_measurements=groups,
            title=codes.DCM.ImagingMeasurementReport,
            referenced_images=[source.header],
        )
        final = record.status != "preliminary"
        return hd.sr.Comprehensive3DSR(
            evidence=[source.header],
            content=content[0],
            is_complete=final,
            is_final=final,
            **_verified(record),
            **series(record, 9102, "measurements of cells"),
        )


def _verified(record: Record) -> dict[str, Any]:
    """Who verified it, which the standard takes only with the laboratory's name."""
    if record.status == "preliminary" or record.signature is None or not record.laboratory.name:
        return {}
    return {
        "is_verified": True,
        "verifying_observer_name": record.signature.reader.replace("^", " ").replace("=", " "),
        "verifying_organization": record.laboratory.name[:64],
    }


def _context(record: Record) -> hd.sr.ObservationContext:
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=device_uid(record),
        name="koilo",
        manufacturer_name="koilo",
        model_name=f"koilo {record.software}, bundle {record.bundle}"[:64],
        serial_number=record.bundle_sha256[:16] or None,
    )
    return hd.sr.ObservationContext(
        observer_device_context=hd.sr.ObserverContext(
            observer_type=codes.DCM.Device, observer_identifying_attributes=device
        )
    )


def _algorithm(record: Record) -> hd.sr.AlgorithmIdentification:
    return hd.sr.AlgorithmIdentification(
        name="koilo",
        version=record.software,
        parameters=[f"bundle {record.bundle} {record.bundle_sha256[:16]}".strip()],
    )


def _slide_group(
    record: Record, source: DicomSource
) -> hd.sr.MeasurementsAndQualitativeEvaluations:
    """What the program says of the slide as a whole."""
    values = {"any class but NILM": record.result.p_positive, **record.result.probabilities}
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(hd.UID(), "slide"),
        finding_type=own_code("SLIDE", "Whole slide"),
        algorithm_id=_algorithm(record),
        measurements=[
            hd.sr.Measurement(
                name=own_code(f"P_{name}".replace(" ", "_"), f"Probability of {name}"),
                value=round(float(value), 6),
                unit=NO_UNIT,
            )
            for name, value in values.items()
            if value is not None
        ],
        source_images=[
            hd.sr.SourceImageForMeasurementGroup(
                VLWholeSlideMicroscopyImageStorage, source.header.SOPInstanceUID
            )
        ],
    )


def _cell_group(
    number: int, cell: Cell, record: Record, source: DicomSource
) -> hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    measures = [("DETECTOR", "Detector score", cell.detector_score)]
    measurements = [
        hd.sr.Measurement(own_code(value, meaning), round(float(number_), 6), NO_UNIT)
        for value, meaning, number_ in measures
    ]
    p_label = cell.probabilities.get(cell.label)
    if p_label is not None:
        measurements.append(hd.sr.Measurement(PROBABILITY, round(float(p_label), 6), NO_UNIT))
    return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(hd.UID(), f"cell {number}"),
        referenced_region=_region(cell, source),
        finding_type=CELL,
        algorithm_id=_algorithm(record),
        measurements=measurements,
        qualitative_evaluations=[
            hd.sr.QualitativeEvaluation(
                own_code("LIKELIEST", "Likeliest class of the cell"),
                own_code(cell.label, f"{cell.label} (suggested by the program)"),
            )
        ],
    )


def _region(cell: Cell, source: DicomSource) -> hd.sr.ImageRegion | hd.sr.ImageRegion3D:
    corners = corners_px0(cell)
    closed = np.vstack([corners, corners[:1]])  # (5, 2)
    if source.in_slide_coordinates:
        return hd.sr.ImageRegion3D(
            graphic_type="POLYGON",
            graphic_data=source.to_mm(closed),
            frame_of_reference_uid=source.header.FrameOfReferenceUID,
        )
    return hd.sr.ImageRegion(
        graphic_type="POLYLINE",
        graphic_data=closed,
        source_image=hd.sr.SourceImageForRegion(
            VLWholeSlideMicroscopyImageStorage, source.header.SOPInstanceUID
        ),
        pixel_origin_interpretation="VOLUME",
    )


def _suspicion(cell: Cell) -> tuple[float, float]:
    negative = cell.probabilities.get(NEGATIVE)
    return cell.detector_score if negative is None else 1 - negative, cell.detector_score
