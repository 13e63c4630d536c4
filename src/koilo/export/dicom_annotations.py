"""annotations.dcm: all kept cells as Microscopy Bulk Simple Annotations, one group a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import highdicom as hd
import numpy as np

from koilo.export.dicom_object import (
    ABNORMAL,
    CELL,
    NO_UNIT,
    PROBABILITY,
    algorithm,
    corners_px0,
    description,
    equipment,
    own_code,
    quiet,
    series,
)
from koilo.export.dicom_source import DicomSource
from koilo.export.record import Record
from koilo.results import class_colour
from koilo.taxonomy import severity
from koilo.types import Cell


def build_annotations(
    record: Record, source: DicomSource
) -> hd.ann.MicroscopyBulkSimpleAnnotations:
    """All cells of ``record`` as boxes.

    In millimetres on the glass ("3D") where all levels share a frame of reference, else in pixels
    of level 0 counted from the corner of the first ("2D", VOLUME).
    """
    by_label: dict[str, list[Cell]] = {}
    for cell in record.result.cells:
        by_label.setdefault(cell.label, []).append(cell)
    with quiet():
        groups = [
            _group(number, label, by_label[label], record, source)
            for number, label in enumerate(sorted(by_label, key=severity, reverse=True), start=1)
        ]
        made = hd.ann.MicroscopyBulkSimpleAnnotations(
            source_images=[source.header],
            annotation_coordinate_type="3D" if source.in_slide_coordinates else "2D",
            annotation_groups=groups,
            content_label="KOILO_CELLS",
            content_description=f"{description(record, 'cells')}. {record.remark}"[:64],
            **equipment(record),
            **series(record, 9101, "cells found by the program"),
        )
    return _mended(made)


def _group(
    number: int, label: str, cells: Sequence[Cell], record: Record, source: DicomSource
) -> hd.ann.AnnotationGroup:
    detector = np.array([cell.detector_score for cell in cells], np.float32)
    p_label = np.array([cell.probabilities.get(label, np.nan) for cell in cells], np.float32)
    measures = [hd.ann.Measurements(own_code("DETECTOR", "Detector score"), detector, NO_UNIT)]
    if np.isfinite(p_label).all():
        measures.append(hd.ann.Measurements(PROBABILITY, p_label, NO_UNIT))
    return hd.ann.AnnotationGroup(
        number=number,
        uid=hd.UID(),
        label=label[:64],
        annotated_property_category=ABNORMAL,
        annotated_property_type=CELL,
        graphic_type="RECTANGLE",
        graphic_data=[_placed(cell, source) for cell in cells],
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm(record),
        measurements=measures,
        description=f"Boxes of cells for which {label} is the likeliest class"[:1024],
        display_color=hd.color.CIELabColor.from_rgb(*class_colour(label)),
    )


def _mended(
    made: hd.ann.MicroscopyBulkSimpleAnnotations,
) -> hd.ann.MicroscopyBulkSimpleAnnotations:
    """What the standard asks for and highdicom 0.28 leaves out or writes too much."""
    if "SpecimenDescriptionSequence" not in made:
        made.Laterality = ""
    if made.AnnotationCoordinateType == "2D":
        for group in made.AnnotationGroupSequence:
            if "CommonZCoordinateValue" in group:
                del group.CommonZCoordinateValue
    return made


def _placed(cell: Cell, source: DicomSource) -> Any:
    corners = corners_px0(cell)
    if source.in_slide_coordinates:
        return source.to_mm(corners).astype(np.float64)
    return corners.astype(np.float32)
