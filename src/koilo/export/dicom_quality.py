"""quality_seg.dcm: where the slide was read, out of focus, or left out, as a segmentation."""

from __future__ import annotations

from dataclasses import dataclass

import highdicom as hd
import numpy as np
import shapely
from numpy.typing import NDArray
from pydicom.sr.codedict import codes
from shapely.geometry import MultiPolygon

from koilo.export.dicom_object import (
    algorithm,
    description,
    equipment,
    own_code,
    quiet,
    series,
)
from koilo.export.dicom_source import DicomSource
from koilo.export.record import Record
from koilo.slides import Slide, open_slide, stream_tiles, tile_grid
from koilo.slides.foreground import Foreground, foreground
from koilo.slides.quality import measure_tile

TILE_PX, TILE_MPP = 512, 1.0
"""As the screening measures focus."""
PITCH_UM = 32.0
"""Side of a pixel of the mask."""

_NAMES = {
    "read": ("READ", "Area that was read"),
    "focus": ("OUT_OF_FOCUS", "Out of focus"),
    "pen": ("PEN", "Pen marks, left out"),
    "bubbles": ("BUBBLES", "Air bubbles, left out"),
    "edge": ("COVERSLIP_EDGE", "Edge of the coverslip, left out"),
    "missing": ("MISSING", "Missing from the scan"),
}
_COLOURS = {"read": (76, 175, 80), "focus": (94, 30, 60)}


@dataclass(frozen=True)
class QualityMask:
    """One bool mask (H, W) a kind, none of them empty; a pixel is ``pitch_px0`` level-0 pixels."""

    masks: dict[str, NDArray[np.bool_]]
    pitch_px0: float


def measure_quality(record: Record, source: DicomSource) -> QualityMask:
    """Find the specimen, what was left out of it, and its tiles out of focus, anew from the slide.

    Raises:
        SlideError: the slide cannot be read.
    """
    mpp = float(record.result.slide.get("mpp") or 1000 * source.spacing_mm[0])
    with open_slide(record.result.path, mpp=mpp) as slide:
        area = foreground(slide)
        pitch_px0 = max(1.0, PITCH_UM / mpp)
        shape = tuple(-(-side // pitch_px0) for side in reversed(slide.dimensions))
        size = int(shape[0]), int(shape[1])
        masks = {"read": _rasterised(area.polygons_px0, size, pitch_px0)}
        masks["focus"] = _out_of_focus(slide, area, size, pitch_px0)
        for kind, polygons in area.excluded.items():
            masks[kind] = _rasterised(polygons, size, pitch_px0)
    return QualityMask({kind: mask for kind, mask in masks.items() if mask.any()}, pitch_px0)


def build_quality(record: Record, source: DicomSource, quality: QualityMask) -> hd.seg.Segmentation:
    """The masks as a binary segmentation in tiles, in the slide's own frame of reference."""
    kinds = list(quality.masks)
    pixels = np.stack([quality.masks[kind] for kind in kinds], axis=-1)[None]  # (1, H, W, S)
    row_mm, column_mm = source.spacing_mm
    first_centre = np.array([[quality.pitch_px0 / 2, quality.pitch_px0 / 2]])
    with quiet():
        made = hd.seg.Segmentation(
            source_images=[source.header],
            pixel_array=pixels.astype(np.uint8),
            segmentation_type="BINARY",
            segment_descriptions=[_segment(n, k, record) for n, k in enumerate(kinds, start=1)],
            pixel_measures=hd.PixelMeasuresSequence(
                pixel_spacing=(row_mm * quality.pitch_px0, column_mm * quality.pitch_px0),
                slice_thickness=_thickness_mm(source),
            ),
            plane_orientation=hd.PlaneOrientationSequence("SLIDE", source.orientation),
            plane_positions=[
                hd.PlanePositionSequence("SLIDE", source.to_mm(first_centre)[0], (1, 1))
            ],
            tile_pixel_array=True,
            tile_size=(256, 256),
            content_label="KOILO_QUALITY",
            content_description=f"{description(record, 'quality')}. {record.remark}"[:64],
            **equipment(record),
            **series(record, 9103, "image quality"),
        )
    made.PatientOrientation = ""  # asked for by the standard, left out by highdicom 0.28
    return made


def _segment(number: int, kind: str, record: Record) -> hd.seg.SegmentDescription:
    value, meaning = _NAMES[kind]
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=meaning,
        segmented_property_category=codes.SCT.SpatialAndRelationalConcept,
        segmented_property_type=own_code(value, meaning),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm(record),
        display_color=hd.color.CIELabColor.from_rgb(*_COLOURS.get(kind, (255, 152, 0))),
    )


def _thickness_mm(source: DicomSource) -> float:
    measures = source.header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    return float(measures.get("SliceThickness") or 0.001)


def _out_of_focus(
    slide: Slide, area: Foreground, size: tuple[int, int], pitch_px0: float
) -> NDArray[np.bool_]:
    """True where a tile of the foreground has edges, and none of them sharp: (H, W)."""
    mask = np.zeros(size, bool)
    tiles = tile_grid(slide, area, size_px=TILE_PX, mpp=TILE_MPP)
    side_px0 = TILE_PX * slide.downsample_at(TILE_MPP)
    for tile, rgb in stream_tiles(slide, tiles):
        if measure_tile(rgb, area.glass).focus == "blurred":
            rows = slice(*(round((tile.y_px0 + at) / pitch_px0) for at in (0, side_px0)))
            columns = slice(*(round((tile.x_px0 + at) / pitch_px0) for at in (0, side_px0)))
            mask[rows, columns] = True
    return mask


def _rasterised(
    polygons_px0: MultiPolygon, size: tuple[int, int], pitch_px0: float
) -> NDArray[np.bool_]:
    """Polygons as a bool mask (H, W): True where a pixel's centre lies in one."""
    if polygons_px0.is_empty:
        return np.zeros(size, bool)
    shapely.prepare(polygons_px0)
    y_px0, x_px0 = ((np.arange(side) + 0.5) * pitch_px0 for side in size)
    return np.asarray(shapely.contains_xy(polygons_px0, *np.meshgrid(x_px0, y_px0)))  # (H, W)
