"""One slide's report as a single HTML page that needs no network, no script and no other file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jinja2
import markupsafe
import numpy as np
from numpy.typing import NDArray

import koilo
from koilo.errors import ConfigError
from koilo.report import facts, gallery, marks, pictures, reasons, words
from koilo.report.marks import Frame
from koilo.report.outline import OUTLINE_AT
from koilo.report.pictures import QualityMap
from koilo.taxonomy import NEGATIVE
from koilo.types import SlideResult

LANGUAGES = ("en",)
GALLERY_COLUMNS = 7


@dataclass(frozen=True, slots=True)
class Overview:
    """The slide's picture with its marks; lengths in drawing units of ``marks.CANVAS_WIDTH``."""

    picture: str
    aspect: float
    height: float
    marks: tuple[marks.Mark, ...]
    dots: str
    n_outside: int


@dataclass(frozen=True, slots=True)
class FocusMap:
    """The focus map's picture and the sentence that says what it shows."""

    picture: str
    text: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One class probability: its text and the bar's length from 0 to 100."""

    label: str
    name: str
    text: str
    length: float


def render_report(
    result: SlideResult,
    *,
    bundle_spec: Mapping[str, Any],
    overview_rgb: NDArray[np.uint8] | None = None,
    overview_frame: Frame | None = None,
    crops: Sequence[NDArray[np.uint8]] = (),
    crop_mpp: float | None = None,
    quality_map: QualityMap | tuple[NDArray[np.floating[Any]], Frame] | None = None,
    lesion_maps: Mapping[int, NDArray[np.floating[Any]]] | None = None,
    language: str = "en",
) -> str:
    """The report a person reads, as HTML.

    Args:
        result: the slide's reading; a failed slide gives a page that says why.
        bundle_spec: the bundle's ``bundle.json``.
        overview_rgb: uint8 (H, W, 3), the slide as a whole or its deposit.
        overview_frame: ``(x_px0, y_px0, w_px0, h_px0)`` of the overview in level 0.
        crops: uint8 (P, P, 3), one for each of ``result.cells``' first, centred on it.
        crop_mpp: the crops' pixel size in µm, for the scale bar.
        quality_map: blur per tile in µm (rows, columns), NaN where none was judged, its frame,
            and the limit above which a tile is out of focus.
        lesion_maps: row of a cell to where its crop looks like a lesion (P, P), drawn as a line.
        language: of the page; ``en`` only.

    Raises:
        ConfigError: the language is unknown.
        ValueError: a picture is not uint8 RGB, or there are more crops than cells.
    """
    if language not in LANGUAGES:
        raise ConfigError(
            f"There is no report in language {language!r}. Known: {', '.join(LANGUAGES)}. "
            "Choose one of these."
        )
    scope = facts.build_scope(bundle_spec)
    point = facts.find_operating_point(result, bundle_spec)
    groups = gallery.build_gallery(result.cells, crops, scope.cell_classes, lesion_maps)
    numbers = {shown.rank - 1: shown.number for group in groups for shown in group.cells}
    return (
        environment()
        .get_template("report.html")
        .render(
            result=result,
            language=language,
            headline=facts.build_headline(result),
            scope=scope,
            bundle_name=bundle_spec.get("name", "unnamed"),
            notices=facts.collect_notices(result, bundle_spec),
            specimen=facts.specimen_rows(result),
            adequacy=facts.adequacy_text(result),
            synthetic=facts.synthetic_kind(result),
            is_field=result.slide.get("kind") == "field",
            point=point,
            bars=_bars(result.probabilities),
            positive_texts=_positive_texts(result),
            groups=groups,
            reasons=reasons.build_reasons(result, numbers),
            outlined=any(shown.outline for group in groups for shown in group.cells),
            n_shown=sum(len(group.cells) for group in groups),
            counts=gallery.class_counts(result.cells, scope.cell_classes),
            scale_bar=_scale_bar(crops, crop_mpp),
            overview=_overview(result, groups, overview_rgb, overview_frame),
            focus=_focus(quality_map, overview_rgb, overview_frame),
            provenance=facts.provenance_rows(result),
            stages=_stages(result.seconds),
            measures=_measures(result),
        )
    )


def move_report(page: str, old_path: str, new_path: str) -> str:
    """A report's HTML after its slide was moved from ``old_path``: the provenance names the new."""
    return page.replace(_file_row(old_path), _file_row(new_path))


def _file_row(path: str) -> str:
    """The row of the template's provenance table that names the slide's file."""
    return f'<th scope="row">file</th><td><bdi>{markupsafe.escape(path)}</bdi></td>'


@cache
def environment() -> jinja2.Environment:
    """The templates of this package: everything escaped, an unknown name is an error."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("koilo.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        class_name=words.class_name,
        count=words.count,
        css_string=words.css_string,
        p=words.probability,
        percent=words.percent,
        plain=words.plain,
        seconds=words.seconds,
    )
    made.globals.update(
        research_use=words.RESEARCH_USE,
        negative_class=NEGATIVE,
        outline_at=OUTLINE_AT,
        worst_blur_um=pictures.WORST_BLUR_UM,
        koilo_version=koilo.__version__,
        canvas_width=marks.CANVAS_WIDTH,
        font_size=marks.FONT_SIZE,
        columns_of_gallery=GALLERY_COLUMNS,
    )
    return made


def _bars(probabilities: Mapping[str, float]) -> tuple[Bar, ...]:
    return tuple(
        Bar(label, words.class_name(label), words.probability(p), 100 * min(max(p, 0.0), 1.0))
        for label, p in probabilities.items()
    )


def _positive_texts(result: SlideResult) -> tuple[str, str] | None:
    """``p_positive`` and the threshold, written so that the larger looks larger."""
    if result.p_positive is None or result.threshold is None:
        return None
    return words.told_apart(result.p_positive, result.threshold)


def _scale_bar(crops: Sequence[NDArray[np.uint8]], mpp: float | None) -> tuple[str, float] | None:
    """Length of the crops' side in words, and of 10 µm as a percentage of it."""
    if mpp is None or not len(crops):
        return None
    side_um = crops[0].shape[1] * mpp
    return f"{side_um:.0f} × {side_um:.0f} µm", min(100.0, 1000.0 / side_um)


def _overview(
    result: SlideResult,
    groups: Sequence[gallery.Group],
    rgb: NDArray[np.uint8] | None,
    frame_px0: Frame | None,
) -> Overview | None:
    if rgb is None or frame_px0 is None:
        return None
    height = marks.CANVAS_WIDTH * rgb.shape[0] / rgb.shape[1]
    shown = {entry.rank: entry for group in groups for entry in group.cells}
    points, dots, n_outside = [], [], 0
    for rank, cell in enumerate(result.cells, start=1):
        place = marks.to_canvas(*cell.centre_px0, frame_px0, height)
        if place is None:
            n_outside += 1
        elif rank in shown:
            radius = marks.ring_radius(max(cell.w_px0, cell.h_px0), frame_px0)
            points.append((shown[rank].number, *place, radius))
        else:
            dots.append(f"M{place[0]:.1f} {place[1]:.1f}h0")
    return Overview(
        picture=pictures.jpeg_uri(rgb, side_px=pictures.OVERVIEW_SIDE_PX, quality=82),
        aspect=rgb.shape[1] / rgb.shape[0],
        height=height,
        marks=marks.place_marks(sorted(points), height),
        dots="".join(dots),
        n_outside=n_outside,
    )


def _focus(
    quality_map: QualityMap | tuple[NDArray[np.floating[Any]], Frame] | None,
    overview_rgb: NDArray[np.uint8] | None,
    overview_frame: Frame | None,
) -> FocusMap | None:
    if quality_map is None:
        return None
    quality = QualityMap(*quality_map)
    known = quality.blur_um[np.isfinite(quality.blur_um)]
    if not known.size:
        return None
    text = f"{words.count(known.size)} tiles judged"
    if quality.limit_um is not None:
        over = int((known > quality.limit_um).sum())
        text += f", {words.count(over)} of them ({words.percent(over / known.size)}) out of focus"
    return FocusMap(pictures.focus_map_uri(quality, overview_rgb, overview_frame), text)


def _stages(seconds: Mapping[str, float]) -> tuple[tuple[str, str], ...]:
    return tuple((name.replace("_", " "), words.seconds(value)) for name, value in seconds.items())


def _measures(result: SlideResult) -> tuple[tuple[str, str], ...]:
    quality = result.image_quality
    return tuple(words.flat_rows(quality.measures)) if quality is not None else ()
