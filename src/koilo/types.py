"""Units, coordinate frames and the records that every part shares.

Frames: a name that ends in ``_px0`` is in pixels of the slide's level 0, origin at the top left of
OpenSlide's frame; ``_px`` is in pixels of the tile or crop at hand; ``_um`` is in micrometres;
``mpp`` is micrometres per pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["done", "failed"]
Mismatch = Literal["graver cells", "milder cells", "no lesion cell"]


@dataclass(frozen=True, slots=True)
class Tile:
    """A square of a slide: ``size_px`` x ``size_px`` pixels once read at ``mpp``."""

    x_px0: int
    y_px0: int
    size_px: int
    mpp: float


CELL_MEASURES = (
    "nucleus_um2",
    "nc_area",
    "contour",
    "nuclear_od",
    "halo_ratio",
    "nucleus_ratio",
    "darkness_ratio",
)
"""What is measured of a kept cell: area of its nucleus; nucleus over cell by area; excess of the
contour over an ellipse's; mean optical density of the nucleus; halo over nucleus by area; area and
density of the nucleus over those of the slide's intermediate nuclei."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One suspicious cell of a slide: its box in level-0 pixels, scores, class and reasons.

    ``probabilities`` maps the cell head's class names to p; ``attention`` is None where the slide
    head has none; ``contribution`` is the cell's share in the slide's log-odds of lesion (above
    0 = speaks for one, beside the mean of the slide's cells), None where the head gives none;
    ``descriptions`` is None without the description module. ``measures`` are those of
    `CELL_MEASURES` that could be taken; ``flags`` say where they contradict what is said of the
    cell. ``text_space`` is what any text can be compared with, empty without the module.
    ``organisms`` is the probability that the crop shows each, empty where the bundle has no head
    for them.
    """

    x_px0: float
    y_px0: float
    w_px0: float
    h_px0: float
    detector_score: float
    probabilities: Mapping[str, float] = field(default_factory=dict)
    label: str = ""
    attention: float | None = None
    contribution: float | None = None
    descriptions: tuple[str, ...] | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    text_space: tuple[float, ...] = ()
    organisms: Mapping[str, float] = field(default_factory=dict)

    @property
    def centre_px0(self) -> tuple[float, float]:
        """The box's centre ``(x, y)`` in level-0 pixels."""
        return self.x_px0 + self.w_px0 / 2, self.y_px0 + self.h_px0 / 2


@dataclass(frozen=True)
class ImageQuality:
    """Whether the picture is fit to be read: ``verdict`` is ``ok`` or ``rescan: <reason>``.

    ``flags`` are short findings for slides.csv (``pen``, ``blur``, ``mpp mismatch`` …);
    ``measures`` are the numbers behind them, each named with its unit.
    """

    verdict: str
    flags: tuple[str, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """True where no rescan is asked for."""
        return self.verdict == "ok"


@dataclass(frozen=True)
class Adequacy:
    """Estimate of squamous cellularity, never the specimen's verdict.

    ``verdict``: ``adequate``, ``scant``, ``scant, abnormal cells suspected`` or
    ``not assessable: <reason>``. ``n_squamous`` is the estimated number of nucleated,
    well-visualised squamous cells with the 95 % interval ``low``-``high``; None if not estimated.
    """

    verdict: str
    n_squamous: float | None = None
    low: float | None = None
    high: float | None = None
    limit: int | None = None
    preparation: str | None = None


@dataclass(frozen=True)
class Removal:
    """The cells that a positive call hangs on.

    ``turned``: whether the slide is below its threshold without ``cells`` (rows of cells.parquet,
    0 the first; none of them can be put back). Where no set of up to ``limit`` cells, taken by
    contribution, turns it, ``cells`` is empty. ``p_positive`` is that without ``cells``, or without
    the first ``limit``.
    """

    turned: bool
    cells: tuple[int, ...]
    p_positive: float
    limit: int


@dataclass(frozen=True)
class Disagreement:
    """The slide's label and its cells' do not fit (the rule: `koilo.pipeline.disagreement`).

    ``n_cells`` of the cells looked at are most like ``cell_label``; ``p`` is the highest
    probability of it among them. Both are empty where no cell is like a lesion.
    """

    kind: Mismatch
    slide_label: str
    cell_label: str = ""
    n_cells: int = 0
    p: float | None = None


@dataclass(frozen=True)
class SlideResult:
    """One slide's reading: what ``result.json`` holds, the truth from which all else is rebuilt.

    A failed slide has only ``slide_id, path, status, error, fingerprint``. ``probabilities``,
    ``p_positive``, ``positive`` and ``label`` are empty or None where there was no cell to judge.
    """

    slide_id: str
    path: str
    status: Status
    error: str | None = None
    label: str | None = None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    p_positive: float | None = None
    positive: bool | None = None
    threshold: float | None = None
    n_cells: int = 0
    cells: tuple[Cell, ...] = ()
    image_quality: ImageQuality | None = None
    adequacy: Adequacy | None = None
    slide: Mapping[str, Any] = field(default_factory=dict)
    """dimensions, mpp, mpp_source, objective, vendor, bounds_px0, kind (slide or field), synthetic,
    and under ``case`` what the manifest says of the specimen"""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """wall-clock seconds by stage; ``total`` is the slide's own"""
    fingerprint: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """koilo_version, bundle name and hash, config, engine, device, slide's identity, started_at"""
    needs_human: bool | None = None
    """whether the call should not stand without a reader; None where the bundle cannot say. It
    withholds nothing: a positive slide stays positive"""
    needs_human_why: tuple[str, ...] = ()
    possible_calls: tuple[str, ...] = ()
    """conformal set: ``negative``, ``positive``, both or none"""
    ood_score: float | None = None
    """share of the reference pictures that lie nearer to the training data, 0 to 1"""
    removal: Removal | None = None
    """None where the slide is not positive or the head gives no contribution"""
    disagreement: Disagreement | None = None
    organisms: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """of each organism that the bundle has a head for, its ``threshold`` and ``n_cells``, the kept
    cells at or over it; a hint at where to look, for only suspicious cells are kept"""
