"""What a report is drawn from beside the result: pictures ready for the page, the bundle's words.

It is kept as ``report.json`` in the slide's folder, so that the page can be made anew without slide
or bundle: when a reader signs, in another language, as PDF.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koilo.errors import OutputError
from koilo.files import write_text
from koilo.report import gallery, pictures
from koilo.report.marks import Frame
from koilo.report.pictures import QualityMap
from koilo.results import DRAWN
from koilo.types import SlideResult

FORMAT = 1

_BUNDLE = ("name", "stages", "operating_points", "not_assessed", "trained_on")


@dataclass(frozen=True)
class OverviewPicture:
    """The slide's picture as a data URI, its width over its height, and where it lies."""

    picture: str
    aspect: float
    frame_px0: Frame


@dataclass(frozen=True)
class FocusPicture:
    """The focus map as a data URI, how many tiles were judged, and how many were out of focus."""

    picture: str
    n_judged: int
    n_out_of_focus: int | None


@dataclass(frozen=True)
class Drawn:
    """Pictures and words of one slide's report; the result itself is not in it."""

    bundle: Mapping[str, Any]
    groups: tuple[gallery.Group, ...] = ()
    overview: OverviewPicture | None = None
    focus: FocusPicture | None = None
    crop_side_um: float | None = None


def draw(
    result: SlideResult,
    *,
    bundle_spec: Mapping[str, Any],
    overview_rgb: NDArray[np.uint8] | None = None,
    overview_frame: Frame | None = None,
    crops: Sequence[NDArray[np.uint8]] = (),
    crop_mpp: float | None = None,
    quality_map: QualityMap | tuple[NDArray[np.floating[Any]], Frame] | None = None,
    lesion_maps: Mapping[int, NDArray[np.floating[Any]]] | None = None,
) -> Drawn:
    """Choose the cells to show and make the pictures.

    Args:
        result: the slide's reading; of a failed slide the page says why.
        bundle_spec: the bundle's ``bundle.json``.
        overview_rgb: uint8 (H, W, 3), the slide as a whole or its deposit.
        overview_frame: ``(x_px0, y_px0, w_px0, h_px0)`` of the overview in level 0.
        crops: uint8 (P, P, 3), one for each of ``result.cells``' first, centred on it.
        crop_mpp: the crops' pixel size in µm, for the scale bar.
        quality_map: blur per tile in µm (rows, columns), NaN where none was judged, its frame,
            and the limit above which a tile is out of focus.
        lesion_maps: row of a cell to where its crop looks like a lesion (P, P), drawn as a line.

    Raises:
        ValueError: a picture is not uint8 RGB, or there are more crops than cells.
    """
    classes = tuple(bundle_spec.get("stages", {}).get("cells", {}).get("classes", ()))
    overview = None
    if overview_rgb is not None and overview_frame is not None:
        uri = pictures.jpeg_uri(overview_rgb, side_px=pictures.OVERVIEW_SIDE_PX, quality=82)
        aspect = overview_rgb.shape[1] / overview_rgb.shape[0]
        overview = OverviewPicture(uri, aspect, overview_frame)
    return Drawn(
        bundle={name: bundle_spec[name] for name in _BUNDLE if name in bundle_spec},
        groups=gallery.build_gallery(result.cells, crops, classes, lesion_maps),
        overview=overview,
        focus=_focus(quality_map, overview_rgb, overview_frame),
        crop_side_um=None if crop_mpp is None or not len(crops) else crops[0].shape[1] * crop_mpp,
    )


def write_drawn(folder: Path, drawn: Drawn) -> None:
    """Write ``report.json``; of the cells only their rank, for result and cells have the rest."""
    groups = [
        {
            "label": group.label,
            "n_kept": group.n_kept,
            "cells": [
                {"rank": shown.rank, "picture": shown.picture, "outline": shown.outline}
                for shown in group.cells
            ],
        }
        for group in drawn.groups
    ]
    value = asdict(Drawn(drawn.bundle, (), drawn.overview, drawn.focus, drawn.crop_side_um))
    write_text(folder / DRAWN, json.dumps({"format": FORMAT} | value | {"groups": groups}) + "\n")


def read_drawn(folder: Path, result: SlideResult) -> Drawn:
    """Read ``report.json`` back; ``result`` is the slide's with its cells.

    Raises:
        OutputError: it is missing (an older koilo's results) or does not fit the result.
    """
    path = folder / DRAWN
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["format"] != FORMAT:
            raise ValueError("another format")
        overview, focus = value["overview"], value["focus"]
        if overview is not None:
            overview = OverviewPicture(**{**overview, "frame_px0": tuple(overview["frame_px0"])})
        groups = gallery.shown_again(value["groups"], result.cells)
        side = value["crop_side_um"]
        return Drawn(
            value["bundle"],
            groups,
            overview,
            None if focus is None else FocusPicture(**focus),
            side,
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise OutputError(
            f"{path} is not what a report of this koilo is drawn from ({error}). It is written "
            "with the slide's result. Screen the slide again."
        ) from error


def _focus(
    quality_map: QualityMap | tuple[NDArray[np.floating[Any]], Frame] | None,
    overview_rgb: NDArray[np.uint8] | None,
    overview_frame: Frame | None,
) -> FocusPicture | None:
    if quality_map is None:
        return None
    quality = QualityMap(*quality_map)
    known = quality.blur_um[np.isfinite(quality.blur_um)]
    if not known.size:
        return None
    over = None if quality.limit_um is None else int((known > quality.limit_um).sum())
    picture = pictures.focus_map_uri(quality, overview_rgb, overview_frame)
    return FocusPicture(picture, int(known.size), over)
